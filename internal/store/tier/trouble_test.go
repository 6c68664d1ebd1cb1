package tier

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// faulty is a local store on a disk that fails.
type faulty struct {
	cache.Store
	list chan struct{} // List waits for it, if there is one

	mu                                 sync.Mutex
	open, create, write, commit, erase error
	room                               int // bytes that drafts can take before write comes
	begin, end                         chan struct{}
}

func (f *faulty) set(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *faulty) get(err *error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *err
}

func (f *faulty) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if err := f.get(&f.open); err != nil {
		return nil, err
	}
	return f.Store.Open(ctx, key)
}

func (f *faulty) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	if err := f.get(&f.create); err != nil {
		return nil, err
	}
	draft, err := f.Store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &faultyDraft{Draft: draft, follower: draft.(follower), store: f}, nil
}

func (f *faulty) Delete(ctx context.Context, key cache.Key) error {
	if err := f.get(&f.erase); err != nil {
		return err
	}
	return f.Store.Delete(ctx, key)
}

func (f *faulty) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	if f.list != nil {
		<-f.list
	}
	return f.Store.List(ctx, workspace)
}

type faultyDraft struct {
	cache.Draft
	follower
	store   *faulty
	written int
}

func (d *faultyDraft) Write(p []byte) (int, error) {
	if err := d.store.get(&d.store.write); err != nil && d.written+len(p) > d.store.room {
		return 0, err
	}
	d.written += len(p)
	return d.Draft.Write(p)
}

func (d *faultyDraft) Commit(ctx context.Context, record cache.Record) error {
	if err := d.store.get(&d.store.commit); err != nil {
		d.Abort()
		return err
	}
	if d.store.begin != nil {
		d.store.begin <- struct{}{}
		<-d.store.end
	}
	return d.Draft.Commit(ctx, record)
}

// TestLocalTroubleFailsNoReading breaks each use of the local disk.
func TestLocalTroubleFailsNoReading(t *testing.T) {
	full := error(syscall.ENOSPC)
	for name, fault := range map[string]func(*faulty){
		"reading":                func(f *faulty) { f.open = syscall.EIO },
		"beginning":              func(f *faulty) { f.create = syscall.EROFS },
		"writing, at once":       func(f *faulty) { f.write = full },
		"writing, in the middle": func(f *faulty) { f.write, f.room = full, 200_000 },
		"committing":             func(f *faulty) { f.commit = full },
	} {
		for way, ahead := range map[string]int64{"ahead": -1, "flowing": 1000} {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					inner := &remote{Store: mem.New()}
					body := storetest.Body(1, 500_000)
					put(t, inner, key, body)
					local := &faulty{Store: openFS(t, t.TempDir())}
					var lines bytes.Buffer
					s := openOver(t, inner, local, Options{Size: 1 << 20, VerifyAhead: ahead, Logger: slog.New(slog.NewTextHandler(&lines, nil))})
					local.set(func() { fault(local) })
					for range 3 {
						if got := mustGet(t, s, key); !bytes.Equal(got, body) {
							t.Fatal("the bytes differ")
						}
						synctest.Wait()
					}
					if s.Degraded() == nil {
						t.Error("nobody hears of it")
					}
					if got := strings.Count(lines.String(), "level=ERROR"); got != 1 {
						t.Errorf("it was logged %d times", got)
					}
					local.set(func() { local.open, local.create, local.write, local.commit = nil, nil, nil, nil })
					for range 5 {
						time.Sleep(30 * time.Second) //nolint:forbidigo // of a bubble's clock
						if err := s.Forget(t.Context(), key); err != nil {
							t.Fatal(err)
						}
						mustGet(t, s, key)
						synctest.Wait()
						mustGet(t, s, key)
					}
					if err := s.Degraded(); err != nil {
						t.Errorf("it is over, but: %v", err)
					}
					if !keeps(t, s, key) {
						t.Error("nothing is kept afterwards")
					}
				})
			})
		}
	}
}

// TestManyReadersOutliveTheDisk breaks the disk under readers at different places of a body.
func TestManyReadersOutliveTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &remote{Store: mem.New(), bodies: make(chan int, 100)}
		body := storetest.Body(1, 500_000)
		put(t, inner, key, body)
		local := &faulty{Store: openFS(t, t.TempDir()), room: 300_000, write: syscall.ENOSPC}
		s := openOver(t, inner, local, Options{Size: 1 << 20, VerifyAhead: 1})
		inner.bodies <- 250_000
		results := make(chan error)
		for i := range 10 {
			object := mustOpen(t, s, key)
			head := make([]byte, 25_000*i)
			if _, err := io.ReadFull(object.Body, head); err != nil {
				t.Fatal(err)
			}
			go func() {
				rest, err := io.ReadAll(object.Body)
				if err == nil && !bytes.Equal(append(head, rest...), body) {
					err = errors.New("the bytes differ")
				}
				results <- err
			}()
		}
		for range 11 {
			inner.bodies <- flood
		}
		for range 10 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestDiskAndEntryAreLost replaces the entry while the disk fails: the reader must not get the rest of another one.
