package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

func testDelete(t *testing.T, s *suite) {
	store := s.open(t)
	first, second := []byte("the first"), []byte("the second, of another length")
	mustPut(t, store, Key("1"), first)
	mustPut(t, store, Key("2"), first)
	if err := store.Delete(t.Context(), Key("1")); err != nil {
		t.Fatal(err)
	}
	wantMiss(t, store, Key("1"))
	wantList(t, store, "", Key("2"))
	if err := store.Delete(t.Context(), Key("1")); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("a second delete: got %v, want ErrNotExist", err)
	}
	mustPut(t, store, Key("1"), second)
	wantEntry(t, store, Key("1"), second)

	// A draft that was begun before the delete can be committed after it.
	draft := begin(t, store, Key("3"), second)
	mustPut(t, store, Key("3"), first)
	if err := store.Delete(t.Context(), Key("3")); err != nil {
		t.Fatal(err)
	}
	if err := draft.Commit(t.Context(), Record(second)); err != nil {
		t.Fatal(err)
	}
	wantEntry(t, store, Key("3"), second)
}

func testDeleteWhileReading(t *testing.T, s *suite) {
	store := s.open(t)
	body := Body(1, s.large)
	mustPut(t, store, Key("1"), body)
	object, err := store.Open(t.Context(), Key("1"))
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(object.Body, head); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(t.Context(), Key("1")); err != nil {
		t.Fatal(err)
	}
	mustPut(t, store, Key("1"), []byte("what comes after"))
	rest, err := io.ReadAll(object.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(head, rest...), body) {
		t.Error("the reader did not get what it opened")
	}
	wantEntry(t, store, Key("1"), []byte("what comes after"))
}

func testList(t *testing.T, s *suite) {
	store := s.open(t)
	var keys []cache.Key
	for _, workspace := range []cache.Workspace{"api", "web"} {
		for _, scope := range []cache.Scope{cache.Trusted, "pr/1"} {
			for i := range 5 {
				key := cache.Key{Workspace: workspace, Scope: scope, Hash: cache.Hash(fmt.Sprint(i))}
				keys = append(keys, key)
				mustPut(t, store, key, Body(uint64(len(keys)), 100*len(keys)))
			}
		}
	}
	wantList(t, store, "", keys...)
	wantList(t, store, "api", keys[:10]...)
	wantList(t, store, "web", keys[10:]...)
	wantList(t, store, "we")
	for entry, err := range store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		_, body, err := Get(t.Context(), store, entry.Key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Record(body), entry.Record); diff != "" {
			t.Errorf("the listed record of %q (-put +listed):\n%s", entry.Key, diff)
		}
	}
	seen := 0
	for _, err := range store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 3 {
			break
		}
	}
	if seen != 3 {
		t.Errorf("saw %d entries before the break, want 3", seen)
	}
	// Deleting what is listed is what retention does.
	for entry, err := range store.List(t.Context(), "api") {
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Delete(t.Context(), entry.Key); err != nil {
			t.Fatal(err)
		}
	}
	wantList(t, store, "", keys[10:]...)
}

// testListWhileWriting expects entries that stay to be listed once, whatever comes and goes.
func testListWhileWriting(t *testing.T, s *suite) {
	store := s.open(t)
	stay := make(map[cache.Key]int)
	for i := range 20 {
		key := Key(fmt.Sprintf("stays-%d", i))
		mustPut(t, store, key, Body(uint64(i), 200))
		stay[key] = 1
	}
	var writers errgroup.Group
	for w := range 4 {
		writers.Go(func() error {
			for i := range 25 {
				key := Key(fmt.Sprintf("goes-%d-%d", w, i))
				if err := Put(t.Context(), store, key, Body(uint64(i), 200)); err != nil {
					return err
				}
				if err := store.Delete(t.Context(), key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	stopped := make(chan error, 1)
	go func() { stopped <- writers.Wait() }()
	for running := true; running; {
		select {
		case err := <-stopped:
			if err != nil {
				t.Fatal(err)
			}
			running = false // and list once more
		default:
		}
		got := make(map[cache.Key]int)
		for entry, err := range store.List(t.Context(), "") {
			if err != nil {
				t.Errorf("list: %v", err)
				continue
			}
			if stay[entry.Key] > 0 {
				got[entry.Key]++
			}
		}
		if diff := cmp.Diff(stay, got); diff != "" {
			t.Errorf("list (-want +got):\n%s", diff)
		}
		if t.Failed() && running {
			if err := <-stopped; err != nil {
				t.Error(err)
			}
			return
		}
	}
}
