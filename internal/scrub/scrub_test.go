package scrub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	size = 200_000
	rate = 100_000
)

// bench is a directory with entries and a scrub over it, in a bubble of simulated time.
type bench struct {
	t      *testing.T
	dir    string
	store  *fs.Store
	walker *walker
	reads  *reads
	opts   Options
	log    *bytes.Buffer
}

// walker is the store's own walk, in which trouble can be made.
type walker struct {
	*fs.Store
	trouble func(at string) error // before a step; the walk ends with it if final
	final   bool
}

func (w *walker) Walk(ctx context.Context, part cache.Part, after string, way cache.Way) iter.Seq2[cache.Step, error] {
	return func(yield func(cache.Step, error) bool) {
		for step, err := range w.Store.Walk(ctx, part, after, way) {
			made := scrubs(func() error {
				if w.trouble == nil {
					return nil
				}
				return w.trouble(step.Position)
			})
			if made != nil {
				if !yield(cache.Step{}, made) || w.final {
					return
				}
				continue
			}
			if !yield(step, err) {
				return
			}
		}
	}
}

// reads notes which entries are opened, and may fail.
type reads struct {
	cache.Store
	keys []cache.Hash
	fail func(cache.Key) error
}

func (r *reads) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	err := scrubs(func() error {
		r.keys = append(r.keys, key.Hash)
		if r.fail == nil {
			return nil
		}
		return r.fail(key)
	})
	if err != nil {
		return nil, err
	}
	return r.Store.Open(ctx, key)
}

func newBench(t *testing.T, entries int) *bench {
	dir := t.TempDir()
	store, err := fs.Open(dir, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	for i := range entries {
		if err := storetest.Put(t.Context(), store, storetest.Key(fmt.Sprint(i)), storetest.Body(uint64(i), size)); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{t: t, dir: dir, store: store, walker: &walker{Store: store}, reads: &reads{Store: store.Unverified()}, log: new(bytes.Buffer)}
	b.opts = Options{Walker: b.walker, Store: b.reads, Marks: store, Rate: rate, Every: 24 * time.Hour, Logger: slog.New(slog.NewTextHandler(logged{b.log}, nil))}
	return b
}

// start runs a scrub until stop is called.
func (b *bench) start() (s *Scrubber, stop func()) {
	s = New(b.opts)
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	return s, func() { cancel(); <-done }
}

// turns orders what tests and scrubs do with the same variables: while time passes, they are the scrubs', and else the tests'.
var turns sync.Mutex

// scrubs runs something that a scrub does.
func scrubs[T any](do func() T) T {
	turns.Lock()
	defer turns.Unlock()
	return do()
}

// pass lets time pass.
func pass(d time.Duration) {
	give := func() bool { return true }
	scrubs(give)
	time.Sleep(d) //nolint:forbidigo // of a bubble's clock
	synctest.Wait()
	scrubs(give)
}

// logged is a log that tests read.
type logged struct{ to *bytes.Buffer }

func (l logged) Write(p []byte) (int, error) {
	return len(p), scrubs(func() error { _, err := l.to.Write(p); return err })
}

// rot flips a byte of an entry and leaves the times of its file alone, as a disk does.
func (b *bench) rot(hash string, at int64) {
	b.t.Helper()
	path := b.path(hash)
	info, err := os.Stat(path)
	if err != nil {
		b.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	one := make([]byte, 1)
	if _, err := f.ReadAt(one, at); err != nil {
		b.t.Fatal(err)
	}
	one[0] ^= 1
	if _, err := f.WriteAt(one, at); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) path(hash string) string {
	b.t.Helper()
	found, err := filepath.Glob(filepath.Join(b.dir, "entries", "default", "trusted", "*", hash))
	if err != nil || len(found) != 1 {
		b.t.Fatalf("the file of %s: %v %v", hash, found, err)
	}
	return found[0]
}

func (b *bench) result(reg *prometheus.Registry, want string) {
	b.t.Helper()
	if err := testutil.GatherAndCompare(reg, strings.NewReader("# HELP bezoar_scrub_entries_total Entries that the scrub came to, by result.\n# TYPE bezoar_scrub_entries_total counter\n"+want), EntriesCounter); err != nil {
		b.t.Error(err)
	}
}

func counts(whole, damaged, gone, failed int) string {
	return fmt.Sprintf("bezoar_scrub_entries_total{result=\"whole\"} %d\nbezoar_scrub_entries_total{result=\"damaged\"} %d\nbezoar_scrub_entries_total{result=\"gone\"} %d\nbezoar_scrub_entries_total{result=\"error\"} %d\n", whole, damaged, gone, failed)
}

// TestDamageIsFoundAndHeals: what rotted at rest is set aside and told, and the key can be written again. The rest stays.
func TestDamageIsFoundAndHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 6)
		// The store knows this one to be whole; a bit that flips later does not show in it.
		b.rot("1", size/2)
		b.rot("2", 0)
		b.rot("3", size-1)
		if err := os.Truncate(b.path("4"), size/2); err != nil {
			t.Fatal(err)
		}
		reg := prometheus.NewRegistry()
		b.opts.Registerer = reg
		s, stop := b.start()
		pass(10 * time.Minute)
		if err := s.Degraded(); err == nil || !strings.Contains(err.Error(), "4 damaged entries") {
			t.Errorf("degraded: %v", err)
		}
		b.result(reg, counts(2, 4, 0, 0))
		if got := strings.Count(b.log.String(), "level=ERROR"); got != 4 {
			t.Errorf("the log has %d errors:\n%s", got, b.log)
		}
		for i := range 6 {
			key := storetest.Key(fmt.Sprint(i))
			_, got, err := storetest.Get(t.Context(), b.store, key)
			if damaged := i >= 1 && i <= 4; damaged != errors.Is(err, cache.ErrNotExist) {
				t.Errorf("entry %d: %v", i, err)
			}
			if err == nil {
				if !bytes.Equal(got, storetest.Body(uint64(i), size)) {
					t.Errorf("entry %d: wrong bytes", i)
				}
				continue
			}
			if err := storetest.Put(t.Context(), b.store, key, storetest.Body(9, size)); err != nil {
				t.Errorf("entry %d anew: %v", i, err)
			}
		}
		if kept, err := os.ReadDir(filepath.Join(b.dir, "damaged")); err != nil || len(kept) != 4 {
			t.Errorf("%d were kept, %v", len(kept), err)
		}
		pass(25 * time.Hour)
		if err := s.Degraded(); err != nil {
			t.Errorf("a day later: %v", err)
		}
		stop()
	})
}

