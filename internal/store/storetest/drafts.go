package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

func testWriteOnce(t *testing.T, s *suite) {
	store := s.open(t)
	first, second := []byte("the first body"), []byte("another body")
	mustPut(t, store, Key("1"), first)
	if err := Put(t.Context(), store, Key("1"), second); !errors.Is(err, cache.ErrExist) {
		t.Fatalf("a second put: got %v, want ErrExist", err)
	}
	wantEntry(t, store, Key("1"), first)

	// Two drafts begun before either is committed: the first that commits wins.
	a, b := begin(t, store, Key("2"), first), begin(t, store, Key("2"), second)
	if err := b.Commit(t.Context(), Record(second)); err != nil {
		t.Fatal(err)
	}
	if err := a.Commit(t.Context(), Record(first)); !errors.Is(err, cache.ErrExist) {
		t.Fatalf("a second commit of a key: got %v, want ErrExist", err)
	}
	wantEntry(t, store, Key("2"), second)

	// The same bytes are no exception.
	if err := Put(t.Context(), store, Key("2"), second); !errors.Is(err, cache.ErrExist) {
		t.Fatalf("the same body again: got %v, want ErrExist", err)
	}
	wantList(t, store, "", Key("1"), Key("2"))
}

func testNothingBeforeCommit(t *testing.T, s *suite) {
	store := s.open(t)
	body := Body(1, 100_000)
	draft := begin(t, store, Key("1"), body)
	wantMiss(t, store, Key("1"))
	wantList(t, store, "")
	if err := store.Delete(t.Context(), Key("1")); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("delete of what is not committed: got %v, want ErrNotExist", err)
	}
	draft.Abort()
	wantMiss(t, store, Key("1"))
	wantList(t, store, "")
	mustPut(t, store, Key("1"), body)
	wantEntry(t, store, Key("1"), body)
}

func testSizeMismatch(t *testing.T, s *suite) {
	store := s.open(t)
	body := []byte("twelve bytes")
	for _, size := range []int64{-1, 0, 11, 13, 1 << 40} {
		record := Record(body)
		record.Size = size
		err := begin(t, store, Key("1"), body).Commit(t.Context(), record)
		if err == nil || errors.Is(err, cache.ErrExist) || errors.Is(err, cache.ErrNotExist) || errors.Is(err, cache.ErrDamaged) {
			t.Errorf("commit of 12 bytes as %d: got %v, want an error of its own", size, err)
		}
		wantMiss(t, store, Key("1"))
	}
	mustPut(t, store, Key("1"), body)
	wantEntry(t, store, Key("1"), body)
}

// testSpent uses drafts that are committed or aborted.
func testSpent(t *testing.T, s *suite) {
	store := s.open(t)
	body := []byte("body")

	draft := begin(t, store, Key("1"), body)
	draft.Abort()
	draft.Abort()
	if err := draft.Commit(t.Context(), Record(body)); err == nil {
		t.Error("a commit after an abort succeeded")
	}
	if _, err := draft.Write(body); err == nil {
		t.Error("a write after an abort succeeded")
	}
	wantMiss(t, store, Key("1"))

	draft = begin(t, store, Key("2"), body)
	if err := draft.Commit(t.Context(), Record(body)); err != nil {
		t.Fatal(err)
	}
	draft.Abort()
	if err := draft.Commit(t.Context(), Record(body)); err == nil {
		t.Error("a second commit of a draft succeeded")
	}
	if _, err := draft.Write(body); err == nil {
		t.Error("a write after a commit succeeded")
	}
	draft.Abort()
	wantEntry(t, store, Key("2"), body)

	draft = begin(t, store, Key("3"), body)
	if err := draft.Commit(t.Context(), cache.Record{Size: 1}); err == nil {
		t.Error("a commit with another size succeeded")
	}
	if err := draft.Commit(t.Context(), Record(body)); err == nil {
		t.Error("a commit after a commit that failed succeeded")
	}
	wantMiss(t, store, Key("3"))

	// An empty body, which cannot be refused for its size.
	draft = begin(t, store, Key("4"), nil)
	draft.Abort()
	if err := draft.Commit(t.Context(), Record(nil)); err == nil {
		t.Error("a commit of an empty body after an abort succeeded")
	}
	wantMiss(t, store, Key("4"))
}

func testCanceled(t *testing.T, s *suite) {
	store := s.open(t)
	body := Body(1, 100_000)
	mustPut(t, store, Key("1"), body)
	draft := begin(t, store, Key("2"), body)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want := func(doing string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", doing, err)
		}
	}
	_, err := store.Open(ctx, Key("1"))
	want("open", err)
	_, err = store.Create(ctx, Key("3"))
	want("create", err)
	want("commit", draft.Commit(ctx, Record(body)))
	want("delete", store.Delete(ctx, Key("1")))
	var last error
	for _, err := range store.List(ctx, "") {
		last = err
	}
	want("list", last)

	wantMiss(t, store, Key("2"))
	wantList(t, store, "", Key("1"))
	wantEntry(t, store, Key("1"), body)
}
