package tier

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	for name, size := range map[string]int64{"nothing is kept": 0, "tiny": 64 << 10, "large": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t,
				func(t *testing.T) cache.Store { return newReplica(t, mem.New(), size) },
				storetest.SecondHandle(func(t *testing.T, first cache.Store) cache.Store {
					a := first.(*replica)
					b := newReplica(t, a.tier.inner, size)
					a.others, b.others = append(a.others, b), append(b.others, a)
					return b
				}),
				storetest.Abilities(),
			)
		})
	}
}

// replica is a tier that is told of what is deleted through others, as the servers of one bucket are.
type replica struct {
	cache.Store
	cache.Marker
	tier   *Store
	others []*replica
}

func newReplica(t *testing.T, inner cache.Store, size int64) *replica {
	s := openTier(t, inner, Options{Size: size})
	whole := s.Store()
	return &replica{Store: whole, Marker: whole.(cache.Marker), tier: s}
}

func (r *replica) Delete(ctx context.Context, key cache.Key) error {
	err := r.Store.Delete(ctx, key)
	return errors.Join(err, r.tell(ctx, key))
}

func (r *replica) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	object, err := r.Store.Open(ctx, key)
	if err == nil {
		aside := object.SetAside
		object.SetAside = func(reason string) error { return errors.Join(aside(reason), r.tell(context.Background(), key)) }
	}
	return object, err
}

func (r *replica) tell(ctx context.Context, key cache.Key) error {
	var failed []error
	for _, other := range r.others {
		failed = append(failed, other.tier.Forget(ctx, key))
	}
	return errors.Join(failed...)
}

// openTier opens a tier over a new directory, if it has a size, and waits until it has looked through it.
func openTier(t testing.TB, inner cache.Store, options Options) *Store {
	t.Helper()
	var local cache.Store
	if options.Size > 0 {
		local = openFS(t, t.TempDir())
	}
	return openOver(t, inner, local, options)
}

func openOver(t testing.TB, inner, local cache.Store, options Options) *Store {
	t.Helper()
	if options.TempDir == "" {
		options.TempDir = t.TempDir()
	}
	if options.Logger == nil {
		options.Logger = logger(t)
	}
	s, err := Open(inner, local, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	waitScan(s)
	return s
}

func logger(t testing.TB) *slog.Logger {
	if _, ok := t.(*testing.B); ok {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// waitScan returns when the tier has looked through its directory, which takes no time in tests.
func waitScan(s *Store) {
	for s.local != nil && !s.scanned.Load() {
		runtime.Gosched()
	}
}

func openFS(t testing.TB, dir string) *fs.Store {
	t.Helper()
	s, err := fs.Open(dir, fs.Options{Logger: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// remote is a store that counts and whose answers tests can hold back, cut or spoil.
type remote struct {
	cache.Store
	opens  atomic.Int64
	asked  chan struct{} // takes one for each Open, if there is one
	open   chan struct{} // Open waits for it, if there is one
	bodies chan int      // how many more bytes of bodies may be read, if there is one

	mu    sync.Mutex
	alter func(*cache.Object)
	fail  error
}

func (r *remote) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	r.opens.Add(1)
	if r.asked != nil {
		r.asked <- struct{}{}
	}
	if r.open != nil {
		select {
		case <-r.open:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r.mu.Lock()
	alter, fail := r.alter, r.fail
	r.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	object, err := r.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	if r.bodies != nil {
		object.Body = &gated{Reader: object.Body, gate: r.bodies, done: ctx.Done(), ended: ctx.Err}
	}
	if alter != nil {
		alter(object)
	}
	return object, nil
}

// gated is a body that flows as the gate lets it.
type gated struct {
	io.Reader
	gate  chan int
	left  int
	done  <-chan struct{}
	ended func() error
}

func (g *gated) Read(p []byte) (int, error) {
	for g.left == 0 {
		select {
		case g.left = <-g.gate:
		case <-g.done:
			return 0, g.ended()
		}
	}
	if g.left > 0 {
		p = p[:min(len(p), g.left)]
	}
	n, err := g.Reader.Read(p)
	if g.left > 0 {
		g.left -= n
	}
	return n, err
}

func (g *gated) Close() error { return nil }

// flood as a permission lets the rest of the body come.
const flood = -1

func put(t testing.TB, s cache.Store, key cache.Key, body []byte) {
	t.Helper()
	if err := storetest.Put(context.Background(), s, key, body); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

// mustOpen opens an entry that is closed at the end of the test, if not before.
func mustOpen(t testing.TB, s cache.Store, key cache.Key) *cache.Object {
	t.Helper()
	object, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatalf("open %q: %v", key, err)
	}
	t.Cleanup(func() { _ = object.Close() })
	return object
}

// mustGet reads an entry and closes it.
func mustGet(t testing.TB, s cache.Store, key cache.Key) []byte {
	t.Helper()
	_, body, err := storetest.Get(t.Context(), s, key)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return body
}

// settle waits until no download is under way and no room has to be made.
func settle(t testing.TB, s *Store) {
	t.Helper()
	for !s.idle() {
		runtime.Gosched()
	}
}

func (s *Store) idle() bool {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		busy := len(sh.flights) > 0
		for _, at := range sh.index.slots {
			if st := sh.index.node(at).state; st == pending || st == leaving {
				busy = true
			}
		}
		sh.mu.Unlock()
		if busy {
			return false
		}
	}
	return testutil.ToFloat64(s.metrics.downloads) == 0 && (s.local == nil || s.total.Load() <= s.soft || len(s.kick) == 0)
}

// keeps reports whether the local store has the key.
func keeps(t testing.TB, s *Store, key cache.Key) bool {
	t.Helper()
	object, err := s.local.Open(context.Background(), key)
	if err == nil {
		object.Close()
	} else if !errors.Is(err, cache.ErrNotExist) {
		t.Fatalf("open %q in the local store: %v", key, err)
	}
	return err == nil
}

// putAt is put with a time.
func putAt(t testing.TB, s cache.Store, key cache.Key, body []byte, at time.Time) {
	t.Helper()
	draft, err := s.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Abort()
	record := storetest.Record(body)
	record.Created = at
	if _, err := draft.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := draft.Commit(t.Context(), record); err != nil {
		t.Fatal(err)
	}
}
