package retention_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/retention"
)

// TestAsk: a run that somebody asks for goes on without him, one at a time, and is remembered with what came of it.
func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRunBench(t, retention.Limits{Trusted: retention.Ages{MaxUnused: 24 * time.Hour}})
		b.put(key("trusted", "1"), 10)
		pass(26 * time.Hour)
		b.put(key("trusted", "2"), 20)
		told := retention.Report{}
		request := retention.Request{By: "jo", Done: func(_ context.Context, r retention.Report) { told = r }}
		if b.left("trusted") != "2" { // the Runner itself was faster
			b.put(key("trusted", "1"), 10)
		}
		run, err := b.Ask(t.Context(), request)
		if err != nil || run.State != retention.RunRunning || run.By != "jo" || len(run.ID) != 12 {
			t.Fatalf("%+v, %v", run, err)
		}
		if _, err := b.Ask(t.Context(), request); err != nil && !errors.Is(err, retention.ErrBusy) {
			t.Error(err)
		}
		synctest.Wait()
		runs, err := retention.Runs(t.Context(), b)
		if err != nil || len(runs) != retention.MaxRuns {
			t.Fatalf("%d runs: %v", len(runs), err)
		}
		found := false
		for _, r := range runs {
			if r.ID == run.ID {
				found = r.State == retention.RunDone && r.Report.Entries == told.Entries && r.By == "jo"
			}
		}
		if !found {
			t.Errorf("what was asked for is not done: %+v", runs[0])
		}
		b.stop()
	})
}

// TestAskedTooLate: what nobody goes on with is no run that seems to run for ever, and keeps no other one from its turn.
func TestAskedTooLate(t *testing.T) {
	w := newWorld()
	w.put(key("trusted", "1"), 10)
	r := w.runner(retention.Limits{TrustedBytes: 1}, retention.Disk{})
	run, err := r.Ask(t.Context(), retention.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Look(t.Context(), retention.Request{}); !errors.Is(err, retention.ErrBusy) {
		t.Error("there are two at a time:", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	r.Run(ctx)
	runs, err := retention.Runs(t.Context(), w)
	if err != nil || len(runs) != 1 || runs[0].ID != run.ID || runs[0].State == retention.RunRunning {
		t.Errorf("%+v, %v", runs, err)
	}
	if _, err := r.Look(t.Context(), retention.Request{}); err != nil {
		t.Error("its turn is not over:", err)
	}
}

// TestSomebodyElseHasLooked: of two servers only one looks at a time, and neither right after the other.
func TestSomebodyElseHasLooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRunBench(t, retention.Limits{})
		other := retention.New(retention.Options{
			Ledger: b, Store: b, Limits: func(cache.Workspace) retention.Limits { return retention.Limits{} }, Now: time.Now,
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); other.Run(ctx) }()
		pass(2 * time.Hour)
		stop()
		<-done
		b.stop()
		runs, err := retention.Runs(t.Context(), b)
		if err != nil || len(runs) < 2 {
			t.Fatalf("%d runs, %v", len(runs), err)
		}
		for i, r := range runs[1:] {
			if between := runs[i].Began.Sub(r.Began); between < retention.DefaultInterval/2 {
				t.Errorf("%s between two runs", between)
			}
		}
	})
}

// forgetful is a ledger that gives leases, and has its settings lost.
type forgetful struct {
	*world
	read, write error
}

func (f *forgetful) Setting(ctx context.Context, name string) ([]byte, error) {
	if f.read != nil {
		return nil, f.read
	}
	return f.world.Setting(ctx, name)
}

func (f *forgetful) SetSetting(ctx context.Context, name string, value []byte) error {
	if f.write != nil {
		return f.write
	}
	return f.world.SetSetting(ctx, name, value)
}

// TestALookThatCannotBegin gives its turn back.
func TestALookThatCannotBegin(t *testing.T) {
	broken := errors.New("broken")
	f := &forgetful{world: newWorld()}
	r := retention.New(retention.Options{Ledger: f, Store: f, Limits: func(cache.Workspace) retention.Limits { return retention.Limits{} }, Now: f.clock})
	for _, c := range []struct{ read, write error }{{broken, nil}, {nil, broken}} {
		f.read, f.write = c.read, c.write
		for range 2 {
			if _, err := r.Look(t.Context(), retention.Request{}); !errors.Is(err, broken) {
				t.Errorf("got %v, want what is broken", err)
			}
		}
	}
	f.read, f.write = nil, nil
	if _, err := r.Look(t.Context(), retention.Request{}); err != nil {
		t.Error(err)
	}
}
