package tier

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestDeleteDuringDownload deletes what is on its way: its reader gets it, nobody else does.
func TestDeleteDuringDownload(t *testing.T) {
	inBubbles(t, func(t *testing.T, size int64) {
		inner := &remote{Store: mem.New(), bodies: make(chan int, 10)}
		body := storetest.Body(1, 500_000)
		put(t, inner, key, body)
		s := openTier(t, inner, Options{Size: size, VerifyAhead: 1})
		inner.bodies <- 1000
		object := mustOpen(t, s, key)
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("a later reader: %v", err)
		}
		inner.bodies <- flood
		if got, err := io.ReadAll(object.Body); err != nil || !bytes.Equal(got, body) {
			t.Errorf("its reader got %d bytes, %v", len(got), err)
		}
		synctest.Wait()
		if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("after the download: %v", err)
		}
		if s.total.Load() != 0 {
			t.Errorf("%d bytes are still reserved", s.total.Load())
		}
	})
}

// TestDeleteDuringCommit deletes in the moment in which a copy comes into being.
func TestDeleteDuringCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &remote{Store: mem.New()}
		put(t, inner, key, storetest.Body(1, 1000))
		local := &faulty{Store: openFS(t, t.TempDir()), begin: make(chan struct{}), end: make(chan struct{})}
		s := openOver(t, inner, local, Options{Size: 1 << 20})
		mustGet(t, s, key)
		<-local.begin
		deleted := make(chan error)
		go func() { deleted <- s.Delete(t.Context(), key) }()
		synctest.Wait()
		close(local.end)
		if err := <-deleted; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if keeps(t, s, key) || s.total.Load() != 0 {
			t.Error("the copy stayed")
		}
	})
}

// TestDeleteWithoutTheDisk cannot remove the copy: it is not served all the same, and goes when the disk is well again.
func TestDeleteWithoutTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &remote{Store: mem.New()}
		put(t, inner, key, storetest.Body(1, 1000))
		local := &faulty{Store: openFS(t, t.TempDir())}
		s := openOver(t, inner, local, Options{Size: 1 << 20})
		mustGet(t, s, key)
		synctest.Wait()
		local.set(func() { local.erase = syscall.EROFS })
		if err := s.Delete(t.Context(), key); !errors.Is(err, syscall.EROFS) {
			t.Errorf("got %v", err)
		}
		if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("a later reader: %v", err)
		}
		newer := storetest.Body(2, 1000)
		put(t, s, key, newer)
		for range 2 {
			if got := mustGet(t, s, key); !bytes.Equal(got, newer) {
				t.Error("the older entry was served")
			}
		}
		local.set(func() { local.erase = nil })
		time.Sleep(time.Minute) //nolint:forbidigo // of a bubble's clock
		synctest.Wait()
		if keeps(t, s, key) {
			t.Error("the copy stayed")
		}
		for range 2 {
			if got := mustGet(t, s, key); !bytes.Equal(got, newer) {
				t.Error("the older entry was served")
			}
			synctest.Wait()
		}
		if !keeps(t, s, key) {
			t.Error("the newer entry is not kept")
		}
	})
}

// TestForget is about what another server deletes.
func TestForget(t *testing.T) {
	inBubbles(t, func(t *testing.T, size int64) {
		inner := &remote{Store: mem.New()}
		s := openTier(t, inner, Options{Size: size})
		keys := make(map[cache.Key]bool) // and whether it is forgotten
		for _, workspace := range []cache.Workspace{"api", "web"} {
			for _, scope := range []cache.Scope{cache.Trusted, "pr/1", "pr/2"} {
				for i := range 40 {
					key := cache.Key{Workspace: workspace, Scope: scope, Hash: cache.Hash(fmt.Sprint(i, "-x"[:i%2*2]))}
					keys[key] = workspace == "web" || scope == "pr/1" || i == 7
					put(t, inner, key, []byte("body"))
					mustGet(t, s, key)
				}
			}
		}
		synctest.Wait()
		for key, gone := range keys {
			if gone {
				if err := inner.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, err := range []error{
			s.ForgetScope(t.Context(), "web", ""),
			s.ForgetScope(t.Context(), "api", "pr/1"),
			s.Forget(t.Context(), cache.Key{Workspace: "api", Scope: cache.Trusted, Hash: "7-x"}),
			s.Forget(t.Context(), cache.Key{Workspace: "api", Scope: "pr/2", Hash: "7-x"}),
			s.Forget(t.Context(), cache.Key{Workspace: "api", Scope: "pr/2", Hash: "never seen"}),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		for key, gone := range keys {
			_, _, err := storetest.Get(t.Context(), s, key)
			if gone != errors.Is(err, cache.ErrNotExist) {
				t.Errorf("%q: %v", key, err)
			}
		}
	})
}

// TestSetAsideOfOldCopy sets aside a copy of what another server has replaced: the newer one stays.
func TestSetAsideOfOldCopy(t *testing.T) {
	inner := &remote{Store: mem.New()}
	put(t, inner, key, storetest.Body(1, 1000))
	s := openTier(t, inner, Options{Size: 1 << 20})
	mustGet(t, s, key)
	settle(t, s)
	if err := inner.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	newer := storetest.Body(2, 1000)
	put(t, inner, key, newer)
	object := mustOpen(t, s, key)
	if err := object.SetAside("its seal is not good"); err != nil {
		t.Fatal(err)
	}
	if got := mustGet(t, s, key); !bytes.Equal(got, newer) {
		t.Error("the older entry is still served")
	}
	settle(t, s)
	// And once more: the newer one is here now.
	if err := object.SetAside("its seal is not good"); err != nil {
		t.Fatal(err)
	}
	if !keeps(t, s, key) {
		t.Error("the newer one was taken away")
	}
	mustGet(t, inner, key)
}
