package tier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

var key = storetest.Key("12777289511367993887")

// sizes are those of tiers that keep nothing and that keep all.
var sizes = map[string]int64{"nothing is kept": 0, "kept": 1 << 30}

func inBubbles(t *testing.T, test func(t *testing.T, size int64)) {
	t.Helper()
	for name, size := range sizes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, size) })
		})
	}
}

func TestColdReadersShareOneDownload(t *testing.T) {
	inBubbles(t, func(t *testing.T, size int64) {
		for _, n := range []int{0, 1000, 1 << 20} {
			inner := &remote{Store: mem.New(), open: make(chan struct{})}
			body := storetest.Body(1, n)
			put(t, inner, key, body)
			s := openTier(t, inner, Options{Size: size, VerifyAhead: 100_000})
			var readers errgroup.Group
			for range 100 {
				readers.Go(func() error {
					_, got, err := storetest.Get(t.Context(), s, key)
					if err == nil && !bytes.Equal(got, body) {
						err = errors.New("the bytes differ")
					}
					return err
				})
			}
			synctest.Wait()
			close(inner.open)
			if err := readers.Wait(); err != nil {
				t.Fatal(err)
			}
			if got := inner.opens.Load(); got != 1 {
				t.Errorf("%d bytes: inner was asked %d times", n, got)
			}
			synctest.Wait()
			mustGet(t, s, key)
			if got, want := inner.opens.Load(), map[bool]int64{true: 1, false: 2}[size > 0]; got != want {
				t.Errorf("%d bytes: with a later reader inner was asked %d times, want %d", n, got, want)
			}
		}
	})
}

func TestFirstBytesFlow(t *testing.T) {
	inBubbles(t, func(t *testing.T, size int64) {
		inner := &remote{Store: mem.New(), bodies: make(chan int, 10)}
		body := storetest.Body(1, 1<<20)
		put(t, inner, key, body)
		s := openTier(t, inner, Options{Size: size, VerifyAhead: 1 << 10})
		inner.bodies <- 100_000
		fast, slow := mustOpen(t, s, key), mustOpen(t, s, key)
		head := make([]byte, 100_000)
		if _, err := io.ReadFull(fast.Body, head); err != nil || !bytes.Equal(head, body[:100_000]) {
			t.Fatalf("the first bytes: %v", err)
		}
		// The end waits for the digest, and only the end.
		inner.bodies <- len(body) - 100_000
		rest := make([]byte, len(body)-100_000-withheld)
		if _, err := io.ReadFull(fast.Body, rest); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			_, err := io.Copy(io.Discard, fast.Body)
			ended <- err
		}()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("the end came before the digest was known: %v", err)
		default:
		}
		inner.bodies <- flood
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		// The slow one held nobody up, and still gets everything, whatever becomes of the entry.
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(slow.Body); err != nil || !bytes.Equal(got, body) {
			t.Errorf("the slow reader got %d bytes, %v", len(got), err)
		}
		if got := inner.opens.Load(); got != 1 {
			t.Errorf("inner was asked %d times", got)
		}
	})
}

func TestReaderLeavesAlone(t *testing.T) {
	inBubbles(t, func(t *testing.T, size int64) {
		inner := &remote{Store: mem.New(), bodies: make(chan int, 10)}
		body := storetest.Body(1, 1<<20)
		put(t, inner, key, body)
		s := openTier(t, inner, Options{Size: size, VerifyAhead: -1})
		leaving, leave := context.WithCancel(t.Context())
		left := make(chan error)
		stayed := make(chan []byte)
		go func() {
			_, err := s.Open(leaving, key)
			left <- err
		}()
		synctest.Wait() // the one that leaves has begun it
		go func() { stayed <- mustGet(t, s, key) }()
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that left: %v", err)
		}
		inner.bodies <- flood
		if got := <-stayed; !bytes.Equal(got, body) {
			t.Error("the one that stayed got other bytes")
		}
		if got := inner.opens.Load(); got != 1 {
			t.Errorf("inner was asked %d times", got)
		}
	})
}

