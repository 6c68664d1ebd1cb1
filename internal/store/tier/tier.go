package tier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/prompt"
)

var _ cache.Store = (*Store)(nil)

// Options of a [Store]. The zero value shares downloads and keeps nothing.
type Options struct {
	// Size bounds what is kept in the local store, in bytes of disk. Zero: nothing is, but downloads are shared all the same.
	Size int64
	// TempDir is where downloads go that are not to be kept. It should be on a disk rather than in memory. Empty: [os.TempDir].
	TempDir string
	// TempSize bounds what lies there, in bytes; beyond it, readers get their bytes unshared. Zero: [DefaultTempSize].
	TempSize int64
	// TempWait is for how long a call may show no progress there: then the disk hangs, and is left alone. Zero: [DefaultTempWait].
	TempWait time.Duration
	// VerifyAhead is up to how many bytes a body is verified before its first byte is given out. Zero: [DefaultVerifyAhead]. Negative: whatever its size.
	VerifyAhead int64
	// Downloads bounds how many run at once. Zero: [DefaultDownloads].
	Downloads int
	// Queue bounds how many more wait for their turn, in the order in which they came; what is beyond fails at once. Zero: [DefaultQueue].
	Queue int
	// QueueWait bounds how long one waits. Zero: [DefaultQueueWait].
	QueueWait time.Duration

	// Logger is told of damage and of trouble with the local disk. Nil: nobody is.
	Logger *slog.Logger
	// Registerer takes the metrics. Nil: nothing is counted. Several tiers may share one: then they count together.
	Registerer prometheus.Registerer
	// Now is the clock of recency and of the times between attempts. Nil: [time.Now].
	Now func() time.Time
}

// What [Options] are where they are zero.
const (
	DefaultTempSize    = 4 << 30
	DefaultTempWait    = 2 * time.Second
	DefaultVerifyAhead = 8 << 20
	DefaultDownloads   = 64
	DefaultQueue       = 1024
	DefaultQueueWait   = 10 * time.Second
)

// What Open answers when it is not about the entry.
var (
	errClosed = errors.New("the server is going down")
	errBusy   = errors.New("too many downloads from the storage wait already")
)

// Store is a [cache.Store] that keeps copies of what is read from another in a local one. Use [Store.Store] where a [cache.Marker] is
// looked for.
type Store struct {
	inner cache.Store
	local cache.Store // nil if nothing is kept
	opts  Options
	soft  int64

	log      *slog.Logger
	metrics  *metrics
	reading  *health // of entries in local
	writing  *health
	spilling *health // to temporary files
	temps    *prompt.Gate

	shards  [shards]shard
	total   atomic.Int64 // bytes that are reserved or held; at most Size, but for what was found at the start
	temp    atomic.Int64
	wanted  atomic.Int64 // the largest body for which there was no room of late
	ceded   atomic.Int64 // bytes that are to go for a full disk
	cededAt atomic.Int64
	scanned atomic.Bool
	kick    chan struct{} // wakes the evictor
	slots   *semaphore.Weighted
	// straight are the places of bodies that go to a reader without a file in between.
	straight *semaphore.Weighted
	queued   atomic.Int64
	buffers  sync.Pool // *[chunk]byte

	// lifetime returns the context of all that the tier does by itself.
	lifetime func() context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// Open returns a store that is inner with local in front of it. The tier must be the only user of local. It begins to look through local
// in the background; the caller closes the tier, and then the stores, which it leaves open.
func Open(inner, local cache.Store, options Options) (*Store, error) {
	s := &Store{
		inner:   inner,
		local:   local,
		opts:    options,
		log:     options.Logger,
		kick:    make(chan struct{}, 1),
		buffers: sync.Pool{New: func() any { return new([chunk]byte) }},
	}
	if err := s.complete(); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(options.Registerer)
	s.reading = s.newHealth("read", "entries cannot be read from the local disk of the tier; they come from the storage behind it")
	s.writing = s.newHealth("write", "entries cannot be written to or removed from the local disk of the tier; nothing more is kept")
	s.spilling = s.newHealth("temp", "downloads cannot be written to the temporary directory; each reader gets its own from the storage")
	for i := range s.shards {
		s.shards[i].init()
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.lifetime, s.stop = func() context.Context { return ctx }, cancel
	if s.local != nil {
		s.running.Go(func() { s.scan(ctx) })
		s.running.Go(func() { s.evict(ctx) })
	}
	return s, nil
}

// complete checks the options and fills in what is not set.
func (s *Store) complete() error {
	o := &s.opts
	if o.Size < 0 {
		return fmt.Errorf("the size of the tier is %d bytes: give a positive one, or 0 to keep nothing", o.Size)
	}
	if o.Size > 0 && s.local == nil {
		return errors.New("the tier has a size, but no directory: give both or neither")
	}
	if o.Size == 0 {
		s.local = nil
	}
	s.soft = o.Size - o.Size/20
	o.TempDir = orElse(o.TempDir, os.TempDir())
	o.TempSize = orElse(o.TempSize, DefaultTempSize)
	o.TempWait = orElse(o.TempWait, DefaultTempWait)
	o.VerifyAhead = orElse(o.VerifyAhead, DefaultVerifyAhead)
	o.Downloads = orElse(o.Downloads, DefaultDownloads)
	o.Queue = orElse(o.Queue, DefaultQueue)
	o.QueueWait = orElse(o.QueueWait, DefaultQueueWait)
	s.slots = semaphore.NewWeighted(int64(o.Downloads))
	s.straight = semaphore.NewWeighted(int64(o.Downloads))
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s.temps = prompt.NewGate(o.TempWait)
	probe, err := newTemp(o.TempDir, s.temps)
	if err != nil {
		return fmt.Errorf("write to the directory for downloads: %w: name one that exists and that the user that runs bezoar may write to", err)
	}
	probe.close()
	return nil
}

func orElse[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Store returns the tier for whoever looks for the abilities of a store: it is a [cache.Marker] if inner is one.
func (s *Store) Store() cache.Store {
	if marker, ok := s.inner.(cache.Marker); ok {
		return struct {
			*Store
			cache.Marker
		}{s, marker}
	}
	return s
}

// Degraded says what is wrong with the local disk: nil if nothing is. Readers get their entries all the same.
func (s *Store) Degraded() error {
	return errors.Join(s.reading.state(), s.writing.state(), s.spilling.state())
}

// Close ends downloads and background work and waits for them; readers of a download that is not complete get an error. Objects that are
// open are still to be closed. Close may be called more than once.
func (s *Store) Close() error {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		sh.closed = true
		sh.mu.Unlock()
	}
	s.stop()
	s.running.Wait()
	return nil
}

// Create implements [cache.Store]: the draft is inner's. The tier gets to know an entry when it is first read.
func (s *Store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	return s.inner.Create(ctx, key)
}

// List implements [cache.Store]: it is inner's listing.
func (s *Store) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return s.inner.List(ctx, workspace)
}

// follower is a [cache.Draft] that can be read while it is written, as those of the fs store can.
type follower interface {
	// Follow opens what is written so far. It can be read on after Commit and after Abort.
	Follow() (interface {
		io.ReaderAt
		io.Closer
	}, error)
}
