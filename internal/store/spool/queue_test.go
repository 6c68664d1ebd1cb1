package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestBackoff watches when one entry is tried while the remote store is down.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote()
		var tries []time.Time
		r.put = func(context.Context, cache.Entry, io.ReaderAt) error {
			tries = append(tries, time.Now())
			return errDown
		}
		s := open(t, r, mem.New(), Options{Backoff: time.Second, MaxBackoff: time.Minute})
		put(t, s, key, body)
		pass(time.Hour)
		least, most := time.Second/2, time.Second
		for i := 1; i < len(tries); i++ {
			if pause := tries[i].Sub(tries[i-1]); pause < least || pause > most+time.Millisecond {
				t.Errorf("pause %d was %s, want %s to %s", i, pause, least, most)
			}
			most = min(2*most, time.Minute)
			least = most / 2
		}
		if len(tries) < 60 || len(tries) > 130 {
			t.Errorf("%d tries in an hour", len(tries))
		}
		r.set(nil, nil)
		pass(time.Minute)
		if isPending(t, s, key) {
			t.Error("it was not sent a minute after the remote store came back")
		}
	})
}

// TestOutage has many entries wait: a remote store that is down is not hammered, and one that comes back gets all.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote()
		var tries, now, most atomic.Int64
		r.put = func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
			tries.Add(1)
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			<-time.After(100 * time.Millisecond)
			return errDown
		}
		s := open(t, r, mem.New(), Options{Workers: 4})
		for i := range 500 {
			put(t, s, storetest.Key(fmt.Sprint(i)), []byte("body"))
		}
		pass(time.Minute)
		if got := most.Load(); got > 4 {
			t.Errorf("%d sends at once, with 4 workers", got)
		}
		tries.Store(0)
		most.Store(0)
		pass(time.Hour)
		if got := tries.Load(); got > 130 {
			t.Errorf("%d tries within an hour", got)
		}
		if got := most.Load(); got > 1 {
			t.Errorf("%d tries at once", got)
		}
		if err := s.Degraded(); !errors.Is(err, errDown) || !strings.Contains(err.Error(), "500 entries (2000 bytes)") {
			t.Errorf("degraded: %v", err)
		}
		r.set(nil, nil)
		pass(time.Minute + time.Second)
		if got := len(keys(t, r.List(t.Context(), ""))); got != 500 || len(s.items) != 0 {
			t.Errorf("%d entries were sent, %d are left", got, len(s.items))
		}
		if err := s.Degraded(); err != nil {
			t.Errorf("degraded: %v", err)
		}
	})
}

// TestOneThatIsRefused does not keep others from being sent.
func TestOneThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote()
		r.put = func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
			if entry.Key == key {
				return errors.New("the name is too long")
			}
			return r.write(ctx, entry, body)
		}
		s := open(t, r, mem.New(), Options{Workers: 2})
		put(t, s, key, body)
		for i := range 100 {
			put(t, s, storetest.Key(fmt.Sprint("other-", i)), body)
		}
		pass(time.Minute)
		if got := len(keys(t, r.List(t.Context(), ""))); got != 100 {
			t.Errorf("%d of 100 entries were sent", got)
		}
		if !isPending(t, s, key) {
			t.Error("the entry that is refused is not pending")
		}
	})
}

// TestUploadsGoFirst has a queue that keeps all workers but one busy.
func TestUploadsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), mem.New()
		for i := range 100 {
			put(t, l, storetest.Key(fmt.Sprint("old-", i)), body)
		}
		r.put = slow(r, time.Minute)
		s := open(t, r, l, Options{Wait: Forever, Workers: 3, Stall: time.Hour})
		synctest.Wait()
		r.set(nil, nil)
		start := time.Now()
		put(t, s, key, body)
		if took := time.Since(start); took != 0 {
			t.Errorf("an upload waited %s behind the queue", took)
		}
		pass(time.Minute)
		if len(s.items) != 0 {
			t.Errorf("%d entries are left", len(s.items))
		}
	})
}

// TestStall ends a send that does not move, and tries again.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote()
		r.put = hang
		s := open(t, r, mem.New(), Options{Stall: 10 * time.Second})
		put(t, s, key, body)
		pass(10*time.Second - 1)
		if r.tries(key) != 1 || s.Degraded() != nil {
			t.Errorf("%d tries, degraded: %v", r.tries(key), s.Degraded())
		}
		pass(3 * time.Second)
		if err := s.Degraded(); r.tries(key) != 2 || !errors.Is(err, errStalled) {
			t.Errorf("%d tries, degraded: %v", r.tries(key), err)
		}
	})
}

// TestSlowButFine is degraded when it takes too long.
func TestSlowButFine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote()
		r.put = slow(r, 10*time.Minute)
		s := open(t, r, mem.New(), Options{Stall: time.Hour})
		put(t, s, key, body)
		pass(time.Minute)
		if err := s.Degraded(); err != nil {
			t.Error(err)
		}
		pass(time.Minute)
		if err := s.Degraded(); err == nil || !strings.Contains(err.Error(), "not take entries fast enough: 1 entries (200000 bytes)") {
			t.Errorf("degraded: %v", err)
		}
		pass(8 * time.Minute)
		if err := s.Degraded(); err != nil {
			t.Error(err)
		}
	})
}
