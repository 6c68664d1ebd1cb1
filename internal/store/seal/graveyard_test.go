package seal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bezoar-cache/bezoar/internal/store/seal"
)

func id(trusted bool, n int) (id [16]byte) {
	binary.BigEndian.PutUint64(id[1:], uint64(n)*0x9e3779b97f4a7c15) // evenly spread
	if trusted {
		id[0] = 0x80
	}
	return id
}

// pass lets time go by on the clock of a bubble.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func wantBuried(t *testing.T, g *seal.Graveyard, id [16]byte, want bool) {
	t.Helper()
	if _, got := g.Buried(id); got != want {
		t.Errorf("%x is buried: %v, want %v", id, got, want)
	}
}

// run runs a graveyard, and returns what ends it.
func run(t *testing.T, g *seal.Graveyard) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); wg.Wait() }
}

func TestGravesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := &records{}
		first := yard(t, list, seal.GraveyardOptions{})
		reg := prometheus.NewRegistry()
		second := yard(t, list, seal.GraveyardOptions{Registerer: reg})
		defer run(t, second)()
		start := time.Now()
		if err := first.Bury(t.Context(), id(true, 1), id(false, 2), id(true, 1)); err != nil {
			t.Fatal(err)
		}
		if err := first.Bury(t.Context(), id(true, 1)); err != nil || len(list.rows) != 2 {
			t.Errorf("again: got %v, there are %d rows", err, len(list.rows))
		}
		wantBuried(t, first, id(true, 1), true)
		wantBuried(t, second, id(true, 1), false)
		pass(1100 * time.Millisecond)
		wantBuried(t, second, id(true, 1), true)
		wantBuried(t, second, id(false, 2), true)
		wantBuried(t, second, id(false, 1), false)
		if since, _ := second.Buried(id(true, 1)); since.Unix() != start.Unix() {
			t.Errorf("buried at %v, want %v", since, start)
		}
		third := yard(t, list, seal.GraveyardOptions{})
		wantBuried(t, third, id(false, 2), true)
		if err := second.Run(t.Context()); !errors.Is(err, seal.ErrRunning) {
			t.Errorf("run twice: got %v", err)
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`# HELP bezoar_graves Deleted entries that this server remembers, so that nobody can put one back.
# TYPE bezoar_graves gauge
bezoar_graves 2
`)); err != nil {
			t.Error(err)
		}
	})
}

// TestRecordsFail: nobody waits more than once, nothing is forgotten, and all is recorded afterwards.
func TestRecordsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := &records{}
		var log bytes.Buffer
		g := yard(t, list, seal.GraveyardOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		end := run(t, g)
		list.waits = make(chan struct{})
		start := time.Now()
		for i := range 5000 {
			if err := g.Bury(t.Context(), id(true, i)); !errors.Is(err, seal.ErrUnrecorded) {
				t.Fatalf("got %v", err)
			}
		}
		if waited := time.Since(start); waited != 2*time.Second {
			t.Errorf("5000 waited for %v", waited)
		}
		wantBuried(t, g, id(true, 4999), true)
		if g.Degraded() == nil {
			t.Error("it is not degraded")
		}
		close(list.waits)
		pass(5 * time.Second)
		if err := g.Degraded(); err != nil || len(list.rows) != 5000 {
			t.Errorf("got %v, %d are recorded", err, len(list.rows))
		}
		if err := g.Bury(t.Context(), id(true, 5000)); err != nil {
			t.Error(err)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), "again") {
			t.Errorf("the log says %s", &log)
		}
		end()
	})
}

// TestEndWithUnrecorded tries once more, and says what is lost.
func TestEndWithUnrecorded(t *testing.T) {
	for _, recovers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			list := &records{}
			var log bytes.Buffer
			g := yard(t, list, seal.GraveyardOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			end := run(t, g)
			list.fail(errors.New("the disk is full"))
			if err := g.Bury(t.Context(), id(true, 1)); !errors.Is(err, seal.ErrUnrecorded) || !strings.Contains(err.Error(), "the disk is full") {
				t.Errorf("got %v", err)
			}
			if recovers {
				list.fail(nil)
			}
			end()
			if (len(list.rows) == 1) != recovers || strings.Contains(log.String(), "level=ERROR") == recovers {
				t.Errorf("%d are recorded, the log says %s", len(list.rows), &log)
			}
		})
	}
}

