package purge_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/purge"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

type states = map[ledger.PurgedState]int64

func (w *world) begin(token string) ledger.Purge {
	w.t.Helper()
	p, err := purge.Begin(w.t.Context(), w.ledger, purge.Order{Filter: ledger.Filter{Token: token}}, w.clock())
	w.must(err)
	return p
}

// TestTheWholeWay: hidden at once, moved, written anew, brought back, taken again and deleted.
func TestTheWholeWay(t *testing.T) { onEvery(t, testTheWholeWay) }

func testTheWholeWay(t *testing.T, w *world) {
	w.put("1", "bad", true)
	w.put("2", "bad", true)
	w.put("3", "bad", false) // the ledger hears of it late
	w.put("4", "good", true)
	p := w.begin("bad")
	w.want("before they have heard of it", "1", "2", "3", "4")
	w.refresh()
	w.want("hidden", "-1", "-2", "-3", "4")
	for entry, err := range w.servers[1].store.List(t.Context(), "") {
		if err != nil || entry.Key.Hash != "4" {
			t.Errorf("listed: %q, %v", entry.Key, err)
		}
	}
	if err := w.servers[0].store.Delete(t.Context(), storetest.Key("3")); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("deleted what is purged: %v", err)
	}
	w.must(w.engine("command").Work(t.Context(), p.ID))
	w.state(p.ID, ledger.PurgeQuarantined)
	w.counts(p.ID, states{ledger.PurgedHeld: 2})
	if n := w.known(); n != 1 {
		t.Errorf("the ledger knows %d", n)
	}
	w.want("moved", "-1", "-2", "-3", "4")
	w.pass(2 * time.Minute)
	w.put("1", "good", true) // a free key
	w.put("3", "good", true) // one that is freed for that
	w.want("written anew", "1", "-2", "3", "4")
	w.counts(p.ID, states{ledger.PurgedHeld: 3})

	if _, err := purge.BeginUndo(t.Context(), w.ledger, p.ID, w.clock()); err != nil {
		t.Fatal(err)
	}
	w.must(w.engine("command").Work(t.Context(), p.ID))
	w.state(p.ID, ledger.PurgeUndone)
	w.counts(p.ID, states{ledger.PurgedRestored: 1, ledger.PurgedOccupied: 2})
	w.want("before they have heard of the undoing", "-2")
	w.refresh()
	w.want("undone", "1", "2", "3", "4")
	if n := w.known(); n != 4 {
		t.Errorf("the ledger knows %d", n)
	}
	// Its key is free again, and somebody asks again.
	w.must(w.servers[0].store.Delete(t.Context(), storetest.Key("1")))
	if _, err := purge.BeginUndo(t.Context(), w.ledger, p.ID, w.clock()); err != nil {
		t.Fatal(err)
	}
	w.must(w.engine("command").Work(t.Context(), p.ID))
	w.counts(p.ID, states{ledger.PurgedRestored: 2, ledger.PurgedOccupied: 1})
	w.refresh()
	w.want("undone once more", "1", "2", "3", "4")
	if _, err := purge.BeginDiscard(t.Context(), w.ledger, p.ID, w.clock()); !errors.Is(err, ledger.ErrPurgeState) {
		t.Errorf("discarded what is undone: %v", err)
	}

	again := w.begin("bad")
	w.refresh()
	if _, err := purge.BeginDiscard(t.Context(), w.ledger, again.ID, w.clock()); err != nil {
		t.Fatal(err)
	}
	w.must(w.engine("command").Work(t.Context(), again.ID))
	w.state(again.ID, ledger.PurgeDiscarded)
	w.counts(again.ID, states{ledger.PurgedDiscarded: 2})
	if _, err := purge.BeginUndo(t.Context(), w.ledger, again.ID, w.clock()); !errors.Is(err, ledger.ErrPurgeState) {
		t.Errorf("undone what is deleted: %v", err)
	}
	w.want("deleted", "-1", "-2", "3", "4")
}

// TestNothingIsLostOnTheWay breaks each step off, before and after what it does, and goes on.
func TestNothingIsLostOnTheWay(t *testing.T) { onEvery(t, testNothingIsLostOnTheWay) }

