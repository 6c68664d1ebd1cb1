package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// testSecondHandle looks at one storage through two handles.
func testSecondHandle(t *testing.T, s *suite) {
	first := s.open(t)
	second := s.second(t, first)
	body, other := Body(1, 10_000), Body(2, 20_000)
	draft := begin(t, first, Key("1"), body)
	wantMiss(t, second, Key("1"))
	if err := draft.Commit(t.Context(), Record(body)); err != nil {
		t.Fatal(err)
	}
	wantEntry(t, second, Key("1"), body)
	wantList(t, second, "", Key("1"))
	if err := Put(t.Context(), second, Key("1"), other); !errors.Is(err, cache.ErrExist) {
		t.Fatalf("put through the other handle: got %v, want ErrExist", err)
	}
	if err := second.Delete(t.Context(), Key("1")); err != nil {
		t.Fatal(err)
	}
	wantMiss(t, first, Key("1"))
	mustPut(t, second, Key("1"), other)
	wantEntry(t, first, Key("1"), other)
	wantEntry(t, second, Key("1"), other)
}

// writers is how many write one key at once.
const writers = 50

// testRaceOfWriters lets 50 drafts with different bodies and lengths, half of them through a second handle, be committed at
// once. One wins; readers meanwhile and afterwards see a miss or the winner.
func testRaceOfWriters(t *testing.T, s *suite) {
	first := s.open(t)
	handles := []cache.Store{first, s.second(t, first)}
	for round := range 5 {
		key := Key(fmt.Sprintf("round-%d", round))
		raceOfWriters(t, handles, key, uint64(round)*writers)
	}
}

func raceOfWriters(t *testing.T, handles []cache.Store, key cache.Key, seed uint64) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	readers := watch(ctx, handles, key)

	bodies := make([][]byte, writers)
	drafts := make([]cache.Draft, writers)
	for i := range writers {
		bodies[i] = Body(seed+uint64(i), 20_000+i)
		drafts[i] = begin(t, handles[i%len(handles)], key, bodies[i])
	}
	var start, done sync.WaitGroup
	start.Add(1)
	errs := make([]error, writers)
	for i, draft := range drafts {
		done.Go(func() {
			start.Wait()
			errs[i] = draft.Commit(ctx, Record(bodies[i]))
		})
	}
	start.Done()
	done.Wait()

	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Errorf("writers %d and %d both won", winner, i)
		case !errors.Is(err, cache.ErrExist):
			t.Errorf("writer %d: got %v, want ErrExist", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	for _, handle := range handles {
		wantEntry(t, handle, key, bodies[winner])
	}
	cancel()
	seen, err := readers()
	if err != nil {
		t.Errorf("a reader meanwhile: %v", err)
	}
	for digest := range seen {
		if digest != sha256.Sum256(bodies[winner]) {
			t.Errorf("a reader saw a body with the digest %x, which did not win", digest)
		}
	}
}

// watch reads key through every handle until ctx ends, and returns a function that waits for it and returns the digests of
// all bodies that were seen.
func watch(ctx context.Context, handles []cache.Store, key cache.Key) func() (map[[sha256.Size]byte]bool, error) {
	var group errgroup.Group
	var mu sync.Mutex
	seen := make(map[[sha256.Size]byte]bool)
	for i := range 4 {
		handle := handles[i%len(handles)]
		group.Go(func() error {
			for ctx.Err() == nil {
				_, body, err := Get(ctx, handle, key)
				switch {
				case errors.Is(err, cache.ErrNotExist):
				case err != nil && ctx.Err() != nil:
				case err != nil:
					return err
				default:
					mu.Lock()
					seen[sha256.Sum256(body)] = true
					mu.Unlock()
				}
			}
			return nil
		})
	}
	return func() (map[[sha256.Size]byte]bool, error) {
		err := group.Wait()
		return seen, err
	}
}

// testRaceOfDeleters writes, reads and deletes the same few keys from all sides. Whatever is seen must be whole.
func testRaceOfDeleters(t *testing.T, s *suite) {
	first := s.open(t)
	handles := []cache.Store{first, s.second(t, first)}
	bodies := [][]byte{Body(1, 5_000), Body(2, 6_000), Body(3, 7_000)}
	var group errgroup.Group
	for w := range 8 {
		handle := handles[w%len(handles)]
		group.Go(func() error {
			for i := range 30 {
				key := Key(fmt.Sprint(i % 2))
				if err := Put(t.Context(), handle, key, bodies[w%3]); err != nil && !errors.Is(err, cache.ErrExist) {
					return fmt.Errorf("put: %w", err)
				}
				_, body, err := Get(t.Context(), handle, key)
				if err != nil && !errors.Is(err, cache.ErrNotExist) {
					return fmt.Errorf("get: %w", err)
				}
				if err == nil && !bytes.Equal(body, bodies[len(body)/1000-5]) {
					return fmt.Errorf("got %d bytes that nobody put", len(body))
				}
				if err := handle.Delete(t.Context(), key); err != nil && !errors.Is(err, cache.ErrNotExist) {
					return fmt.Errorf("delete: %w", err)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := first.Delete(t.Context(), Key(fmt.Sprint(i))); err != nil && !errors.Is(err, cache.ErrNotExist) {
			t.Fatal(err)
		}
	}
	wantList(t, first, "")
}

func testManyKeys(t *testing.T, s *suite) {
	first := s.open(t)
	handles := []cache.Store{first, s.second(t, first)}
	var group errgroup.Group
	var keys []cache.Key
	for i := range 64 {
		key := Key(fmt.Sprint(i))
		keys = append(keys, key)
		group.Go(func() error { return Put(t.Context(), handles[i%2], key, Body(uint64(i), 1000*i)) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	wantList(t, first, "", keys...)
	for i, key := range keys {
		wantEntry(t, handles[(i+1)%2], key, Body(uint64(i), 1000*i))
	}
}
