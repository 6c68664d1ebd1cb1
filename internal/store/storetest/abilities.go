package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// testSetAside takes away entries that are open, each of which a reader reads on.
func testSetAside(t *testing.T, s *suite) {
	first := s.open(t)
	second := s.second(t, first)
	body, newer := Body(1, 150_000), []byte("what comes after")
	open := func(store cache.Store) *cache.Object {
		t.Helper()
		object, err := store.Open(t.Context(), Key("1"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = object.Close() })
		return object
	}
	readOn := func(object *cache.Object) {
		t.Helper()
		got, err := io.ReadAll(object.Body)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("the reader got %d bytes, %v", len(got), err)
		}
	}
	mustPut(t, first, Key("1"), body)
	mustPut(t, first, Key("2"), body)
	a, b, c := open(first), open(first), open(second)
	if a.SetAside == nil {
		if s.able {
			t.Error("the store has no place for what is set aside")
		}
		return
	}
	if err := a.SetAside("a reason"); err != nil {
		t.Fatal(err)
	}
	for _, store := range []cache.Store{first, second} {
		wantMiss(t, store, Key("1"))
		wantEntry(t, store, Key("2"), body)
		wantList(t, store, "", Key("2"))
	}
	if err := first.Delete(t.Context(), Key("1")); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("delete: got %v, want ErrNotExist", err)
	}
	// It is away already, and then there is a newer one, which stays.
	for _, object := range []*cache.Object{a, b, c} {
		if err := object.SetAside("a reason"); err != nil {
			t.Errorf("once more: %v", err)
		}
	}
	mustPut(t, second, Key("1"), newer)
	for _, object := range []*cache.Object{a, b, c} {
		if err := object.SetAside("a reason"); err != nil {
			t.Errorf("too late: %v", err)
		}
		wantEntry(t, first, Key("1"), newer)
		wantEntry(t, second, Key("1"), newer)
		readOn(object)
		if err := object.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

// marker returns the ability of store to keep notes, or nil.
func (s *suite) marker(t *testing.T, store cache.Store) cache.Marker {
	t.Helper()
	marker, ok := store.(cache.Marker)
	if !ok && s.able {
		t.Error("the store keeps no notes")
	}
	return marker
}

func testMarks(t *testing.T, s *suite) {
	store := s.open(t)
	first, second := s.marker(t, store), s.marker(t, s.second(t, store))
	if first == nil || second == nil {
		return
	}
	want := func(name, value string) {
		t.Helper()
		for _, m := range []cache.Marker{first, second} {
			if got, err := m.Mark(t.Context(), name); err != nil || string(got) != value {
				t.Errorf("note %q: got %q, %v, want %q", name, got, err, value)
			}
		}
	}
	refused := func(name string, old, value []byte) {
		t.Helper()
		if err := second.SetMark(t.Context(), name, old, value); !errors.Is(err, cache.ErrExist) {
			t.Errorf("note %q from %q to %q: got %v, want ErrExist", name, old, value, err)
		}
	}
	if got, err := first.Mark(t.Context(), "a-b"); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("without a note: got %q, %v", got, err)
	}
	refused("a-b", []byte("one"), []byte("two"))
	for i, value := range []string{"one", "", string(bytes.Repeat([]byte{0, '\n', 0xff, 'x'}, cache.MaxMark/4))} {
		var old []byte
		if i > 0 {
			var err error
			if old, err = second.Mark(t.Context(), "a-b"); err != nil {
				t.Fatal(err)
			}
		}
		if err := first.SetMark(t.Context(), "a-b", old, []byte(value)); err != nil {
			t.Fatal(err)
		}
		want("a-b", value)
		refused("a-b", nil, []byte("three"))
		refused("a-b", []byte("another"), []byte("three"))
		want("a-b", value)
	}
	if err := first.SetMark(t.Context(), "a", nil, []byte("of a")); err != nil {
		t.Fatal(err)
	}
	want("a", "of a")
	if err := first.SetMark(t.Context(), "b", nil, make([]byte, cache.MaxMark+1)); err == nil {
		t.Error("a note that is too long was taken")
	}
	if _, err := first.Mark(t.Context(), "b"); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("what was refused: got %v", err)
	}
	// Notes are no entries.
	wantList(t, store, "")
}

// testRaceOfMarks has many make the same note: one wins.
func testRaceOfMarks(t *testing.T, s *suite) {
	store := s.open(t)
	handles := []cache.Marker{s.marker(t, store), s.marker(t, s.second(t, store))}
	if handles[0] == nil || handles[1] == nil {
		return
	}
	for round := range 5 {
		name := string(rune('a' + round))
		won := make([]bool, writers)
		var group errgroup.Group
		for i := range writers {
			group.Go(func() error {
				err := handles[i%2].SetMark(t.Context(), name, nil, fmt.Append(nil, i))
				won[i] = err == nil
				if errors.Is(err, cache.ErrExist) {
					err = nil
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		got, err := handles[0].Mark(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range writers {
			if won[i] != (string(got) == fmt.Sprint(i)) {
				t.Errorf("the note is %q, but writer %d won: %v", got, i, won[i])
			}
		}
	}
}
