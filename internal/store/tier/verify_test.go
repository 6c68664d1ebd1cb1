package tier

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// spoiled are bodies that are not what their record says.
func spoiled(n int) map[string]func(*cache.Object) {
	replace := func(change func([]byte) []byte) func(*cache.Object) {
		return func(o *cache.Object) {
			body, _ := io.ReadAll(o.Body)
			o.Body = io.NopCloser(bytes.NewReader(change(body)))
		}
	}
	return map[string]func(*cache.Object){
		"the first byte": replace(func(b []byte) []byte { b[0] ^= 1; return b }),
		"the last byte":  replace(func(b []byte) []byte { b[n-1] ^= 1; return b }),
		"cut":            replace(func(b []byte) []byte { return b[:n-1] }),
		"empty":          replace(func([]byte) []byte { return nil }),
		"too long":       replace(func(b []byte) []byte { return append(b, 0) }),
		"far too long":   replace(func(b []byte) []byte { return append(b, b...) }),
	}
}

func TestDamage(t *testing.T) {
	const n = 300_000
	for name, spoil := range spoiled(n) {
		for way, ahead := range map[string]int64{"verified ahead": 1 << 20, "always ahead": -1, "flowing": 1000} {
			t.Run(name+", "+way, func(t *testing.T) {
				inBubbles(t, func(t *testing.T, size int64) {
					store := mem.New()
					inner := &remote{Store: store, alter: spoil}
					body := storetest.Body(1, n)
					put(t, inner, key, body)
					reg := prometheus.NewRegistry()
					s := openTier(t, inner, Options{Size: size, VerifyAhead: ahead, Registerer: reg})
					object, err := s.Open(t.Context(), key)
					if err == nil {
						if ahead != 1000 {
							t.Error("it was opened")
						}
						var got []byte
						got, err = io.ReadAll(object.Body)
						if len(got) > n-withheld {
							t.Errorf("%d bytes of %d were given out", len(got), n)
						}
						object.Close()
					}
					if !errors.Is(err, cache.ErrDamaged) {
						t.Errorf("got %v", err)
					}
					if aside := store.Aside(); len(aside) != 1 || aside[0].Key != key {
						t.Errorf("set aside: %v", aside)
					}
					synctest.Wait()
					if size > 0 && keeps(t, s, key) {
						t.Error("it is kept")
					}
					if total := s.total.Load() + s.temp.Load(); total != 0 {
						t.Errorf("%d bytes are still reserved", total)
					}
					if got := testutil.ToFloat64(s.metrics.damaged.WithLabelValues("inner")); got != 1 {
						t.Errorf("counted %v", got)
					}
					// The key is free again.
					inner.alter = nil
					put(t, s, key, body)
					mustGet(t, s, key)
				})
			})
		}
	}
}

// TestDamageWithoutAPlace is about an inner store that cannot set aside.
func TestDamageWithoutAPlace(t *testing.T) {
	inner := &remote{Store: mem.New(), alter: func(o *cache.Object) {
		o.SetAside = nil
		o.Body = io.NopCloser(bytes.NewReader(make([]byte, 10)))
	}}
	put(t, inner, key, storetest.Body(1, 10))
	s := openTier(t, inner, Options{})
	if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if _, err := inner.Store.Open(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("in the inner store: %v", err)
	}
}

