package prompt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wait = 2 * time.Second

func newDisk(t *testing.T) *storetest.Disk {
	t.Helper()
	dir, err := fs.Open(t.TempDir(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	return storetest.NewDisk(dir)
}

// pass lets a bubble's time go on.
func pass(d time.Duration) { <-time.After(d); synctest.Wait() }

// took fails the test if do takes longer than it may.
func took(t *testing.T, what string, most time.Duration, do func() error) error {
	t.Helper()
	begun := time.Now()
	err := do()
	if took := time.Since(begun); took > most {
		t.Errorf("%s took %s, at most %s are right", what, took, most)
	}
	return err
}

var body = storetest.Body(1, 100_000)

// TestEachCallThatHangs: it ends in time, others are refused at once, and all goes on as soon as the call has returned.
func TestEachCallThatHangs(t *testing.T) {
	there, other := storetest.Key("there"), storetest.Key("other")
	get := func(s *Store) error {
		obj, err := s.Open(t.Context(), there)
		if err != nil {
			return err
		}
		defer obj.Close()
		_, err = io.Copy(io.Discard, obj.Body)
		return err
	}
	record := func(s *Store) error { _, err := s.ReadRecord(t.Context(), there); return err }
	put := func(s *Store) error { return storetest.Put(t.Context(), s, other, body) }
	remove := func(s *Store) error { return s.Delete(t.Context(), there) }
	sync := func(s *Store) error { return s.Sync(t.Context(), there) }
	follow := func(s *Store) error {
		d, err := s.Create(t.Context(), other)
		if err != nil {
			return err
		}
		defer d.Abort()
		f, err := d.(*draft).Follow()
		if err != nil {
			return err
		}
		return f.Close()
	}
	for op, c := range map[string]struct {
		do, alike, unlike func(*Store) error
	}{
		"open":   {get, record, put},
		"record": {record, get, put},
		"create": {put, remove, get},
		"write":  {put, remove, get},
		"commit": {put, remove, get},
		"follow": {follow, remove, get},
		"delete": {remove, put, get},
		"sync":   {sync, put, get},
	} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk(t)
				s := New(d, Options{Wait: wait, Gather: op == "write" || op == "commit"})
				if err := storetest.Put(t.Context(), s, there, body); err != nil {
					t.Fatal(err)
				}
				mend := d.Hang(op, "abort")
				if err := took(t, "the call that hangs", wait, func() error { return c.do(s) }); !errors.Is(err, ErrHangs) {
					t.Errorf("the call that hangs: %v", err)
				}
				for range 3 {
					if err := took(t, "the next one", 0, func() error { return c.do(s) }); !errors.Is(err, ErrHangs) {
						t.Errorf("the next one: %v", err)
					}
					if err := took(t, "another one of its kind", 0, func() error { return c.alike(s) }); !errors.Is(err, ErrHangs) {
						t.Errorf("another one of its kind: %v", err)
					}
				}
				if op != "open" && op != "record" { // nothing of it can be given back then
					if err := took(t, "one of the other kind", 0, func() error { return c.unlike(s) }); err != nil {
						t.Errorf("one of the other kind: %v", err)
					}
				}
				mend()
				synctest.Wait()
				if op == "delete" { // it came to something in the end
					if err := get(s); !errors.Is(err, cache.ErrNotExist) {
						t.Errorf("what was deleted: %v", err)
					}
					return
				}
				if err := c.do(s); err != nil && (!s.opts.Gather || !errors.Is(err, cache.ErrExist)) { // or the first one came to something
					t.Errorf("after it came back: %v", err)
				}
				if n := s.reads.hanging + s.writes.hanging; n != 0 {
					t.Errorf("%d calls still hang", n)
				}
			})
		})
	}
}

// TestOneThatNeverReturns: now and then another call is tried, and at most so many hang.
func TestOneThatNeverReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		s := New(d, Options{Wait: wait})
		mend := d.Hang("create")
		put := func() error { return storetest.Put(t.Context(), s, storetest.Key("1"), body) }
		for range 1000 {
			if err := put(); !errors.Is(err, ErrHangs) {
				t.Fatal(err)
			}
			pass(10 * time.Second)
		}
		if n := d.Hung(); n != maxHanging {
			t.Errorf("%d calls hang, want %d", n, maxHanging)
		}
		mend()
		synctest.Wait()
		if err := put(); err != nil {
			t.Errorf("after it came back: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		s := New(d, Options{Wait: wait})
		lost := d.Hang("create")
		put := func() error { return storetest.Put(t.Context(), s, storetest.Key("1"), body) }
		_ = put()
		d.Hang() // the disk works again, though one call stays lost
		pass(again)
		for range 2 {
			if err := s.Delete(t.Context(), storetest.Key("1")); err != nil && !errors.Is(err, cache.ErrNotExist) {
				t.Errorf("after a minute: %v", err)
			}
			pass(again)
		}
		lost()
		synctest.Wait()
	})
}

