package hot

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// hanging is a store on a disk of which the bodies hang, whatever becomes of who reads them.
type hanging struct {
	cache.Store
	mend   chan struct{}
	closed atomic.Int64
}

type hangingBody struct {
	io.ReadCloser
	store *hanging
}

func (b *hangingBody) Read(p []byte) (int, error) {
	<-b.store.mend
	return b.ReadCloser.Read(p)
}

func (b *hangingBody) Close() error {
	b.store.closed.Add(1)
	return b.ReadCloser.Close()
}

func (h *hanging) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := h.Store.Open(ctx, key)
	if err == nil {
		obj.Body, obj.InMemory = &hangingBody{obj.Body, h}, false
	}
	return obj, err
}

// TestASmallArtifactThatHangsHoldsNobody: whoever asks for it has his answer in time, nobody is left with it when the disk is well, and so are all others.
func TestASmallArtifactThatHangsHoldsNobody(t *testing.T) {
	const patience = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		inner := &hanging{Store: mem.New(), mend: make(chan struct{})}
		store := New(inner, Options{Size: 1 << 20, MaxBody: 1000})
		c := cache.New(store, cache.Options{StoreTimeout: patience, Now: time.Now})
		key := storetest.Key("1")
		if err := storetest.Put(t.Context(), store, key, []byte("small")); err != nil {
			t.Fatal(err)
		}
		grant := cache.Grant{Workspace: key.Workspace, Read: []cache.Scope{key.Scope}}
		began := time.Now()
		for i := range 2 * maxLeft {
			_, err := c.Get(t.Context(), grant, key.Hash)
			if !errors.Is(err, cache.ErrStore) || i == 0 && !errors.Is(err, cache.ErrTimeout) {
				t.Fatalf("request %d: %v", i, err)
			}
		}
		if took := time.Since(began); took != maxLeft*patience {
			t.Errorf("the requests took %s: each should wait for %s, and none while %d hang", took, patience, maxLeft)
		}
		close(inner.mend)
		synctest.Wait()
		if n := inner.closed.Load(); n != 2*maxLeft {
			t.Errorf("%d of %d objects were closed", n, 2*maxLeft)
		}
		obj, err := c.Get(t.Context(), grant, key.Hash)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(obj.Body); err != nil || string(got) != "small" {
			t.Errorf("%q, %v", got, err)
		}
		obj.Close()
	})
}

// stuckBody is of a file that the disk does not let go of, such as one that was deleted, whose room has to be given free.
type stuckBody struct {
	*diskBody
	mend chan struct{}
}

func (b *stuckBody) Close() error {
	<-b.mend
	return b.diskBody.Close()
}

// TestAFileThatHangsWhenItIsClosedHoldsNobody: not those who ask for other files, and not who finds that it is gone. In real time, since who waits for a lock is not
// known to wait in a simulated one.
func TestAFileThatHangsWhenItIsClosedHoldsNobody(t *testing.T) {
	body := storetest.Body(1, 1000)
	for name, end := range map[string]func(f *fixture, d *disk, gone *atomic.Bool){
		"it is fresh no more": func(*fixture, *disk, *atomic.Bool) { <-time.After(300 * time.Millisecond) },
		"it is deleted":       func(f *fixture, _ *disk, _ *atomic.Bool) { _ = f.store.Delete(f.Context(), storetest.Key("1")) },
		"it has changed":      func(_ *fixture, d *disk, _ *atomic.Bool) { d.changed.Store(true) },
		"it is purged":        func(_ *fixture, _ *disk, gone *atomic.Bool) { gone.Store(true) },
		"there is no more room": func(f *fixture, _ *disk, _ *atomic.Bool) {
			for i := range 10 * fileShards {
				name := "other" + strconv.Itoa(i)
				f.put(f.store, name, body)
				_, _, _ = storetest.Get(f.Context(), f.store, storetest.Key(name))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var gone atomic.Bool
			mend := make(chan struct{})
			fresh := time.Hour
			if name == "it is fresh no more" {
				fresh = 100 * time.Millisecond
			}
			f, d := onDisk(t, Options{Files: fileShards, Fresh: fresh, Gone: func(cache.Entry) bool { return gone.Load() }})
			f.put(f.store, "1", body)
			f.inner.change = func(obj *cache.Object) { obj.Body = &stuckBody{obj.Body.(*diskBody), mend} }
			obj, err := f.store.Open(t.Context(), storetest.Key("1"))
			if err != nil {
				t.Fatal(err)
			}
			f.inner.change = nil
			read, done := make(chan struct{}), make(chan struct{})
			go func() { // who is the last one to read it may wait: he has his answer
				defer close(read)
				obj.Close()
			}()
			select {
			case <-read:
			case <-time.After(time.Second):
			}
			go func() {
				defer close(done)
				end(f, d, &gone)
				for range 2 {
					if obj, err := f.store.Open(t.Context(), storetest.Key("1")); err == nil {
						obj.Close()
					}
				}
			}()
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Error("a request waits for the disk")
			}
			close(mend)
			<-done
			<-read
			drop := f.store.(interface{ drop(cache.Key) }).drop
			drop(storetest.Key("1"))
			for i := range 10 * fileShards {
				drop(storetest.Key("other" + strconv.Itoa(i)))
			}
			d.wantNone(t)
		})
	}
}