// TestBrokenLine is trouble, and no damage.
func TestBrokenLine(t *testing.T) {
	broken := errors.New("the line broke")
	inBubbles(t, func(t *testing.T, size int64) {
		for _, ahead := range []int64{-1, 1000} {
			store := mem.New()
			inner := &remote{Store: store, alter: func(o *cache.Object) {
				o.Body = io.NopCloser(io.MultiReader(io.LimitReader(o.Body, 200_000), failing{broken}))
			}}
			put(t, inner, key, storetest.Body(1, 300_000))
			s := openTier(t, inner, Options{Size: size, VerifyAhead: ahead})
			object, err := s.Open(t.Context(), key)
			if err == nil {
				_, err = io.ReadAll(object.Body)
				object.Close()
			}
			if !errors.Is(err, broken) || errors.Is(err, cache.ErrDamaged) {
				t.Errorf("got %v", err)
			}
			if len(store.Aside()) > 0 {
				t.Error("it was set aside")
			}
			if got := s.Degraded(); got != nil {
				t.Errorf("the local disk: %v", got)
			}
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestProgressOfVerifyAhead has a body come so slowly that who waits would give up, did it not hear that it comes.
func TestProgressOfVerifyAhead(t *testing.T) {
	inBubbles(t, func(t *testing.T, size int64) {
		inner := &remote{Store: mem.New(), bodies: make(chan int, 10)}
		body := storetest.Body(1, 100_000)
		put(t, inner, key, body)
		s := openTier(t, inner, Options{Size: size})
		c := cache.New(s, cache.Options{StoreTimeout: 10 * time.Second})
		grant := cache.Grant{Workspace: key.Workspace, Read: []cache.Scope{key.Scope}}
		results := make(chan error)
		for range 3 {
			go func() {
				object, err := c.Get(t.Context(), grant, key.Hash)
				if err == nil {
					object.Close()
				}
				results <- err
			}()
		}
		for range 20 {
			time.Sleep(9 * time.Second) //nolint:forbidigo // of a bubble's clock
			inner.bodies <- 1000
		}
		inner.bodies <- flood
		for range 3 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestProgressOfInner passes on what inner says while it opens.
func TestProgressOfInner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		put(t, store, key, []byte("body"))
		s := openTier(t, slowly{store}, Options{})
		c := cache.New(s, cache.Options{StoreTimeout: 10 * time.Second})
		object, err := c.Get(t.Context(), cache.Grant{Workspace: key.Workspace, Read: []cache.Scope{key.Scope}}, key.Hash)
		if err != nil {
			t.Fatal(err)
		}
		object.Close()
	})
}

// slowly opens slower than anybody waits, and says that it is at it.
type slowly struct{ cache.Store }

func (s slowly) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	for range 10 {
		time.Sleep(9 * time.Second) //nolint:forbidigo // of a bubble's clock
		cache.Progress(ctx)
	}
	return s.Store.Open(ctx, key)
}

// TestLocalDamage has a copy that was changed on the disk: it is a miss of the tier and no more.
func TestLocalDamage(t *testing.T) {
	inner := &remote{Store: mem.New()}
	body := storetest.Body(1, 100_000)
	put(t, inner, key, body)
	local := mem.New()
	put(t, local, key, body)
	damaged := &remote{Store: local, fail: cache.ErrDamaged}
	s := openOver(t, inner, damaged, Options{Size: 1 << 20})
	for range 2 {
		if diff := cmp.Diff(body, mustGet(t, s, key)); diff != "" {
			t.Error(diff)
		}
	}
	if got := testutil.ToFloat64(s.metrics.damaged.WithLabelValues("local")); got != 2 {
		t.Errorf("counted %v", got)
	}
}

// TestInnerVerifies has an inner store whose bodies end in an error if they do not fit: what it says at the end counts.
func TestInnerVerifies(t *testing.T) {
	const n = 300_000
	for way, ahead := range map[string]int64{"ahead": -1, "flowing": 1000} {
		t.Run(way, func(t *testing.T) {
			inBubbles(t, func(t *testing.T, size int64) {
				inner := &remote{Store: mem.New()}
				inner.alter = func(o *cache.Object) {
					o.Verified = true
					o.Body = io.NopCloser(io.MultiReader(io.LimitReader(o.Body, n-withheld), iotest.ErrReader(cache.ErrDamaged)))
				}
				body := storetest.Body(1, n)
				put(t, inner, key, body)
				s := openTier(t, inner, Options{Size: size, VerifyAhead: ahead})
				object, err := s.Open(t.Context(), key)
				if err == nil {
					_, err = io.Copy(io.Discard, object.Body)
					object.Close()
				}
				if !errors.Is(err, cache.ErrDamaged) {
					t.Errorf("got %v", err)
				}
				synctest.Wait()
				if size > 0 && keeps(t, s, key) {
					t.Error("it is kept")
				}
				// A body that it vouches for is taken as it is.
				inner.alter = func(o *cache.Object) { o.Verified = true }
				put(t, inner, key, body)
				if got := mustGet(t, s, key); !bytes.Equal(got, body) {
					t.Errorf("got %d bytes", len(got))
				}
			})
		})
	}
}
