package spool

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestFull holds uploads to the bound before they are on disk.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), mem.New()
		r.put = hang
		s := open(t, r, l, Options{MaxBytes: 1000, Stall: time.Hour})
		put(t, s, storetest.Key("600"), storetest.Body(1, 600))
		draft, err := s.Create(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := draft.Write(make([]byte, 400)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create(t.Context(), storetest.Key("more")); !errors.Is(err, ErrFull) {
			t.Errorf("create: got %v, want ErrFull", err)
		}
		if n, err := draft.Write([]byte("x")); n != 0 || !errors.Is(err, ErrFull) {
			t.Errorf("write: got %d, %v, want ErrFull", n, err)
		}
		if err := draft.Commit(t.Context(), storetest.Record(make([]byte, 400))); !errors.Is(err, ErrFull) {
			t.Errorf("commit: got %v, want ErrFull", err)
		}
		wantMiss(t, s, key)
		wantMiss(t, l, key)
		put(t, s, key, storetest.Body(1, 400))
		if err := s.Delete(t.Context(), storetest.Key("600")); err != nil {
			t.Fatal(err)
		}
		put(t, s, storetest.Key("again"), storetest.Body(1, 600))
		if got := s.used.Load(); got != 1000 {
			t.Errorf("%d bytes are in use", got)
		}
		r.set(nil, nil)
		pass(2 * time.Hour)
		if got := s.used.Load(); got != 0 {
			t.Errorf("%d bytes are in use when all is sent", got)
		}
	})
}

// TestAFloodLeavesRoomForTrusted uploads, whatever it consists of: uploads that end, and those that do not.
func TestAFloodLeavesRoomForTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), mem.New()
		r.put = hang
		s := open(t, r, l, Options{MaxBytes: 1000, Stall: time.Hour})
		other := func(scope, hash string) cache.Key {
			return cache.Key{Workspace: cache.DefaultWorkspace, Scope: cache.Scope(scope), Hash: cache.Hash(hash)}
		}
		put(t, s, other("pr/1", "1"), storetest.Body(1, 500))
		draft, err := s.Create(t.Context(), other("pr/2", "1"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := draft.Write(make([]byte, 250)); err != nil {
			t.Fatal(err)
		}
		if n, err := draft.Write([]byte("x")); n != 0 || !errors.Is(err, ErrFull) {
			t.Errorf("write beyond three quarters: got %d, %v, want ErrFull", n, err)
		}
		if _, err := s.Create(t.Context(), other("pr/3", "1")); !errors.Is(err, ErrFull) {
			t.Errorf("create beyond three quarters: got %v, want ErrFull", err)
		}
		put(t, s, storetest.Key("trusted"), storetest.Body(1, 250))
		if _, err := s.Create(t.Context(), storetest.Key("more")); !errors.Is(err, ErrFull) {
			t.Errorf("create beyond all: got %v, want ErrFull", err)
		}
		draft.Abort()
		put(t, s, storetest.Key("more"), storetest.Body(1, 250))
		if late, err := s.Create(t.Context(), other("pr/3", "1")); !errors.Is(err, ErrFull) {
			late.Abort()
			t.Errorf("create beyond all: got %v, want ErrFull", err)
		}
		if err := s.Delete(t.Context(), other("pr/1", "1")); err != nil {
			t.Fatal(err)
		}
		put(t, s, other("pr/3", "1"), storetest.Body(1, 500))
		r.set(nil, nil)
		pass(2 * time.Hour)
		if used, others := s.used.Load(), s.others.Load(); used != 0 || others != 0 {
			t.Errorf("%d bytes are in use when all is sent, %d of them by others", used, others)
		}
	})
}

// TestTooOld gives entries up.
func TestTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r, l := newRemote(), mem.New()
		r.put = fail
		s := open(t, r, l, Options{MaxAge: 24 * time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		put(t, s, key, body)
		pass(time.Hour)
		put(t, s, storetest.Key("2"), body)
		pass(23*time.Hour - time.Minute)
		want(t, s, key, body)
		pass(time.Minute + time.Second)
		wantMiss(t, s, key)
		wantMiss(t, l, key)
		want(t, s, storetest.Key("2"), body)
		if got := count(t, s, "given_up"); got != 1 {
			t.Errorf("%v are counted as given up", got)
		}
		if !strings.Contains(log.String(), "given up") || !strings.Contains(log.String(), key.String()) || !strings.Contains(log.String(), errDown.Error()) {
			t.Errorf("the log does not say what was given up, and why: %s", &log)
		}
		put(t, s, key, []byte("anew"))
		want(t, s, key, []byte("anew"))
		pass(25 * time.Hour)
		if got := count(t, s, "given_up"); got != 3 || len(s.items) != 0 || s.used.Load() != 0 {
			t.Errorf("%v given up, %d items and %d bytes left", got, len(s.items), s.used.Load())
		}
	})
}

// TestTooOldWhileSent gives an entry up when its last send is over.
func TestTooOldWhileSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote()
		r.put = hang
		s := open(t, r, mem.New(), Options{MaxAge: time.Minute, Stall: time.Hour})
		put(t, s, key, body)
		pass(30 * time.Minute)
		want(t, s, key, body)
		pass(31 * time.Minute)
		wantMiss(t, s, key)
		if got := count(t, s, "given_up"); got != 1 {
			t.Errorf("%v are counted as given up", got)
		}
	})
}

// TestManyEntries bounds what a queued entry costs in memory.
func TestManyEntries(t *testing.T) {
	const n = 100_000
	l := mem.New()
	for i := range n {
		put(t, l, storetest.Key(fmt.Sprintf("%020d", i)), nil)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := newRemote()
	r.put = hang
	s := open(t, r, l, Options{})
	for !func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.listed }() {
		runtime.Gosched()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	t.Logf("%d bytes for each entry", each)
	if each > 600 {
		t.Errorf("%d bytes for each entry", each)
	}
	if got := s.pending.Len(); got != n {
		t.Errorf("%d are pending", got)
	}
	if !isPending(t, s, storetest.Key(fmt.Sprintf("%020d", n/2))) {
		t.Error("one of them is not served")
	}
}
