package tier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// verifying is an inner store whose bodies are verified by it, and that counts those that are open.
func verifying(t *testing.T, body []byte) (*remote, *atomic.Int64) {
	inner, open := &remote{Store: mem.New()}, new(atomic.Int64)
	put(t, inner, key, body)
	inner.alter = func(o *cache.Object) {
		open.Add(1)
		o.Verified = true
		o.Body = closing(o.Body, sync.OnceFunc(func() { open.Add(-1) }))
	}
	return inner, open
}

// aloneIn returns how many bodies go straight to a reader.
func (s *Store) aloneIn() (n int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n += len(sh.alone)
		sh.mu.Unlock()
	}
	return n
}

// TestLoneReader says when a body takes no way through a file.
func TestLoneReader(t *testing.T) {
	body := storetest.Body(1, 300_000)
	for name, c := range map[string]struct {
		options  Options
		verified bool
		straight bool
	}{
		"nothing is kept":             {Options{VerifyAhead: 1000}, true, true},
		"kept":                        {Options{VerifyAhead: 1000, Size: 1 << 30}, true, false},
		"small: verified before":      {Options{VerifyAhead: 300_000}, true, false},
		"always verified before":      {Options{VerifyAhead: -1}, true, false},
		"inner leaves it to the tier": {Options{VerifyAhead: 1000}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner, open := verifying(t, body)
				if !c.verified {
					inner.alter = nil
				}
				s := openTier(t, inner, c.options)
				for range 2 { // the second is as alone as the first
					object := mustOpen(t, s, key)
					if got := s.aloneIn(); got != 0 != c.straight {
						t.Errorf("%d bodies go straight to a reader", got)
					}
					var got bytes.Buffer
					if _, err := io.Copy(&got, object.Body); err != nil || !bytes.Equal(got.Bytes(), body) {
						t.Errorf("got %d bytes, %v", got.Len(), err)
					}
					for range 2 {
						if err := object.Close(); err != nil {
							t.Error(err)
						}
					}
					synctest.Wait()
					if s.aloneIn() != 0 || open.Load() != 0 || !s.idle() || s.temp.Load() != 0 {
						t.Error("something is left of it")
					}
				}
				if got := testutil.ToFloat64(s.metrics.fetched); got != float64(inner.opens.Load())*float64(len(body)) {
					t.Errorf("%v bytes were counted", got)
				}
			})
		})
	}
}

// TestLoneReaderAndOthers has many come while one reads: they share a download of their own.
func TestLoneReaderAndOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := storetest.Body(1, 300_000)
		inner, open := verifying(t, body)
		s := openTier(t, inner, Options{VerifyAhead: 1000})
		first := mustOpen(t, s, key)
		head := make([]byte, 1000)
		if _, err := io.ReadFull(first.Body, head); err != nil {
			t.Fatal(err)
		}
		inner.open = make(chan struct{})
		var others errgroup.Group
		for range 50 {
			others.Go(func() error {
				_, got, err := storetest.Get(t.Context(), s, key)
				if err == nil && !bytes.Equal(got, body) {
					err = errors.New("the bytes differ")
				}
				return err
			})
		}
		synctest.Wait()
		close(inner.open)
		if err := others.Wait(); err != nil {
			t.Error(err)
		}
		mustGet(t, s, key) // alone, but for the one who reads still
		if got := inner.opens.Load(); got != 3 {
			t.Errorf("inner was asked %d times", got)
		}
		if got := s.aloneIn(); got != 1 {
			t.Errorf("%d bodies go straight to a reader", got)
		}
		rest, err := io.ReadAll(first.Body)
		if err != nil || !bytes.Equal(append(head, rest...), body) {
			t.Errorf("the first one got %d bytes more, %v", len(rest), err)
		}
		first.Close()
		synctest.Wait()
		if s.aloneIn() != 0 || open.Load() != 0 || !s.idle() {
			t.Error("something is left")
		}
	})
}

// TestLoneReadersPlaces has more readers than there are places: slow ones keep nobody from reading.
func TestLoneReadersPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places = 3
		inner, _ := verifying(t, nil)
		body := storetest.Body(1, 300_000)
		s := openTier(t, inner, Options{VerifyAhead: 1000, Downloads: places})
		for i := range 3 * places {
			name := storetest.Key(fmt.Sprint("other", i))
			put(t, inner, name, body)
			if object := mustOpen(t, s, name); object.Record.Size != int64(len(body)) {
				t.Errorf("it has %d bytes", object.Record.Size)
			}
		}
		if got := s.aloneIn(); got != places {
			t.Errorf("%d bodies go straight to a reader", got)
		}
	})
}

// TestLoneReaderDamage has the end of a body be withheld by inner: that is told and set aside as with a download.
func TestLoneReaderDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := storetest.Body(1, 300_000)
		inner, open := verifying(t, body)
		asides, count := 0, inner.alter
		inner.alter = func(o *cache.Object) {
			o.SetAside = func(string) error { asides++; return nil }
			o.Body = &unfit{o.Body, fmt.Errorf("%w: it is another", cache.ErrDamaged)}
			count(o)
		}
		s := openTier(t, inner, Options{VerifyAhead: 1000})
		object := mustOpen(t, s, key)
		for range 2 {
			if _, err := io.ReadAll(object.Body); !errors.Is(err, cache.ErrDamaged) {
				t.Errorf("got %v, want ErrDamaged", err)
			}
		}
		object.Close()
		if got := testutil.ToFloat64(s.metrics.damaged.WithLabelValues("inner")); got != 1 || asides != 1 {
			t.Errorf("it was told %v times and set aside %d times", got, asides)
		}
		if s.aloneIn() != 0 || open.Load() != 0 {
			t.Error("something is left")
		}
	})
}

// unfit is a body that fails in place of its end.
type unfit struct {
	io.ReadCloser
	err error
}

func (u *unfit) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		err = u.err
	}
	return n, err
}

// TestLoneReaderLeaves ends the context of a reader at the moment at which there is a body for him, and while he reads it.
func TestLoneReaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, open := verifying(t, storetest.Body(1, 300_000))
		count := inner.alter
		s := openTier(t, inner, Options{VerifyAhead: 1000})
		for range 20 { // whether he sees the end or the body first is a matter of chance
			ctx, cancel := context.WithCancel(t.Context())
			inner.alter = func(o *cache.Object) { cancel(); count(o) }
			if object, err := s.Open(ctx, key); err == nil {
				object.Close()
			} else if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			synctest.Wait()
			if s.aloneIn() != 0 || open.Load() != 0 || !s.idle() {
				t.Fatal("something is left")
			}
		}
		inner.alter, inner.bodies = count, make(chan int, 1)
		inner.bodies <- 1000
		ctx, cancel := context.WithCancel(t.Context())
		object, err := s.Open(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			synctest.Wait()
			cancel()
		}()
		if got, err := io.ReadAll(object.Body); len(got) != 1000 || !errors.Is(err, context.Canceled) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		object.Close()
		synctest.Wait()
		if s.aloneIn() != 0 || !s.idle() {
			t.Error("something is left")
		}
	})
}
