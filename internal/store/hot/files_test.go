package hot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestContractOverFiles(t *testing.T) {
	storetest.Run(t, func(t *testing.T) cache.Store {
		inner, err := fs.Open(t.TempDir(), fs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = inner.Close() })
		return New(inner, Options{Files: mostFiles})
	})
}

// disk gives bodies out as files, as a store on a disk of this machine does, and counts those that are open.
type disk struct {
	cache.Store
	dir     string
	made    atomic.Int64
	open    atomic.Int64
	changed atomic.Bool
}

type diskBody struct {
	io.Reader
	file *os.File
	disk *disk
	once sync.Once
}

func (b *diskBody) File() *os.File  { return b.file }
func (b *diskBody) Unchanged() bool { return !b.disk.changed.Load() }
func (b *diskBody) Close() error {
	b.once.Do(func() { b.disk.open.Add(-1) })
	return b.file.Close()
}

func (d *disk) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := d.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer obj.Close()
	body, err := io.ReadAll(obj.Body)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(d.dir, strconv.FormatInt(d.made.Add(1), 10))
	if err := os.WriteFile(path, append(body, "and what is behind it"...), 0o600); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	d.open.Add(1)
	return &cache.Object{Entry: obj.Entry, Body: &diskBody{Reader: f, file: f, disk: d}, SetAside: obj.SetAside}, nil
}

func onDisk(t *testing.T, opts Options) (*fixture, *disk) {
	d := &disk{Store: mem.New(), dir: t.TempDir()}
	inner := &counted{Store: d}
	opts.MaxBody = 10
	if opts.Files == 0 {
		opts.Files = mostFiles
	}
	return &fixture{t, inner, New(inner, opts)}, d
}

func (d *disk) want(t *testing.T, open int64) {
	t.Helper()
	if n := d.open.Load(); n != open {
		t.Errorf("%d files are open, want %d", n, open)
	}
}

// wantNone waits until all files are closed.
func (d *disk) wantNone(t *testing.T) {
	t.Helper()
	for deadline := time.After(10 * time.Second); d.open.Load() > 0; {
		select {
		case <-deadline:
			t.Fatalf("%d files stay open", d.open.Load())
		case <-time.After(time.Millisecond):
		}
	}
}

func TestAFileIsOpenedOnceWhileItIsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, d := onDisk(t, Options{})
		body := storetest.Body(1, 1000)
		f.put(f.store, "1", body)
		f.want("1", body, true)
		f.want("1", body, false)
		d.want(t, 1)
		<-time.After(DefaultFresh)
		f.want("1", body, true)
		f.want("1", body, false)
		<-time.After(2 * DefaultFresh)
		d.want(t, 0)
	})
}

func TestAFileIsReadToItsEndWhateverBecomesOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, d := onDisk(t, Options{})
		body := storetest.Body(1, 1000)
		f.put(f.store, "1", body)
		var readers []*cache.Object
		for range 3 {
			obj, err := f.store.Open(t.Context(), storetest.Key("1"))
			if err != nil {
				t.Fatal(err)
			}
			readers = append(readers, obj)
		}
		if err := f.store.Delete(t.Context(), storetest.Key("1")); err != nil {
			t.Fatal(err)
		}
		f.want("1", nil, true)
		<-time.After(time.Hour)
		for i, obj := range readers {
			d.want(t, 1)
			var got bytes.Buffer
			half, err := io.CopyN(&got, obj.Body, int64(10*i))
			if err != nil {
				t.Fatal(err)
			}
			rest, err := io.Copy(&got, obj.Body)
			if err != nil || half+rest != 1000 || !bytes.Equal(got.Bytes(), body) {
				t.Errorf("reader %d got %d and %d bytes, %v", i, half, rest, err)
			}
			_, _ = obj.Close(), obj.Close()
		}
		d.want(t, 0)
	})
}

func TestAFileThatChangesIsLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, d := onDisk(t, Options{})
		body := storetest.Body(1, 1000)
		f.put(f.store, "1", body)
		f.want("1", body, true)
		d.changed.Store(true)
		f.want("1", body, true)
		f.want("1", body, true)
		d.changed.Store(false)
		f.want("1", body, false)
		<-time.After(2 * DefaultFresh)
		d.want(t, 0)
	})
}

func TestAFileIsNotGivenOutAfterItsEntryIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		f, d := onDisk(t, Options{Gone: func(cache.Entry) bool { return gone.Load() }})
		body := storetest.Body(1, 1000)
		f.put(f.store, "1", body)
		f.want("1", body, true)
		gone.Store(true)
		f.want("1", body, true) // the store decides
		gone.Store(false)
		f.inner.during = func() { // what is deleted while it is opened is not kept
			f.inner.during = nil
			_ = f.store.Delete(t.Context(), storetest.Key("1"))
		}
		<-time.After(DefaultFresh)
		f.want("1", body, true)
		f.want("1", nil, true)
		<-time.After(2 * DefaultFresh)
		d.want(t, 0)
	})
}

func TestSetAsideThroughAFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, d := onDisk(t, Options{})
		body := storetest.Body(1, 1000)
		f.put(f.store, "1", body)
		f.want("1", body, true)
		obj, err := f.store.Open(t.Context(), storetest.Key("1"))
		if err != nil {
			t.Fatal(err)
		}
		if obj.SetAside != nil {
			if err := obj.SetAside("for a test"); err != nil {
				t.Fatal(err)
			}
			f.want("1", nil, true)
		}
		_ = obj.Close()
		<-time.After(2 * DefaultFresh)
		d.want(t, 0)
	})
}

func TestFilesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, d := onDisk(t, Options{Files: 2 * fileShards})
		for i := range 200 {
			name := strconv.Itoa(i)
			f.put(f.store, name, storetest.Body(uint64(i), 100))
			f.want(name, storetest.Body(uint64(i), 100), true)
			synctest.Wait() // they are closed behind the back of who asks
			if n := d.open.Load(); n > 2*fileShards {
				t.Fatalf("%d files are open, at most %d should be", n, 2*fileShards)
			}
		}
		<-time.After(2 * DefaultFresh)
		d.want(t, 0)
	})
}

// TestManyReadOneFile is for the race detector: while the file is dropped and opened again.
func TestManyReadOneFile(t *testing.T) {
	f, d := onDisk(t, Options{Fresh: time.Millisecond})
	body := storetest.Body(1, 300_000)
	f.put(f.store, "1", body)
	store := New(d, Options{Files: mostFiles, Fresh: time.Millisecond})
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 50 {
				var got bytes.Buffer
				obj, err := store.Open(t.Context(), storetest.Key("1"))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(&got, obj.Body); err != nil || !bytes.Equal(got.Bytes(), body) {
					t.Errorf("got %d bytes, %v", got.Len(), err)
				}
				_ = obj.Close()
			}
		})
	}
	running.Go(func() {
		for range 50 {
			store.(interface{ drop(cache.Key) }).drop(storetest.Key("1"))
			<-time.After(time.Millisecond)
		}
	})
	running.Wait()
	d.wantNone(t)
}

func TestACutFileIsNoWholeArtifact(t *testing.T) {
	f, d := onDisk(t, Options{})
	f.put(f.store, "1", storetest.Body(1, 1000))
	for name, read := range map[string]func(io.Reader) (int64, error){
		"Read":    func(r io.Reader) (int64, error) { return io.Copy(io.Discard, struct{ io.Reader }{r}) },
		"WriteTo": func(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) },
	} {
		obj, err := f.store.Open(t.Context(), storetest.Key("1"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(d.dir, strconv.FormatInt(d.made.Load(), 10)), 500); err != nil {
			t.Fatal(err)
		}
		if n, err := read(obj.Body); !errors.Is(err, io.ErrUnexpectedEOF) || n != 500 {
			t.Errorf("%s of a file that was cut: %d bytes, %v", name, n, err)
		}
		_ = obj.Close()
	}
	f.store.(interface{ drop(cache.Key) }).drop(storetest.Key("1"))
	d.wantNone(t)
}
