package ledger

import (
	"sync"
	"testing"
	"time"
)

func mustLease(t *testing.T, l *Ledger, name, holder string, ttl time.Duration) bool {
	t.Helper()
	held, err := l.Lease(t.Context(), name, holder, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func TestALeaseHasOneHolder(t *testing.T) { onEvery(t, testALeaseHasOneHolder) }

func testALeaseHasOneHolder(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	const servers = 8
	var (
		mu   sync.Mutex
		held []string
		all  sync.WaitGroup
	)
	for i := range servers {
		l, holder := db.open(t, dir), string(rune('a'+i))
		all.Go(func() {
			got, err := l.Lease(t.Context(), "work", holder, time.Hour)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if got {
				held = append(held, holder)
			}
		})
	}
	all.Wait()
	if len(held) != 1 {
		t.Fatalf("held by %q", held)
	}
	l := db.open(t, dir)
	if !mustLease(t, l, "work", held[0], time.Hour) {
		t.Error("its holder cannot go on")
	}
	if !mustLease(t, l, "other work", "z", time.Hour) {
		t.Error("another work is held, too")
	}
	if err := l.EndLease(t.Context(), "work", "z"); err != nil {
		t.Fatal(err)
	}
	if mustLease(t, l, "work", "z", time.Hour) {
		t.Error("somebody ended a lease that is not theirs")
	}
	if err := l.EndLease(t.Context(), "work", held[0]); err != nil {
		t.Fatal(err)
	}
	if !mustLease(t, l, "work", "z", time.Hour) {
		t.Error("a lease that was given up is not free")
	}
}

func TestALeaseEnds(t *testing.T) { onEvery(t, testALeaseEnds) }

func testALeaseEnds(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	if !mustLease(t, l, "work", "a", 0) || !mustLease(t, l, "work", "b", time.Hour) {
		t.Error("a lease of no time is in the way")
	}
	if mustLease(t, l, "work", "a", 0) {
		t.Error("it is taken from who holds it")
	}
}

func TestSettings(t *testing.T) { onEvery(t, testSettings) }

func testSettings(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	l, other := db.open(t, dir), db.open(t, dir)
	if value, err := l.Setting(t.Context(), "place"); len(value) != 0 || err != nil {
		t.Fatal(value, err)
	}
	for _, want := range []string{"here", "there", ""} {
		if err := l.SetSetting(t.Context(), "place", []byte(want)); err != nil {
			t.Fatal(err)
		}
		if value, err := other.Setting(t.Context(), "place"); string(value) != want || err != nil {
			t.Errorf("%q %v, want %q", value, err, want)
		}
	}
}
