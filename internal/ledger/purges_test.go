package ledger

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

func newPurge(id string, filter Filter) Purge {
	if filter.Until.IsZero() {
		filter.Until = created.Add(24 * time.Hour)
	}
	return Purge{
		ID: id, State: PurgeRunning, By: "jo@laptop", Reason: "a token was stolen", Filter: filter,
		Created: created, Changed: created, Discard: created.Add(7 * 24 * time.Hour),
	}
}

func mustCreatePurge(t *testing.T, l *Ledger, p Purge) {
	t.Helper()
	if err := l.CreatePurge(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func inForce(t *testing.T, l *Ledger) (ids []string) {
	t.Helper()
	all, err := l.PurgesInForce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		ids = append(ids, p.ID)
	}
	return ids
}

func purgesVersion(t *testing.T, l *Ledger) int64 {
	t.Helper()
	version, err := l.PurgesVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func TestPurgesAreHeardOf(t *testing.T) { onEvery(t, testPurgesAreHeardOf) }

// testPurgesAreHeardOf: what changes which purges are in force also changes their version, and nothing else does that every server polls.
func testPurgesAreHeardOf(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	l, other := db.open(t, dir), db.open(t, dir)
	now := created.Add(time.Hour)
	l.now, other.now = func() time.Time { return now }, func() time.Time { return now }
	tokens, before := version(t, l), purgesVersion(t, other)
	all := newPurge("a00000000000", Filter{
		Workspace: "web", Scope: "branch/\xff", Hash: "1", Run: "2", Token: "3", Actor: "4", Repository: "5", Ref: "refs/heads/ü", Since: created, Until: created.Add(time.Nanosecond),
	})
	some := newPurge("b00000000000", Filter{Run: "17"})
	some.Created = some.Created.Add(time.Minute)
	mustCreatePurge(t, l, all)
	mustCreatePurge(t, l, some)
	if diff := cmp.Diff([]string{all.ID, some.ID}, inForce(t, other)); diff != "" {
		t.Fatal(diff)
	}
	after := purgesVersion(t, other)
	if after == before || version(t, l) != tokens {
		t.Error("the versions do not tell it, or make all servers read all tokens anew")
	}
	got, err := other.Purges(t.Context())
	if diff := cmp.Diff([]Purge{some, all}, got); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	undoing, err := l.MovePurge(t.Context(), all.ID, PurgeUndoing, now, PurgeRunning)
	if err != nil || undoing.State != PurgeUndoing || !undoing.Changed.Equal(now) {
		t.Fatal(undoing, err)
	}
	if diff := cmp.Diff([]string{some.ID}, inForce(t, other)); diff != "" || purgesVersion(t, other) == after {
		t.Fatal("the undoing is not heard of", diff)
	}
	if again, err := l.MovePurge(t.Context(), all.ID, PurgeUndoing, now.Add(time.Hour), PurgeRunning); err != nil || !again.Changed.Equal(now) {
		t.Errorf("once more: %v, %v", again, err)
	}
	if _, err := l.MovePurge(t.Context(), all.ID, PurgeDiscarding, now, PurgeRunning, PurgeQuarantined); !errors.Is(err, ErrPurgeState) {
		t.Errorf("discarded what is undone: %v", err)
	}
	for _, err := range []error{
		func() error { _, err := l.FindPurge(t.Context(), "c00000000000"); return err }(),
		func() error { _, err := l.MovePurge(t.Context(), "c00000000000", PurgeUndoing, now); return err }(),
	} {
		if !errors.Is(err, ErrNoPurge) {
			t.Errorf("a purge that is not there: %v", err)
		}
	}
	// They end with time.
	now = created.Add(KeepPurges)
	if diff := cmp.Diff([]string{some.ID}, inForce(t, other)); diff != "" {
		t.Error(diff)
	}
	if err := l.TakePurged(t.Context(), all.ID, []PurgedEntry{{ID: [16]byte{1}, State: PurgedFound, Entry: newEntry(1)}}); err != nil {
		t.Fatal(err)
	}
	if err := l.ForgetPurges(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Purges(t.Context()); err != nil || len(got) != 1 || got[0].ID != some.ID {
		t.Errorf("after their time: %v, %v", got, err)
	}
}

func TestWhatNoPurgeIs(t *testing.T) { onEvery(t, testWhatNoPurgeIs) }

func testWhatNoPurgeIs(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	for name, p := range map[string]Purge{
		"no end":            {ID: "a", Filter: Filter{Run: "1"}},
		"control character": newPurge("b", Filter{Run: "1\x00"}),
		"no UTF-8":          newPurge("c", Filter{Ref: "\xff"}),
		"nothing between":   newPurge("d", Filter{Since: created, Until: created}),
	} {
		if err := l.CreatePurge(t.Context(), p); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

func TestEntriesOfAPurge(t *testing.T) { onEvery(t, testEntriesOfAPurge) }

func testEntriesOfAPurge(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	all := newEntries(5)
	all[0].Key.Scope = "branch/\xff\x00"
	record(t, l, all...)
	mustCreatePurge(t, l, newPurge("a00000000000", Filter{Run: "17"}))
	taken := make([]PurgedEntry, 4)
	for i := range taken {
		taken[i] = PurgedEntry{ID: [16]byte{0x80, byte(i)}, State: PurgedFound, Entry: all[i]}
	}
	taken[3].Record.Seal = "v1.another" // of the same key, but not what the ledger knows
	states := func(want ...PurgedState) {
		t.Helper()
		got := make([]PurgedState, len(taken))
		for _, state := range []PurgedState{PurgedFound, PurgedHeld, PurgedAbsent, PurgedRestored, PurgedOccupied, PurgedDiscarded} {
			for after := ([16]byte{}); ; {
				step, err := l.Purged(t.Context(), "a00000000000", state, after, 1)
				if err != nil {
					t.Fatal(err)
				}
				if len(step) == 0 {
					break
				}
				after = step[0].ID
				i := int(after[1])
				got[i] = state
				want := taken[i]
				want.State = state
				if diff := cmp.Diff(want, step[0]); diff != "" {
					t.Error(diff)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	mark := func(i int, state PurgedState) {
		t.Helper()
		e := taken[i]
		e.State = state
		if err := l.MarkPurged(t.Context(), "a00000000000", []PurgedEntry{e}); err != nil {
			t.Fatal(err)
		}
	}
	take := func(state PurgedState, is ...int) {
		t.Helper()
		var some []PurgedEntry
		for _, i := range is {
			e := taken[i]
			e.State = state
			some = append(some, e)
		}
		if err := l.TakePurged(t.Context(), "a00000000000", some); err != nil {
			t.Fatal(err)
		}
	}
	take(PurgedFound, 0, 1, 2, 3)
	take(PurgedFound, 0)
	states(PurgedFound, PurgedFound, PurgedFound, PurgedFound)
	wantKnown(t, l, all[4], all[3])
	mark(0, PurgedHeld)
	mark(1, PurgedAbsent)
	take(PurgedFound, 0, 1) // one stays in quarantine, the other one is there again
	take(PurgedHeld, 2)     // it is on its way there already
	states(PurgedHeld, PurgedFound, PurgedFound, PurgedFound)
	mark(0, PurgedRestored)
	wantKnown(t, l, all[4], all[3], all[0])
	take(PurgedHeld, 0)
	mark(3, PurgedDiscarded)
	states(PurgedHeld, PurgedFound, PurgedFound, PurgedDiscarded)
	wantKnown(t, l, all[4], all[3])
	got, err := l.CountPurged(t.Context(), "a00000000000")
	want := map[PurgedState]PurgedCount{
		PurgedHeld: {1, all[0].Record.Size}, PurgedFound: {2, all[1].Record.Size + all[2].Record.Size}, PurgedDiscarded: {1, all[3].Record.Size},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// TestMatchIsWhatTheDatabaseFinds for any filter: what is hidden is what is purged.
func TestMatchIsWhatTheDatabaseFinds(t *testing.T) { onEvery(t, testMatchIsWhatTheDatabaseFinds) }

func testMatchIsWhatTheDatabaseFinds(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	few := func(values ...string) *rapid.Generator[string] { return rapid.SampledFrom(append(values, "")) }
	var all []cache.Entry
	for i := range 200 {
		pick := func(n int, values ...string) string { return values[(i/n)%len(values)] }
		e := newEntry(i)
		e.Key.Workspace, e.Key.Scope = cache.Workspace(pick(1, "a", "b")), cache.Scope(pick(2, "trusted", "pr/1", "branch/\xff"))
		e.Key.Hash = cache.Hash(fmt.Sprint(i / 6))
		e.Record.Created = created.Add(time.Duration(i/10) * time.Nanosecond)
		e.Record.Producer = cache.Producer{
			TokenID: pick(3, "1", "", "2"), RunID: pick(5, "1", ""), ActorID: pick(7, "1", "2"), RepositoryID: pick(11, "1", "2", ""), SourceID: pick(13, "", "1"), Ref: pick(17, "r", "ü", ""),
		}
		all = append(all, e)
	}
	record(t, l, all...)
	byKey := make(map[cache.Key]cache.Entry)
	for _, e := range all {
		byKey[e.Key] = e // of each key the last one counts
	}
	rapid.Check(t, func(r *rapid.T) {
		f := Filter{
			Workspace: cache.Workspace(few("a").Draw(r, "workspace")), Scope: cache.Scope(few("trusted", "branch/\xff").Draw(r, "scope")),
			Hash: cache.Hash(few("3").Draw(r, "hash")), Run: few("1").Draw(r, "run"), Token: few("1", "2").Draw(r, "token"), Actor: few("1").Draw(r, "actor"),
			Repository: few("1", "2").Draw(r, "repository"), Ref: few("r", "ü").Draw(r, "ref"),
		}
		if rapid.Bool().Draw(r, "has since") {
			f.Since = created.Add(time.Duration(rapid.IntRange(0, 20).Draw(r, "since")) * time.Nanosecond)
		}
		if rapid.Bool().Draw(r, "has until") {
			f.Until = created.Add(time.Duration(rapid.IntRange(0, 20).Draw(r, "until")) * time.Nanosecond)
		}
		want := make(map[cache.Key]bool)
		for key, e := range byKey {
			if f.Match(&e) {
				want[key] = true
			}
		}
		found, _, err := l.Entries(t.Context(), f, "", len(all)+1)
		if err != nil {
			r.Fatal(err)
		}
		got := make(map[cache.Key]bool)
		for _, e := range found {
			got[e.Key] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			r.Fatalf("%+v: %s", f, diff)
		}
	})
}
