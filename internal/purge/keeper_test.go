package purge_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/purge"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/bucket/membucket"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// look has a server look for work, as it does when it starts, and returns when nothing is left to do.
func (w *world) look(t *testing.T, s server, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	for deadline := time.After(time.Minute); !done(); {
		select {
		case <-deadline:
			t.Fatalf("it does not do its work: %v", s.Degraded())
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	<-ended
}

func (w *world) is(id string, want ledger.PurgeState) func() bool {
	return func() bool {
		p, err := w.ledger.FindPurge(context.Background(), id)
		return err == nil && p.State == want
	}
}

// TestAServerGoesOn with what a command began, takes what came late, and ends what is due.
func TestAServerGoesOn(t *testing.T) { onEvery(t, testAServerGoesOn) }

func testAServerGoesOn(t *testing.T, w *world) {
	w.put("1", "bad", true)
	p := w.begin("bad")
	w.look(t, w.servers[0], w.is(p.ID, ledger.PurgeQuarantined))
	w.refresh()
	w.counts(p.ID, states{ledger.PurgedHeld: 1})

	late := w.put("2", "bad", false)
	w.must(w.ledger.RecordEntries(t.Context(), []cache.Entry{late}))
	held := func(n int64) func() bool {
		return func() bool {
			s, err := purge.Summarize(t.Context(), w.ledger, p.ID)
			return err == nil && s.Counts[ledger.PurgedHeld].Entries == n
		}
	}
	w.look(t, w.servers[0], held(2))
	w.want("late", "-1", "-2")

	w.pass(purge.DefaultKeep)
	w.look(t, w.servers[1], w.is(p.ID, ledger.PurgeDiscarded))
	w.counts(p.ID, states{ledger.PurgedDiscarded: 2})

	// It stays in force: what turns up later goes, too.
	w.put("3", "good", true)
	straggler := w.putOld("4", "bad")
	w.must(w.ledger.RecordEntries(t.Context(), []cache.Entry{straggler}))
	w.want("after its end", "-1", "-2", "3", "-4")
	w.look(t, w.servers[1], func() bool {
		s, err := purge.Summarize(t.Context(), w.ledger, p.ID)
		return err == nil && s.Counts[ledger.PurgedDiscarded].Entries == 3
	})
	if err := w.dir.Delete(t.Context(), straggler.Key); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("the straggler is still there: %v", err)
	}
}

// putOld stores an entry as it was made before the purge.
func (w *world) putOld(hash, token string) cache.Entry {
	w.t.Helper()
	w.pass(-purge.DefaultKeep)
	defer w.pass(purge.DefaultKeep)
	return w.put(hash, token, false)
}

// TestTroubleIsTold and the work is tried again.
func TestTroubleIsTold(t *testing.T) { onEvery(t, testTroubleIsTold) }

func testTroubleIsTold(t *testing.T, w *world) {
	w.put("1", "bad", true)
	p := w.begin("bad")
	w.faults.fails = func(string, cache.Key) error { return errors.New("the storage is gone") }
	w.look(t, w.servers[0], func() bool { return w.servers[0].Degraded() != nil })
	w.state(p.ID, ledger.PurgeRunning)
	w.faults.fails = nil
	w.look(t, w.servers[0], func() bool { return w.is(p.ID, ledger.PurgeQuarantined)() && w.servers[0].Degraded() == nil })
}

// sealedEntry is an entry as a spool has it.
func sealedEntry(t *testing.T, w *world, hash, token string) (cache.Entry, []byte) {
	t.Helper()
	entry := w.put(hash, token, false)
	w.must(w.dir.Delete(t.Context(), entry.Key))
	return entry, []byte("of " + token)
}

// TestASpoolBringsNothingThatIsPurged to its key: it goes into quarantine, and comes back from there.
func TestASpoolBringsNothingThatIsPurged(t *testing.T) {
	onEvery(t, testASpoolBringsNothingThatIsPurged)
}

func testASpoolBringsNothingThatIsPurged(t *testing.T, w *world) {
	b, err := bucket.Open(t.Context(), membucket.New(), bucket.Options{TempDir: t.TempDir()})
	w.must(err)
	guarded := purge.Guard(b, b, w.servers[0].Rules, keys)
	bad, body := sealedEntry(t, w, "1", "bad")
	good, goodBody := sealedEntry(t, w, "2", "good")
	forged := bad
	forged.Key.Hash = "3"
	p := w.begin("bad")
	w.refresh()
	w.must(guarded.Put(t.Context(), bad, bytes.NewReader(body)))
	w.must(guarded.Put(t.Context(), bad, bytes.NewReader(body))) // its answer was lost
	w.must(guarded.Put(t.Context(), good, bytes.NewReader(goodBody)))
	w.must(guarded.Put(t.Context(), forged, bytes.NewReader(body))) // not what the server sealed: the seal will tell
	w.counts(p.ID, states{ledger.PurgedHeld: 1})
	for hash, want := range map[string]bool{"1": false, "2": true, "3": true} {
		if has, err := b.Has(t.Context(), storetest.Key(hash)); err != nil || has != want {
			t.Errorf("the bucket has %s: %v, %v", hash, has, err)
		}
	}
	if _, err := purge.BeginUndo(t.Context(), w.ledger, p.ID, w.clock()); err != nil {
		t.Fatal(err)
	}
	engine := purge.NewEngine(w.ledger, b, "command", purge.NewMetrics(nil), w.clock)
	w.must(engine.Work(t.Context(), p.ID))
	obj, err := b.Open(t.Context(), bad.Key)
	w.must(err)
	defer obj.Close()
	got, err := io.ReadAll(obj.Body)
	if err != nil || !bytes.Equal(got, body) || seal.Verify(keys, bad.Key, obj.Record) != nil {
		t.Errorf("what came back is %q, %v", got, err)
	}
}