func TestDiskAndEntryAreLost(t *testing.T) {
	for name, replace := range map[string]func(*remote){
		"replaced": func(inner *remote) { put(t, inner, key, storetest.Body(2, 500_000)) },
		"deleted":  func(*remote) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := &remote{Store: mem.New(), bodies: make(chan int, 10)}
				put(t, inner, key, storetest.Body(1, 500_000))
				local := &faulty{Store: openFS(t, t.TempDir()), room: 300_000, write: syscall.ENOSPC}
				s := openOver(t, inner, local, Options{Size: 1 << 20, VerifyAhead: 1})
				inner.bodies <- 100_000
				object := mustOpen(t, s, key)
				if _, err := io.ReadFull(object.Body, make([]byte, 50_000)); err != nil {
					t.Fatal(err)
				}
				if err := inner.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
				replace(inner)
				inner.bodies <- flood
				inner.bodies <- flood
				if got, err := io.ReadAll(object.Body); err == nil || len(got) > 450_000 {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
			})
		})
	}
}

// TestNoTemporaryDirectory has the directory go away: readers get what inner has, unshared.
func TestNoTemporaryDirectory(t *testing.T) {
	inner := &remote{Store: mem.New()}
	body := storetest.Body(1, 100_000)
	put(t, inner, key, body)
	dir := filepath.Join(t.TempDir(), "temp")
	if _, err := Open(inner, nil, Options{TempDir: dir}); err == nil {
		t.Fatal("a directory that is not there was taken")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := openTier(t, inner, Options{TempDir: dir})
	mustGet(t, s, key)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err) // also if a file was left in it
	}
	for range 2 {
		if got := mustGet(t, s, key); !bytes.Equal(got, body) {
			t.Error("the bytes differ")
		}
	}
	if s.Degraded() == nil {
		t.Error("nobody hears of it")
	}
}

// TestTroubleWithTheTemporaryDirectoryEnds though nothing goes there any more, because all is kept again.
func TestTroubleWithTheTemporaryDirectoryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &remote{Store: mem.New()}
		local := &faulty{Store: openFS(t, t.TempDir()), create: syscall.EROFS}
		dir := filepath.Join(t.TempDir(), "temp")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s := openOver(t, inner, local, Options{Size: 1 << 30, TempDir: dir})
		synctest.Wait()
		get := func(hash string) {
			t.Helper()
			key := storetest.Key(hash)
			put(t, inner, key, storetest.Body(1, 10_000))
			mustGet(t, s, key)
			synctest.Wait()
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		get("1")
		if s.spilling.state() == nil || s.writing.state() == nil {
			t.Fatalf("the trouble is %v", s.Degraded())
		}
		local.set(func() { local.create = nil })
		for _, hash := range []string{"2", "3"} {
			time.Sleep(2 * time.Minute) //nolint:forbidigo // of a bubble's clock
			get(hash)
		}
		if s.writing.state() != nil || s.spilling.state() == nil {
			t.Fatalf("the directory is not there, and the trouble is %v", s.Degraded())
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) //nolint:forbidigo // the same
		get("4")
		if err := s.Degraded(); err != nil {
			t.Errorf("it is over, but: %v", err)
		}
	})
}

// TestTempSize has more to be shared than the temporary directory may take.
func TestTempSize(t *testing.T) {
	inner := &remote{Store: mem.New()}
	put(t, inner, key, storetest.Body(1, 100_000))
	s := openTier(t, inner, Options{TempSize: 99_999})
	mustGet(t, s, key)
	if err := s.Degraded(); err != nil || s.temp.Load() != 0 {
		t.Errorf("%v, %d bytes", err, s.temp.Load())
	}
}

// TestAbsurdSizes has a storage that says of several bodies at once that they are as large as a number can be: none may go to a file.
func TestAbsurdSizes(t *testing.T) {
	s := openTier(t, mem.New(), Options{})
	if !s.reserveTemp(1) {
		t.Fatal("no room for a byte")
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10_000 {
				if s.reserveTemp(math.MaxInt64) {
					t.Error("room was found")
					return
				}
			}
		})
	}
	wg.Wait()
	if got := s.temp.Load(); got != 1 {
		t.Errorf("%d bytes are reserved", got)
	}
}

// TestUnfollowableLocal has a local store that cannot serve a tier.
func TestUnfollowableLocal(t *testing.T) {
	inner := &remote{Store: mem.New()}
	put(t, inner, key, storetest.Body(1, 100_000))
	s := openOver(t, inner, mem.New(), Options{Size: 1 << 20})
	mustGet(t, s, key)
	if s.Degraded() == nil {
		t.Error("nobody hears of it")
	}
}

func TestOptions(t *testing.T) {
	for name, options := range map[string]Options{
		"negative":            {Size: -1},
		"without a directory": {Size: 1},
	} {
		if _, err := Open(mem.New(), nil, options); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
