package retention_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

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
