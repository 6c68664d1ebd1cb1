package hot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) cache.Store {
		return New(mem.New(), Options{Size: 1 << 30, MaxBody: 64 << 10, Registerer: prometheus.NewRegistry()})
	})
}

// counted counts what is asked of a store, and may do something to what it gives out.
type counted struct {
	cache.Store
	opens  int
	change func(*cache.Object)
	during func() // an Open, after the store has answered
}

func (c *counted) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	c.opens++
	obj, err := c.Store.Open(ctx, key)
	if err == nil && c.change != nil {
		c.change(obj)
	}
	if c.during != nil {
		c.during()
	}
	return obj, err
}

type fixture struct {
	*testing.T
	inner *counted
	store cache.Store
}

func newFixture(t *testing.T, opts Options) *fixture {
	if opts.Size == 0 {
		opts.Size = 1 << 30
	}
	if opts.MaxBody == 0 {
		opts.MaxBody = 1000
	}
	inner := &counted{Store: mem.New()}
	return &fixture{t, inner, New(inner, opts)}
}

func (f *fixture) put(store cache.Store, hash string, body []byte) {
	f.Helper()
	if err := storetest.Put(f.Context(), store, storetest.Key(hash), body); err != nil {
		f.Fatal(err)
	}
}

// want reads an entry, and looks whether the store was asked for it.
func (f *fixture) want(hash string, body []byte, asked bool) {
	f.Helper()
	before := f.inner.opens
	_, got, err := storetest.Get(f.Context(), f.store, storetest.Key(hash))
	if body == nil {
		if !errors.Is(err, cache.ErrNotExist) && !errors.Is(err, cache.ErrDamaged) {
			f.Errorf("%s: got %d bytes, %v", hash, len(got), err)
		}
	} else if err != nil || !bytes.Equal(got, body) {
		f.Errorf("%s: got %d bytes, %v", hash, len(got), err)
	}
	if (f.inner.opens > before) != asked {
		f.Errorf("%s: the store was asked %d times, should it be? %t", hash, f.inner.opens-before, asked)
	}
}

func TestASmallArtifactIsReadOnceWhileItIsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{})
		small, large := storetest.Body(1, 1000), storetest.Body(2, 1001)
		f.put(f.store, "small", small)
		f.put(f.store, "large", large)
		f.want("small", small, true)
		f.want("small", small, false)
		f.want("large", large, true)
		f.want("large", large, true)
		<-time.After(DefaultFresh)
		f.want("small", small, true)
		f.want("small", small, false)
	})
}

func TestWhatGoesThroughTheStoreIsForgottenAtOnce(t *testing.T) {
	one, two := []byte("one"), []byte("two")
	for name, take := range map[string]func(f *fixture) error{
		"delete": func(f *fixture) error { return f.store.Delete(f.Context(), storetest.Key("1")) },
		"set aside": func(f *fixture) error {
			obj, err := f.store.Open(f.Context(), storetest.Key("1"))
			if err != nil {
				return err
			}
			defer obj.Close()
			return obj.SetAside("a reason")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, Options{})
			f.inner.change = func(obj *cache.Object) {
				obj.SetAside = func(string) error { return f.inner.Delete(context.Background(), obj.Key) }
			}
			f.put(f.store, "1", one)
			f.want("1", one, true)
			if err := take(f); err != nil {
				t.Fatal(err)
			}
			f.want("1", nil, true)
			f.put(f.store, "1", two)
			f.want("1", two, true)
		})
	}
}

// TestAnotherOneIsNotSetAside: what took the place of the copy's entry stays.
func TestAnotherOneIsNotSetAside(t *testing.T) {
	f := newFixture(t, Options{})
	f.inner.change = func(obj *cache.Object) {
		obj.SetAside = func(string) error { return f.inner.Delete(context.Background(), obj.Key) }
	}
	f.put(f.store, "1", []byte("one"))
	f.want("1", []byte("one"), true)
	obj, err := f.store.Open(t.Context(), storetest.Key("1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.inner.Delete(t.Context(), storetest.Key("1")); err != nil {
		t.Fatal(err)
	}
	f.put(f.inner, "1", []byte("two"))
	if err := obj.SetAside("a reason"); err != nil {
		t.Fatal(err)
	}
	f.want("1", []byte("two"), true)
}

func TestWhatIsGoneElsewhereIsNotGivenOut(t *testing.T) {
	gone := false
	f := newFixture(t, Options{Gone: func(cache.Entry) bool { return gone }})
	f.put(f.store, "1", []byte("one"))
	f.want("1", []byte("one"), true)
	if err := f.inner.Delete(t.Context(), storetest.Key("1")); err != nil { // as another process does
		t.Fatal(err)
	}
	f.want("1", []byte("one"), false)
	gone = true
	f.want("1", nil, true)
}

// TestWhatWasDeletedWhileItWasReadIsNotKept: the reader gets it, and nobody after the deletion.
func TestWhatWasDeletedWhileItWasReadIsNotKept(t *testing.T) {
	f := newFixture(t, Options{})
	f.put(f.store, "1", []byte("one"))
	f.inner.during = func() {
		f.inner.during = nil
		if err := f.store.Delete(f.Context(), storetest.Key("1")); err != nil {
			t.Error(err)
		}
	}
	f.want("1", []byte("one"), true)
	f.want("1", nil, true)
}

func TestWhatIsNotKept(t *testing.T) {
	body := []byte("one")
	for name, change := range map[string]func(*cache.Object){
		"pending":    func(obj *cache.Object) { obj.Pending = true },
		"redirected": func(obj *cache.Object) { obj.URL = "https://bucket.example.com/1" },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, Options{})
			f.inner.change = change
			f.put(f.store, "1", body)
			f.want("1", body, true)
			f.want("1", body, true)
		})
	}
}