// TestCallerGoesAway: its entry is buried and recorded.
func TestCallerGoesAway(t *testing.T) {
	list := &records{}
	g := yard(t, list, seal.GraveyardOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Bury(ctx, id(true, 1)); err != nil || len(list.rows) != 1 {
		t.Errorf("got %v, %d are recorded", err, len(list.rows))
	}
}

func TestUnreadableRecords(t *testing.T) {
	list := &records{failure: errors.New("the ledger is damaged")}
	if _, err := seal.NewGraveyard(t.Context(), list, seal.GraveyardOptions{}); !errors.Is(err, list.failure) {
		t.Errorf("got %v: a server must not begin without what it has to remember", err)
	}
}

func TestGravesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := &records{}
		g := yard(t, list, seal.GraveyardOptions{Keep: 48 * time.Hour})
		defer run(t, g)()
		if err := g.Bury(t.Context(), id(true, 1), id(false, 1)); err != nil {
			t.Fatal(err)
		}
		pass(47 * time.Hour)
		wantBuried(t, g, id(true, 1), true)
		pass(3 * time.Hour)
		wantBuried(t, g, id(true, 1), false)
		wantBuried(t, g, id(false, 1), false)
		if err := g.Bury(t.Context(), id(true, 2)); err != nil {
			t.Fatal(err)
		}
		for kind, before := range list.forget {
			if age := time.Since(before); age < 48*time.Hour || age > 50*time.Hour {
				t.Errorf("kind %d: what is %v old is forgotten in the records", kind, age)
			}
		}
		wantBuried(t, yard(t, list, seal.GraveyardOptions{Keep: 48 * time.Hour}), id(true, 1), false)
	})
}

// TestTooManyGraves: the oldest days of a kind go early, and nothing of the other kind.
func TestTooManyGraves(t *testing.T) {
	today := time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)
	list := &records{}
	for day := range 10 {
		for n := range 100 {
			list.rows = append(list.rows, row{id(false, day*100+n), today.AddDate(0, 0, day-9)})
		}
		list.rows = append(list.rows, row{id(true, day), today.AddDate(0, 0, day-9)})
	}
	list.rows = append(list.rows, row{id(false, 5000), today.AddDate(1, 0, 0)}) // a clock that was wrong
	var log bytes.Buffer
	g := yard(t, list, seal.GraveyardOptions{Max: 350, Now: func() time.Time { return today }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for day := range 10 {
		wantBuried(t, g, id(false, day*100+50), day >= 7)
		wantBuried(t, g, id(true, day), true)
	}
	wantBuried(t, g, id(false, 5000), true)
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "untrusted_since=2026-02-08 trusted_since=2025-01-06") {
		t.Errorf("the log says %s", &log)
	}
	if err := g.Bury(t.Context(), id(false, 6000)); err != nil || !list.forget[0].Equal(time.Date(2026, 2, 8, 0, 0, 0, 0, time.UTC)) || !list.forget[1].Equal(today.Add(-seal.DefaultKeepGraves)) {
		t.Errorf("got %v, the records forget what is older than %v", err, list.forget)
	}
	// Today's stay, however many.
	many := yard(t, list, seal.GraveyardOptions{Max: 10, Now: func() time.Time { return today }})
	wantBuried(t, many, id(false, 950), true)
	wantBuried(t, many, id(false, 850), false)
}

// TestGraveyardAtOnce is for the race detector.
func TestGraveyardAtOnce(t *testing.T) {
	list := &records{}
	g := yard(t, list, seal.GraveyardOptions{})
	end := run(t, g)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 500 {
				if i == 250 && worker == 0 {
					list.fail(errors.New("the ledger is locked"))
				}
				_ = g.Bury(t.Context(), id(i%2 == 0, worker*500+i))
				g.Buried(id(i%2 == 0, i))
			}
		})
	}
	wg.Wait()
	list.fail(nil)
	end()
	seen := make(map[[16]byte]bool)
	for _, r := range list.rows {
		seen[r.id] = true
	}
	if len(seen) != 2000 {
		t.Errorf("%d are recorded", len(seen))
	}
}

func BenchmarkGraves(b *testing.B) {
	const graves = 1_000_000
	list := &records{rows: make([]row, graves)}
	for i := range list.rows {
		list.rows[i] = row{id(true, i), time.Now()}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	g, err := seal.NewGraveyard(b.Context(), list, seal.GraveyardOptions{})
	if err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Logf("a million graves take %d MB, and %v to read from memory", (after.HeapAlloc-before.HeapAlloc)>>20, took)
	b.Run("find", func(b *testing.B) {
		i := 0
		for b.Loop() {
			g.Buried(id(true, i))
			i++
		}
	})
}

// TestMoreThanAStep is read at the start, and in one look afterwards.
func TestMoreThanAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := &records{}
		add := func(from, to int) {
			list.mu.Lock()
			defer list.mu.Unlock()
			for i := from; i < to; i++ {
				list.rows = append(list.rows, row{id(true, i), time.Now()})
			}
		}
		add(0, 25_000)
		g := yard(t, list, seal.GraveyardOptions{})
		wantBuried(t, g, id(true, 24_999), true)
		defer run(t, g)()
		synctest.Wait()
		add(25_000, 55_000)
		pass(time.Second)
		wantBuried(t, g, id(true, 54_999), true)
	})
}