// TestReaderLeavesWhileReading ends the context of a reader that waits for more of a body that flows.
func TestReaderLeavesWhileReading(t *testing.T) {
	inBubbles(t, func(t *testing.T, size int64) {
		inner := &remote{Store: mem.New(), bodies: make(chan int, 10)}
		put(t, inner, key, storetest.Body(1, 1<<20))
		s := openTier(t, inner, Options{Size: size, VerifyAhead: 1})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		inner.bodies <- 1000
		object, err := s.Open(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		defer object.Close()
		time.AfterFunc(time.Minute, cancel)
		if got, err := io.ReadAll(object.Body); len(got) != 1000 || !errors.Is(err, context.Canceled) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	})
}

// TestLastReaderLeaves is about who pays for what nobody waits for.
func TestLastReaderLeaves(t *testing.T) {
	for name, c := range map[string]struct {
		size   int64
		come   int
		goesOn bool
	}{
		"little has come":           {size: 1 << 30, come: 400_000},
		"half has come":             {size: 1 << 30, come: 600_000, goesOn: true},
		"it would not be kept":      {size: 0, come: 600_000},
		"it would be kept too late": {size: 100 << 10, come: 600_000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := &remote{Store: mem.New(), bodies: make(chan int, 10)}
				put(t, inner, key, storetest.Body(1, 1_000_000))
				s := openTier(t, inner, Options{Size: c.size, VerifyAhead: 1})
				inner.bodies <- c.come
				object := mustOpen(t, s, key)
				if _, err := io.ReadFull(object.Body, make([]byte, c.come)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // the download waits for more
				object.Close()
				synctest.Wait()
				if got := !s.idle(); got != c.goesOn {
					t.Fatalf("goes on: %v", got)
				}
				if c.goesOn {
					inner.bodies <- flood
					synctest.Wait()
					if !keeps(t, s, key) || !s.idle() {
						t.Error("it is not kept")
					}
				} else if total := s.total.Load() + s.temp.Load(); total != 0 {
					t.Errorf("%d bytes are still reserved", total)
				}
			})
		})
	}
}

// TestErrorsGoToAllAndAreForgotten lets many wait for one answer that is none.
func TestErrorsGoToAllAndAreForgotten(t *testing.T) {
	trouble := errors.New("the line is down")
	for _, want := range []error{trouble, cache.ErrDamaged, cache.ErrNotExist} {
		t.Run(want.Error(), func(t *testing.T) {
			inBubbles(t, func(t *testing.T, size int64) {
				inner := &remote{Store: mem.New(), open: make(chan struct{}), fail: want}
				s := openTier(t, inner, Options{Size: size})
				errs := make(chan error, 100)
				for range 100 {
					go func() {
						_, err := s.Open(t.Context(), key)
						errs <- err
					}()
				}
				synctest.Wait()
				close(inner.open)
				for range 100 {
					if err := <-errs; !errors.Is(err, want) {
						t.Errorf("got %v", err)
					}
				}
				// Those who came after inner was asked for the first time believe a miss only when it is asked once more.
				most := int64(1)
				if errors.Is(want, cache.ErrNotExist) {
					most = 2
				}
				if got := inner.opens.Load(); got > most {
					t.Errorf("inner was asked %d times, want at most %d", got, most)
				}
				inner.mu.Lock()
				inner.fail = nil
				inner.mu.Unlock()
				put(t, inner, key, []byte("now there is one"))
				mustGet(t, s, key)
			})
		})
	}
}

// TestMissIsNotOlderThanItsReader has an entry come into being while an earlier reader waits for a miss.
func TestMissIsNotOlderThanItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &missing{remote: &remote{Store: mem.New()}, answer: make(chan struct{})}
		s := openTier(t, inner, Options{})
		first := make(chan error)
		go func() {
			_, err := s.Open(t.Context(), key)
			first <- err
		}()
		synctest.Wait()
		put(t, s, key, []byte("body"))
		go func() {
			_, _, err := storetest.Get(t.Context(), s, key)
			first <- err
		}()
		synctest.Wait()
		close(inner.answer)
		one, other := <-first, <-first
		if (one == nil) == (other == nil) {
			t.Errorf("got %v and %v, want one miss: that of who came first", one, other)
		}
	})
}