// late is a body that shows its damage at its end.
type late struct{ io.Reader }

func (l late) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err == io.EOF {
		err = cache.ErrDamaged
	}
	return n, err
}
func (late) Close() error { return nil }

func TestDamageShowsBeforeTheFirstByte(t *testing.T) {
	for name, change := range map[string]func(*cache.Object){
		"other bytes":   func(obj *cache.Object) { obj.Body, obj.SetAside = io.NopCloser(bytes.NewReader([]byte("oNe"))), nil },
		"at the end":    func(obj *cache.Object) { obj.Body, obj.Verified = late{bytes.NewReader([]byte("one"))}, true },
		"before it":     func(obj *cache.Object) { obj.Body = late{bytes.NewReader([]byte("on"))} },
		"more than due": func(obj *cache.Object) { obj.Body, obj.Verified = io.NopCloser(bytes.NewReader([]byte("onee"))), true },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, Options{})
			f.put(f.store, "1", []byte("one"))
			f.inner.change = change
			if obj, err := f.store.Open(t.Context(), storetest.Key("1")); err == nil {
				t.Errorf("it is given out: %+v", obj.Entry)
			}
			f.inner.change = nil
			f.want("1", []byte("one"), true)
		})
	}
}

// TestTheBoundHolds for any bodies in any order.
func TestTheBoundHolds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.Int64Range(0, 4<<20).Draw(rt, "size")
		s := newShelf(size)
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			key := storetest.Key(fmt.Sprint(rapid.IntRange(0, 50).Draw(rt, "key")))
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0:
				s.drop(key)
			case 1:
				s.find(key)
			default:
				it := &item{entry: cache.Entry{Key: key}, body: make([]byte, rapid.IntRange(0, 64<<10).Draw(rt, "body"))}
				s.put(it, s.version(key))
			}
			if s.bytes() > size {
				rt.Fatalf("%d bytes of %d", s.bytes(), size)
			}
		}
		var sum int64
		for i := range s.shards {
			for _, items := range []map[cache.Key]*item{s.shards[i].young, s.shards[i].old} {
				for _, it := range items {
					sum += it.bytes()
				}
			}
		}
		if sum != s.bytes() {
			rt.Fatalf("%d bytes are kept, %d are counted", sum, s.bytes())
		}
	})
}

// TestManyAtOnce is for the race detector, and for the one rule that counts: nobody who comes after a deletion gets what was deleted.
func TestManyAtOnce(t *testing.T) {
	store := New(mem.New(), Options{Size: 1 << 20, MaxBody: 1000})
	key := storetest.Key("1")
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if obj, err := store.Open(context.Background(), key); err == nil {
						_ = obj.Close()
					}
				}
			}
		})
	}
	for i := range 200 {
		body := storetest.Body(uint64(i), 100)
		if err := storetest.Put(t.Context(), store, key, body); err != nil {
			t.Fatal(err)
		}
		if _, got, err := storetest.Get(t.Context(), store, key); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("round %d: %v", i, err)
		}
		if err := store.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
			t.Fatalf("round %d: %v", i, err)
		}
	}
	close(stop)
	readers.Wait()
}

func BenchmarkHit(b *testing.B) {
	store := New(mem.New(), Options{Size: 1 << 20, MaxBody: 2000, Fresh: time.Hour})
	if err := storetest.Put(b.Context(), store, storetest.Key("1"), storetest.Body(1, 1000)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		obj, err := store.Open(b.Context(), storetest.Key("1"))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, obj.Body)
		_ = obj.Close()
	}
}