// TestRate: bytes pass at the rate, small entries count for more than they have, and one pass begins no sooner than it may.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10)
		reg := prometheus.NewRegistry()
		b.opts.Registerer = reg
		_, stop := b.start()
		defer stop()
		read := func() int { return len(b.reads.keys) }
		pass(startDelay - time.Second)
		if read() != 0 {
			t.Error("it began at once")
		}
		// Each takes 2.16 seconds.
		pass(time.Second + 11*time.Second)
		if n := read(); n != 6 {
			t.Errorf("%d entries were opened in 11 seconds, want 6", n)
		}
		pass(time.Hour)
		if read() != 10 {
			t.Errorf("%d entries were opened in all", read())
		}
		pass(22 * time.Hour)
		if read() != 10 {
			t.Error("the next pass began too early")
		}
		pass(2 * time.Hour)
		if read() != 20 {
			t.Errorf("the next pass read %d entries", read()-10)
		}
	})
}

// TestGoesOn: a restart begins where the pass was, and the end comes at once.
func TestGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10)
		_, stop := b.start()
		pass(startDelay + 9*time.Second) // in the middle of the fifth
		before := time.Now()
		stop()
		if took := time.Since(before); took > saveWait {
			t.Errorf("the end took %v", took)
		}
		first := slices.Clone(b.reads.keys)
		b.reads.keys = nil
		_, stop = b.start()
		pass(10 * time.Minute)
		stop()
		all := append(first[:4:4], b.reads.keys...)
		slices.Sort(all)
		if len(first) != 5 || len(slices.Compact(all)) != 10 || len(all) != 10 {
			t.Errorf("%v, and after a restart %v", first, b.reads.keys)
		}
		b.reads.keys = nil
		_, stop = b.start()
		pass(10 * time.Minute)
		stop()
		if len(b.reads.keys) != 0 {
			t.Error("a restart after the pass began another one")
		}
	})
}

