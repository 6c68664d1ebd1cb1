package storetest

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// quarantiner returns the ability of store to put entries into quarantine, or nil: backends have it, decorators need not.
func quarantiner(store cache.Store) cache.Quarantiner {
	q, _ := store.(cache.Quarantiner)
	return q
}

func entryOf(t *testing.T, store cache.Store, key cache.Key) cache.Entry {
	t.Helper()
	entry, _, err := Get(t.Context(), store, key)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// putNewer stores a body with a seal of its own: [Put] gives all the same.
func putNewer(t *testing.T, store cache.Store, key cache.Key, body []byte) error {
	t.Helper()
	draft, err := store.Create(t.Context(), key)
	if err != nil {
		return err
	}
	defer draft.Abort()
	if _, err := draft.Write(body); err != nil {
		return err
	}
	record := Record(body)
	record.Seal = "v1.0123456789ab.bmV3ZXI"
	return draft.Commit(t.Context(), record)
}

func wantNewer(t *testing.T, store cache.Store, body []byte) {
	t.Helper()
	if _, got, err := Get(t.Context(), store, Key("1")); err != nil || !bytes.Equal(got, body) {
		t.Errorf("the newer one: got %q, %v", got, err)
	}
}

// testQuarantine takes an entry away and brings it back, each step twice and by two handles.
func testQuarantine(t *testing.T, s *suite) {
	first := s.open(t)
	second := s.second(t, first)
	q, other := quarantiner(first), quarantiner(second)
	if q == nil || other == nil {
		return
	}
	const name, never = "00ff", "00fe"
	body, newer := Body(1, 150_000), []byte("what comes after")
	mustPut(t, first, Key("1"), body)
	mustPut(t, first, Key("2"), body)
	entry := entryOf(t, first, Key("1"))
	reader, err := first.Open(t.Context(), Key("1"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	want := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) || want == nil && got != nil {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	forged := entry
	forged.Record.Seal = "v1.0123456789ab.YW5vdGhlcg"
	want("another entry of the key", q.Quarantine(t.Context(), never, forged), cache.ErrNotExist)
	want("back what never went", q.Restore(t.Context(), never, forged), cache.ErrExist)
	wantEntry(t, first, Key("1"), body)
	for _, q := range []cache.Quarantiner{q, other, q} {
		want("away", q.Quarantine(t.Context(), name, entry), nil)
		wantMiss(t, first, Key("1"))
		wantMiss(t, second, Key("1"))
	}
	wantList(t, first, "", Key("2"))
	for _, q := range []cache.Quarantiner{q, other, q} {
		want("back", q.Restore(t.Context(), name, entry), nil)
		wantEntry(t, first, Key("1"), body)
		wantEntry(t, second, Key("1"), body)
	}
	// While it is away, its key is written anew.
	want("away again", other.Quarantine(t.Context(), name, entry), nil)
	want("a newer one", putNewer(t, second, Key("1"), newer), nil)
	want("away as it is", q.Quarantine(t.Context(), name, entry), nil)
	want("back to a key that is taken", q.Restore(t.Context(), name, entry), cache.ErrExist)
	wantNewer(t, first, newer)
	if err := first.Delete(t.Context(), Key("1")); err != nil {
		t.Fatal(err)
	}
	want("back to a free key", q.Restore(t.Context(), name, entry), nil)
	wantEntry(t, second, Key("1"), body)
	want("away for good", q.Quarantine(t.Context(), name, entry), nil)
	for _, q := range []cache.Quarantiner{q, other} {
		want("delete", q.Discard(t.Context(), name), nil)
	}
	want("away what is deleted", q.Quarantine(t.Context(), name, entry), cache.ErrNotExist)
	want("back what is deleted", q.Restore(t.Context(), name, entry), cache.ErrNotExist)
	for _, bad := range []string{"", "../x", "FF", "a.b"} {
		if err := q.Quarantine(t.Context(), bad, entry); err == nil {
			t.Errorf("%q was taken for a name", bad)
		}
	}
	wantList(t, first, "", Key("2"))
}

// testRaceOfQuarantiners has many take an entry away while others write its key anew, and then bring it back.
func testRaceOfQuarantiners(t *testing.T, s *suite) {
	store := s.open(t)
	handles := []cache.Store{store, s.second(t, store)}
	if quarantiner(handles[0]) == nil || quarantiner(handles[1]) == nil {
		return
	}
	body, newer := Body(1, 1000), []byte("what comes after")
	mustPut(t, store, Key("1"), body)
	entry := entryOf(t, store, Key("1"))
	var group errgroup.Group
	for i := range writers {
		group.Go(func() error { return quarantiner(handles[i%2]).Quarantine(t.Context(), "0a", entry) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	wantMiss(t, store, Key("1"))
	for i := range writers {
		for _, work := range []func() error{
			func() error { return quarantiner(handles[i%2]).Restore(t.Context(), "0a", entry) },
			func() error { return putNewer(t, handles[i%2], Key("1"), newer) },
		} {
			group.Go(func() error {
				if err := work(); !errors.Is(err, cache.ErrExist) {
					return err
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	// Whoever was first, none is lost: the other one is in quarantine, or was refused.
	if entryOf(t, store, Key("1")).Record.Seal == entry.Record.Seal {
		wantEntry(t, store, Key("1"), body)
		return
	}
	wantNewer(t, store, newer)
	if err := store.Delete(t.Context(), Key("1")); err != nil {
		t.Fatal(err)
	}
	if err := quarantiner(store).Restore(t.Context(), "0a", entry); err != nil {
		t.Fatal(err)
	}
	wantEntry(t, store, Key("1"), body)
}
