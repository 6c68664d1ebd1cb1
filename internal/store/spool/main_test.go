package spool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// putFunc is the Put of a Remote.
type putFunc func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error

// remote is a Remote in memory.
type remote struct {
	*mem.Store

	mu   sync.Mutex
	puts map[cache.Key]int
	// put, if it is there, is called in place of Put, which it may call.
	put putFunc
	// open, if it is there, is asked before an entry is opened.
	open func(ctx context.Context) error
	del  func() error
}

func newRemote() *remote { return &remote{Store: mem.New(), puts: make(map[cache.Key]int)} }

// set changes what the remote does.
func (r *remote) set(put putFunc, open func(ctx context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put, r.open = put, open
}

func (r *remote) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	r.mu.Lock()
	open := r.open
	r.mu.Unlock()
	if open != nil {
		if err := open(ctx); err != nil {
			return nil, err
		}
	}
	return r.Store.Open(ctx, key)
}

func (r *remote) Delete(ctx context.Context, key cache.Key) error {
	r.mu.Lock()
	del := r.del
	r.mu.Unlock()
	if del != nil {
		if err := del(); err != nil {
			return err
		}
	}
	return r.Store.Delete(ctx, key)
}

func (r *remote) Put(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
	r.mu.Lock()
	r.puts[entry.Key]++
	put := r.put
	r.mu.Unlock()
	if put != nil {
		return put(ctx, entry, body)
	}
	return r.write(ctx, entry, body)
}

// write is a Put that works.
func (r *remote) write(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
	draft, err := r.Create(ctx, entry.Key)
	if err != nil {
		return err
	}
	defer draft.Abort()
	section := io.NewSectionReader(body, 0, entry.Record.Size)
	for buf := make([]byte, 64<<10); ; {
		n, err := section.Read(buf)
		cache.Progress(ctx)
		if _, err := draft.Write(buf[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return draft.Commit(ctx, entry.Record)
		}
		if err != nil {
			return err
		}
	}
}

func (r *remote) tries(key cache.Key) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.puts[key]
}

// hang is a Put that never answers.
func hang(ctx context.Context, _ cache.Entry, _ io.ReaderAt) error {
	<-ctx.Done()
	return ctx.Err()
}

var errDown = errors.New("the bucket is down")

// fail is a Put of a bucket that is down.
func fail(context.Context, cache.Entry, io.ReaderAt) error { return errDown }

// quick has the ability Has.
type quick struct{ *remote }

func (q quick) Has(ctx context.Context, key cache.Key) (bool, error) {
	obj, err := q.Open(ctx, key)
	if errors.Is(err, cache.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, obj.Close()
}

// local opens a directory for a spool, until the test ends.
func local(t testing.TB, dir string) *fs.Store {
	t.Helper()
	store, err := fs.Open(dir, fs.Options{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// open opens a spool that ends with the test.
func open(t testing.TB, r Remote, l Local, options Options) *Store {
	t.Helper()
	if options.Logger == nil {
		options.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := Open(r, l, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, s) })
	return s
}

// end closes a spool at once, leaving on disk what is pending.
func end(t testing.TB, s *Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

func put(t testing.TB, s cache.Store, key cache.Key, body []byte) {
	t.Helper()
	if err := storetest.Put(context.Background(), s, key, body); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

// want fails unless the store has body under key.
func want(t testing.TB, s cache.Store, key cache.Key, body []byte) {
	t.Helper()
	_, got, err := storetest.Get(context.Background(), s, key)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("get %q: got %d bytes, %v; want %d", key, len(got), err, len(body))
	}
}

func wantMiss(t testing.TB, s interface {
	Open(context.Context, cache.Key) (*cache.Object, error)
}, key cache.Key) {
	t.Helper()
	obj, err := s.Open(context.Background(), key)
	if err == nil {
		obj.Close()
	}
	if !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("open %q: got %v, want ErrNotExist", key, err)
	}
}

// isPending reports whether an entry is served and said to be pending.
func isPending(t testing.TB, s cache.Store, key cache.Key) bool {
	t.Helper()
	obj, err := s.Open(context.Background(), key)
	if err != nil {
		t.Fatalf("open %q: %v", key, err)
	}
	defer obj.Close()
	return obj.Pending
}

func keys(t testing.TB, entries iter.Seq2[cache.Entry, error]) map[cache.Key]int {
	t.Helper()
	got := make(map[cache.Key]int)
	for entry, err := range entries {
		if err != nil {
			t.Errorf("list: %v", err)
		}
		got[entry.Key]++
	}
	return got
}

// files returns how many entries are on disk.
func files(t testing.TB, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "entries"), func(_ string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