// TestTheNoteIsFromOutside: whatever it says, a pass begins, or waits no longer than it would after a pass.
func TestTheNoteIsFromOutside(t *testing.T) {
	for name, text := range map[string]string{
		"garbage":    "\x00{",
		"of another": `{"begun":1}`,
		"the future": `{"begun":"2999-01-01T00:00:00Z","ended":"2999-01-01T00:00:00Z"}`,
		"a position": `{"begun":"2999-01-01T00:00:00Z","position":"../../zz"}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 3)
				if err := b.store.SetMark(t.Context(), markName, nil, []byte(text)); err != nil {
					t.Fatal(err)
				}
				_, stop := b.start()
				pass(26 * time.Hour)
				stop()
				if len(b.reads.keys) < 3 {
					t.Errorf("%d entries were read", len(b.reads.keys))
				}
			})
		})
	}
}

var errDisk = errors.New("the disk fails")

// TestTrouble: a storage that fails is told of and tried again from there; an entry that cannot be read holds nobody up.
func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10)
		var down bool
		b.walker.final = true
		b.walker.trouble = func(string) error {
			if down && len(b.reads.keys) >= 4 {
				return errDisk
			}
			return nil
		}
		down = true
		s, stop := b.start()
		defer stop()
		pass(6 * time.Hour)
		if err := s.Degraded(); !errors.Is(err, errDisk) {
			t.Errorf("degraded: %v", err)
		}
		if n := len(b.reads.keys); n != 4 {
			t.Errorf("%d entries were read, want each once", n)
		}
		down = false
		pass(2 * time.Hour)
		if n := len(b.reads.keys); n != 10 {
			t.Errorf("%d entries were read in all", n)
		}
		if err := s.Degraded(); err != nil {
			t.Errorf("it is over, but: %v", err)
		}
		b.reads.fail = func(key cache.Key) error {
			if key.Hash == "7" {
				return errDisk
			}
			return nil
		}
		pass(24 * time.Hour)
		if n := len(b.reads.keys); n != 20 {
			t.Errorf("%d entries were read in all", n)
		}
		if err := s.Degraded(); !errors.Is(err, errDisk) {
			t.Errorf("degraded: %v", err)
		}
	})
}

// TestPartsThatCannotBeListed are passed by in the end.
func TestPartsThatCannotBeListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10)
		var order []string
		for step := range b.store.Walk(t.Context(), cache.Part{}, "", cache.LeaveAlone) {
			order = append(order, step.Position)
		}
		b.walker.trouble = func(at string) error {
			if at == order[3] || at == order[7] {
				return errDisk
			}
			return nil
		}
		s, stop := b.start()
		defer stop()
		pass(3 * time.Hour)
		if n := len(b.reads.keys); n != 8 {
			t.Errorf("%d entries were read: %v", n, b.reads.keys)
		}
		if err := s.Degraded(); !errors.Is(err, errDisk) {
			t.Errorf("degraded: %v", err)
		}
	})
}

// TestOneOfSeveral: of servers over one storage, one reads; another one goes on where it was.
func TestOneOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 60)
		var holder string
		var until time.Time
		lease := func(name string) func(context.Context, time.Duration) (bool, error) {
			return func(_ context.Context, ttl time.Duration) (bool, error) {
				return scrubs(func() bool {
					if holder != name && time.Now().Before(until) {
						return false
					}
					holder, until = name, time.Now().Add(ttl)
					return true
				}), nil
			}
		}
		b.opts.Lease = lease("a")
		_, stopA := b.start()
		pass(time.Second)
		b.opts.Lease = lease("b")
		_, stopB := b.start()
		defer stopB()
		pass(2 * time.Minute)
		if holder != "a" {
			t.Error("the second one took over")
		}
		stopA()
		pass(time.Hour)
		if holder != "b" {
			t.Error("nobody took over")
		}
		if n := len(b.reads.keys); n < 60 || n > 61 {
			t.Errorf("%d entries were read, want 60 and the one that was broken off", n)
		}
	})
}

// TestStalled: a storage that hangs ends the turn.
func TestStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2)
		b.opts.Store = hanging{}
		s, stop := b.start()
		pass(10 * time.Minute)
		if err := s.Degraded(); !errors.Is(err, errStalled) {
			t.Errorf("degraded: %v", err)
		}
		stop()
	})
}

type hanging struct{}

func (hanging) Open(ctx context.Context, _ cache.Key) (*cache.Object, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