// missing answers its first Open with a miss, late.
type missing struct {
	*remote
	answer chan struct{}
}

func (m *missing) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if m.opens.Load() == 0 {
		m.opens.Add(1)
		<-m.answer
		return nil, cache.ErrNotExist
	}
	return m.remote.Open(ctx, key)
}

// TestApart has entries that must not be shared or kept.
func TestApart(t *testing.T) {
	for name, alter := range map[string]func(*cache.Object){
		"pending": func(o *cache.Object) { o.Pending = true },
		"by URL":  func(o *cache.Object) { o.URL = "https://bucket.example.com/1" },
	} {
		t.Run(name, func(t *testing.T) {
			inBubbles(t, func(t *testing.T, size int64) {
				inner := &remote{Store: mem.New(), open: make(chan struct{}), alter: alter}
				body := storetest.Body(1, 100_000)
				put(t, inner, key, body)
				s := openTier(t, inner, Options{Size: size})
				objects := make(chan *cache.Object, 10)
				for range 10 {
					go func() { objects <- mustOpen(t, s, key) }()
				}
				synctest.Wait()
				close(inner.open)
				for range 10 {
					object := <-objects
					if !object.Pending && object.URL == "" {
						t.Error("the object lost what it says")
					}
					if got, err := io.ReadAll(object.Body); err != nil || !bytes.Equal(got, body) {
						t.Errorf("got %d bytes, %v", len(got), err)
					}
					object.Close()
				}
				if got := inner.opens.Load(); got != 10 {
					t.Errorf("10 readers asked inner %d times", got)
				}
				if size > 0 && keeps(t, s, key) {
					t.Error("a copy is kept")
				}
			})
		})
	}
}

// TestAbilitiesOfBodies is about what lets the kernel move bytes.
func TestAbilitiesOfBodies(t *testing.T) {
	inner := &remote{Store: mem.New()}
	put(t, inner, key, []byte("body"))
	s := openTier(t, inner, Options{Size: 1 << 20})
	if _, ok := s.Store().(cache.Marker); ok {
		t.Error("it keeps notes, but inner does not")
	}
	check := func(what string) {
		t.Helper()
		object := mustOpen(t, s, key)
		_, to := object.Body.(io.WriterTo)
		_, at := object.Body.(io.ReaderAt)
		if !to || !at {
			t.Errorf("%s: is a WriterTo: %v, a ReaderAt: %v", what, to, at)
		}
		if got, err := io.ReadAll(struct{ io.Reader }{object.Body}); err != nil || string(got) != "body" {
			t.Errorf("%s: read %q, %v", what, got, err)
		}
		object.Close()
		var got bytes.Buffer
		if _, err := io.Copy(&got, mustOpen(t, s, key).Body); err != nil || got.String() != "body" {
			t.Errorf("%s: copied %q, %v", what, &got, err)
		}
	}
	inner.alter = func(o *cache.Object) { o.Pending = true }
	check("inner's own")
	inner.alter = nil
	mustGet(t, s, key)
	settle(t, s)
	check("hit")
}

// TestCopies has an object say whether the storage was asked since its reader came.
func TestCopies(t *testing.T) {
	inBubbles(t, func(t *testing.T, size int64) {
		inner := &remote{Store: mem.New(), bodies: make(chan int, 10)}
		put(t, inner, key, storetest.Body(1, 1<<20))
		s := openTier(t, inner, Options{Size: size, VerifyAhead: 1})
		first := mustOpen(t, s, key)
		joined := mustOpen(t, s, key)
		inner.bodies <- flood
		synctest.Wait()
		later := mustOpen(t, s, key) // from the disk, or from the download that is complete
		if first.Copy || !joined.Copy || !later.Copy {
			t.Errorf("copies: %v, %v, %v", first.Copy, joined.Copy, later.Copy)
		}
	})
}