// TestProgressIsNoHang: a look at a body on a slow disk goes on as long as it gets on.
func TestProgressIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(slow{newDisk(t)}, Options{Wait: wait})
		signs := 0
		ctx := cache.WithProgress(t.Context(), func() { signs++ })
		if _, err := s.Open(ctx, storetest.Key("1")); !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("%v", err)
		}
		if signs != 10 {
			t.Errorf("who waits heard %d signs of progress", signs)
		}
	})
}

type slow struct{ Directory }

func (s slow) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	for range 10 {
		<-time.After(wait * 3 / 4)
		cache.Progress(ctx)
	}
	return s.Directory.Open(ctx, key)
}

// TestSyncHasMoreTime than other calls.
func TestSyncHasMoreTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		s := New(d, Options{Wait: wait, SyncWait: 5 * wait})
		mend := d.Hang("sync")
		begun := time.Now()
		if err := s.Sync(t.Context(), storetest.Key("1")); !errors.Is(err, ErrHangs) || time.Since(begun) != 5*wait {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		mend()
		synctest.Wait()
	})
}

// TestACommitThatCameLate: whoever keeps account of what is there hears of it.
func TestACommitThatCameLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		var late []cache.Key
		s := New(d, Options{Wait: wait, Late: func(key cache.Key) { late = append(late, key) }})
		mend := d.Hang("commit")
		key := storetest.Key("1")
		if err := storetest.Put(t.Context(), s, key, body); !errors.Is(err, ErrHangs) {
			t.Fatal(err)
		}
		if len(late) != 0 {
			t.Error("it was told before")
		}
		mend()
		synctest.Wait()
		if len(late) != 1 || late[0] != key {
			t.Errorf("told of %v", late)
		}
	})
}

// TestUploadsUnderWay: of many, when the disk hangs, all are told in time, and nothing of them is left when it is back.
func TestUploadsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		s := New(d, Options{Wait: wait})
		drafts := make([]cache.Draft, 20)
		for i := range drafts {
			var err error
			if drafts[i], err = s.Create(t.Context(), storetest.Key("1")); err != nil {
				t.Fatal(err)
			}
		}
		mend := d.Hang("write", "abort", "commit")
		begun := time.Now()
		var all sync.WaitGroup
		for _, draft := range drafts {
			all.Go(func() {
				p := make([]byte, 1000)
				if _, err := draft.Write(p); !errors.Is(err, ErrHangs) {
					t.Errorf("Write: %v", err)
				}
				clear(p) // it is its caller's again
				if err := draft.Commit(t.Context(), cache.Record{}); !errors.Is(err, ErrHangs) {
					t.Errorf("Commit: %v", err)
				}
				draft.Abort()
			})
		}
		all.Wait()
		if took := time.Since(begun); took > wait {
			t.Errorf("it took %s", took)
		}
		mend()
		synctest.Wait()
		if s.writes.hanging != 0 {
			t.Errorf("%d calls still hang", s.writes.hanging)
		}
		if err := storetest.Put(t.Context(), s, storetest.Key("1"), body); err != nil {
			t.Error(err)
		}
	})
}

// TestDrafts: what others watch over is left to them, and an upload in the middle, or at its end, is not.
func TestDrafts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		s := Drafts(d, wait)
		large := storetest.Body(1, 3*gathered)
		key := storetest.Key("1")
		draft, err := s.Create(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := draft.Write(large[:1000]); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
		mend := d.Hang("write", "abort")
		if n, err := draft.Write(large[1000:2000]); n != 1000 || err != nil {
			t.Errorf("what is put together: %d, %v", n, err)
		}
		err = took(t, "a write that hangs", wait, func() error { _, err := draft.Write(large[2000:]); return err })
		if !errors.Is(err, ErrHangs) {
			t.Errorf("a write that hangs: %v", err)
		}
		if err := took(t, "the commit", 0, func() error { return draft.Commit(t.Context(), cache.Record{}) }); !errors.Is(err, ErrHangs) {
			t.Errorf("the commit: %v", err)
		}
		if err := took(t, "others", 0, func() error { return storetest.Put(t.Context(), s, key, large) }); !errors.Is(err, ErrHangs) {
			t.Errorf("others: %v", err)
		}
		mend()
		synctest.Wait()
		mend = d.Hang("abort")
		if draft, err = s.Create(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		_ = took(t, "giving up", wait, func() error { draft.Abort(); return nil })
		mend()
		synctest.Wait()
		if err := storetest.Put(t.Context(), s, key, large); err != nil {
			t.Errorf("after it came back: %v", err)
		}
		if _, got, err := storetest.Get(t.Context(), s, key); err != nil || !bytes.Equal(got, large) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// TestAPanicIsTheCallers: it must not end the server.
func TestAPanicIsTheCallers(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("nothing was recovered")
		}
	}()
	_, _ = Do(NewGate(wait), func(func()) (int, error) { panic("boom") }, nil)
}

func TestContract(t *testing.T) {
	for name, open := range map[string]func(Directory) cache.Store{
		"all":      func(d Directory) cache.Store { return New(d, Options{Wait: time.Minute}) },
		"gathered": func(d Directory) cache.Store { return New(d, Options{Wait: time.Minute, Gather: true}) },
		"drafts":   func(d Directory) cache.Store { return Drafts(d, time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) cache.Store { return open(newDisk(t)) })
		})
	}
}
