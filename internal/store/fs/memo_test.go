package fs

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func file(n uint64) identity { return identity{inode: n, size: 1} }

func TestMemoChecksOnce(t *testing.T) {
	m := newMemo()
	runs := 0
	verify := func(context.Context, func()) error { runs++; return nil }
	for range 3 {
		if err := m.once(t.Context(), file(1), verify); err != nil {
			t.Fatal(err)
		}
	}
	m.add(file(2))
	if err := m.once(t.Context(), file(2), verify); err != nil || runs != 1 {
		t.Errorf("got %v and %d runs, want one", err, runs)
	}
	bad := errors.New("bad")
	for range 2 {
		if err := m.once(t.Context(), file(3), func(context.Context, func()) error { return bad }); !errors.Is(err, bad) {
			t.Errorf("got %v: a failure must not be remembered as success", err)
		}
	}
	// Each part of the identity counts.
	for _, id := range []identity{{device: 1, inode: 1, size: 1}, {inode: 1, size: 2}, {inode: 1, size: 1, mtime: 1}, {inode: 1, size: 1, change: 1}} {
		runs = 0
		if err := m.once(t.Context(), id, verify); err != nil || runs != 1 {
			t.Errorf("%+v: got %v and %d runs, want one", id, err, runs)
		}
	}
}

// TestMemoSharesOneCheck lets 20 callers come while a check runs.
func TestMemoSharesOneCheck(t *testing.T) {
	for _, want := range []error{nil, damageError("bad")} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemo()
			finish := make(chan struct{})
			runs := 0
			results := make(chan error, 20)
			for range 20 {
				go func() {
					results <- m.once(t.Context(), file(1), func(context.Context, func()) error {
						runs++
						<-finish
						return want
					})
				}()
			}
			synctest.Wait()
			close(finish)
			for range 20 {
				if err := <-results; !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			}
			if runs != 1 {
				t.Errorf("%d checks ran, want one", runs)
			}
		})
	}
}

// TestMemoOutlivesItsLeader cancels the caller that runs the check, and one that waits for it. A third goes on.
func TestMemoOutlivesItsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemo()
		leader, cancelLeader := context.WithCancel(t.Context())
		waiter, cancelWaiter := context.WithCancel(t.Context())
		ask := func(ctx context.Context, verify func(context.Context, func()) error) <-chan error {
			result := make(chan error, 1)
			go func() { result <- m.once(ctx, file(1), verify) }()
			synctest.Wait()
			return result
		}
		untilCanceled := func(ctx context.Context, _ func()) error { <-ctx.Done(); return ctx.Err() }
		first := ask(leader, untilCanceled)
		second := ask(waiter, untilCanceled)
		third := ask(t.Context(), func(context.Context, func()) error { return nil })
		cancelWaiter()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("the waiter: got %v", err)
		}
		cancelLeader()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the leader: got %v", err)
		}
		if err := <-third; err != nil {
			t.Errorf("the third: got %v", err)
		}
	})
}

func TestMemoIsBounded(t *testing.T) {
	m := newMemo()
	const hot = 1_000_000
	m.add(file(hot))
	missed := 0
	for n := range uint64(300_000) {
		m.add(file(n))
		if n%100 == 0 {
			_ = m.once(t.Context(), file(hot), func(context.Context, func()) error { missed++; return nil })
		}
	}
	size := 0
	for i := range m.shards {
		s := &m.shards[i]
		size += len(s.young) + len(s.old)
		if len(s.running) != 0 {
			t.Errorf("%d checks are said to run", len(s.running))
		}
	}
	if size > 2*memoShards*memoGeneration || size < memoShards*memoGeneration {
		t.Errorf("%d files are remembered, want %d to %d", size, memoShards*memoGeneration, 2*memoShards*memoGeneration)
	}
	if missed != 0 {
		t.Errorf("a file that is asked for all the time was forgotten %d times", missed)
	}
}

// TestWrittenIsKnown spares an entry the check by the process that wrote it.
func TestWrittenIsKnown(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows tells a file's identity by its handle only, and so each opening is checked")
	}
	s := open(t, t.TempDir())
	put(t, s, storetest.Key("1"), []byte("body"))
	id, ok := identityOf(stat(t, s.path(storetest.Key("1"))))
	if !ok {
		t.Fatal("the system does not tell files apart")
	}
	if !s.memo.shard(id).knows(id) {
		t.Error("it would be checked")
	}
	other := open(t, s.dir)
	if other.memo.shard(id).knows(id) {
		t.Error("another store knows what it did not see")
	}
	if _, _, err := storetest.Get(t.Context(), other, storetest.Key("1")); err != nil {
		t.Fatal(err)
	}
	if !other.memo.shard(id).knows(id) {
		t.Error("it would be checked again")
	}
}

// TestMemoTellsOfProgress: who waits for a long check hears that it gets on, as the one that runs it does.
func TestMemoTellsOfProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemo()
		go func() {
			_ = m.once(t.Context(), file(1), func(ctx context.Context, moved func()) error {
				for range 20 {
					<-time.After(watchInterval)
					moved()
				}
				return nil
			})
		}()
		synctest.Wait()
		// The cache's own deadline is the one that is restarted.
		store := &waiting{once: func(ctx context.Context) error {
			return m.once(ctx, file(1), func(context.Context, func()) error { return errors.New("a second check") })
		}}
		_, err := cache.New(store, cache.Options{StoreTimeout: 2*watchInterval + watchInterval/2}).
			Get(t.Context(), cache.Grant{Read: []cache.Scope{cache.Trusted}}, "1")
		if !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

// waiting is a store whose Open waits for something and then has no entry.
type waiting struct {
	cache.Store
	once func(context.Context) error
}

func (w *waiting) Open(ctx context.Context, _ cache.Key) (*cache.Object, error) {
	if err := w.once(ctx); err != nil {
		return nil, err
	}
	return nil, cache.ErrNotExist
}