func testNothingIsLostOnTheWay(t *testing.T, w *world) {
	broken := errors.New("the storage is gone")
	all := []string{"1", "2", "3"}
	for _, hash := range all {
		w.put(hash, "bad", true)
	}
	p := w.begin("bad")
	w.refresh()
	breakAt := func(at string, hash cache.Hash) {
		t.Helper()
		w.faults.fails = func(what string, key cache.Key) error {
			if what == at && key.Hash == hash {
				return broken
			}
			return nil
		}
		if err := w.engine("first").Work(t.Context(), p.ID); !errors.Is(err, broken) {
			t.Errorf("broken off %s: %v", at, err)
		}
		w.faults.fails = nil
	}
	for _, at := range []string{"quarantine", "quarantined"} {
		breakAt(at, "2")
		w.state(p.ID, ledger.PurgeRunning)
		w.counts(p.ID, states{ledger.PurgedHeld: 2, ledger.PurgedFound: 1})
		w.want("broken off", "-1", "-2", "-3")
	}
	w.must(w.engine("second").Work(t.Context(), p.ID))
	w.state(p.ID, ledger.PurgeQuarantined)
	w.counts(p.ID, states{ledger.PurgedHeld: 3})
	if _, err := purge.BeginUndo(t.Context(), w.ledger, p.ID, w.clock()); err != nil {
		t.Fatal(err)
	}
	breakAt("restored", "3")
	w.state(p.ID, ledger.PurgeUndoing)
	w.must(w.engine("second").Work(t.Context(), p.ID))
	w.refresh()
	w.counts(p.ID, states{ledger.PurgedRestored: 3})
	w.want("undone", all...)
}

// TestWhatTheLedgerDoesNotKnow is taken from the store itself, and what it knows too much is no error.
func TestWhatTheLedgerDoesNotKnow(t *testing.T) { onEvery(t, testWhatTheLedgerDoesNotKnow) }

func testWhatTheLedgerDoesNotKnow(t *testing.T, w *world) {
	w.put("1", "bad", false)
	w.put("2", "good", false)
	gone := w.put("3", "bad", true)
	w.must(w.dir.Delete(t.Context(), gone.Key))
	p := w.begin("bad")
	w.refresh()
	taken, err := w.engine("command").Take(t.Context(), &p, w.dir.List(t.Context(), ""))
	if err != nil || taken != 1 {
		t.Errorf("took %d, %v", taken, err)
	}
	w.must(w.engine("command").Work(t.Context(), p.ID))
	w.counts(p.ID, states{ledger.PurgedHeld: 1, ledger.PurgedAbsent: 1})
	w.want("taken", "-1", "2", "-3")
	plan, err := purge.NewPlan(t.Context(), w.dir.List(t.Context(), ""), ledger.Filter{}, func(p *cache.Producer) string { return p.TokenID })
	if err != nil || plan.Entries != 1 || len(plan.Sample) != 1 {
		t.Errorf("left: %+v, %v", plan, err)
	}
}

func TestAnOrderSaysWhatGoes(t *testing.T) { onEvery(t, testAnOrderSaysWhatGoes) }

func testAnOrderSaysWhatGoes(t *testing.T, w *world) {
	for _, f := range []ledger.Filter{{}, {Workspace: "web"}, {Until: noon}} {
		if _, err := purge.Begin(t.Context(), w.ledger, purge.Order{Filter: f}, noon); !errors.Is(err, purge.ErrNoSelector) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	w.put("1", "a", true)
	w.put("2", "b", true)
	w.put("3", "b", true)
	plan, err := purge.NewPlan(t.Context(), purge.Known(t.Context(), w.ledger, ledger.Filter{}), ledger.Filter{}, func(p *cache.Producer) string { return p.TokenID })
	w.must(err)
	want := []purge.Share{{Name: "b", Entries: 2, Bytes: 8}, {Name: "a", Entries: 1, Bytes: 4}}
	if diff := cmp.Diff(want, plan.Producers); diff != "" || plan.Entries != 3 || plan.Bytes != 12 || plan.Scopes[0].Name != "default trusted" {
		t.Errorf("%+v %s", plan, diff)
	}
}