// TestSetAsideOfPending takes away what is not shared.
func TestSetAsideOfPending(t *testing.T) {
	store := mem.New()
	inner := &remote{Store: store, alter: func(o *cache.Object) { o.Pending = true }}
	put(t, inner, key, []byte("body"))
	s := openTier(t, inner, Options{Size: 1 << 20})
	if err := mustOpen(t, s, key).SetAside("a reason"); err != nil || len(store.Aside()) != 1 {
		t.Errorf("%v, set aside: %v", err, store.Aside())
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	inner := &remote{Store: mem.New()}
	put(t, inner, key, storetest.Body(1, 1000))
	for range 2 { // tiers of one registry
		s := openTier(t, inner, Options{Size: 1 << 20, Registerer: reg})
		for range 2 {
			mustGet(t, s, key)
			settle(t, s)
		}
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	want := fmt.Sprintf(`
# HELP bezoar_tier_bytes Bytes of disk that the tier keeps or has reserved for downloads under way.
# TYPE bezoar_tier_bytes gauge
bezoar_tier_bytes %d
# HELP bezoar_tier_downloads Downloads from the storage behind that are under way or wait for their turn.
# TYPE bezoar_tier_downloads gauge
bezoar_tier_downloads 0
# HELP bezoar_tier_entries Entries that the tier keeps.
# TYPE bezoar_tier_entries gauge
bezoar_tier_entries 2
# HELP bezoar_tier_fetched_bytes_total Bytes that downloads brought from the storage behind.
# TYPE bezoar_tier_fetched_bytes_total counter
bezoar_tier_fetched_bytes_total 2000
# HELP bezoar_tier_reads_total Entries that were asked of the tier, by result.
# TYPE bezoar_tier_reads_total counter
bezoar_tier_reads_total{result="apart"} 0
bezoar_tier_reads_total{result="hit"} 2
bezoar_tier_reads_total{result="joined"} 0
bezoar_tier_reads_total{result="miss"} 2
`, 2*footprintOf(1000))
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), HeldBytes, HeldEntries, Reads, FetchedBytes, Downloads); err != nil {
		t.Error(err)
	}
}

func TestDownloadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &remote{Store: mem.New(), open: make(chan struct{}), asked: make(chan struct{}, 10)}
		keys := []cache.Key{storetest.Key("1"), storetest.Key("2"), storetest.Key("3"), storetest.Key("4"), storetest.Key("5")}
		for _, key := range keys {
			put(t, inner, key, []byte("body"))
		}
		s := openTier(t, inner, Options{Downloads: 2, Queue: 2, QueueWait: time.Minute})
		errs := make([]error, len(keys))
		var readers errgroup.Group
		for i, key := range keys {
			readers.Go(func() error {
				_, _, errs[i] = storetest.Get(t.Context(), s, key)
				return nil
			})
			synctest.Wait()
		}
		if got := inner.opens.Load(); got != 2 {
			t.Errorf("%d downloads run at once", got)
		}
		if !errors.Is(errs[4], errBusy) {
			t.Errorf("one too many: %v", errs[4])
		}
		inner.open <- struct{}{} // one ends, and the one that waits longest takes its turn
		synctest.Wait()
		if got := inner.opens.Load(); got != 3 {
			t.Errorf("%d downloads have begun", got)
		}
		time.Sleep(2 * time.Minute) //nolint:forbidigo // of a bubble's clock
		synctest.Wait()
		if !errors.Is(errs[3], errBusy) {
			t.Errorf("one that waited too long: %v", errs[3])
		}
		close(inner.open)
		if err := readers.Wait(); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if errs[i] != nil {
				t.Errorf("reader %d: %v", i, errs[i])
			}
		}
	})
}

func TestCloseEndsDownloads(t *testing.T) {
	inBubbles(t, func(t *testing.T, size int64) {
		inner := &remote{Store: mem.New(), bodies: make(chan int, 10)}
		put(t, inner, key, storetest.Body(1, 1<<20))
		s := openTier(t, inner, Options{Size: size, VerifyAhead: 1})
		inner.bodies <- 1000
		object := mustOpen(t, s, key)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(object.Body); len(got) > 1000 || !errors.Is(err, errClosed) {
			t.Errorf("the reader got %d bytes, %v", len(got), err)
		}
		if _, err := s.Open(t.Context(), key); !errors.Is(err, errClosed) {
			t.Errorf("open after the end: %v", err)
		}
	})
}
