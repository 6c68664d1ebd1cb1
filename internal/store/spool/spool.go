package spool

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Remote is where entries belong. It may be able, too, to tell whether it has an entry without opening it:
//
//	Has(ctx context.Context, key cache.Key) (bool, error)
type Remote interface {
	Open(ctx context.Context, key cache.Key) (*cache.Object, error)
	Delete(ctx context.Context, key cache.Key) error
	List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error]
	// Put makes the entry of body, which has entry.Record.Size bytes: [cache.ErrExist] if there is one. After nil it is durable. It ends
	// soon after its context and calls [cache.Progress] as bytes move. After any other error the entry may be there or not.
	Put(ctx context.Context, entry cache.Entry, body io.ReaderAt) error
	cache.Marker
}

// Local keeps what was not sent yet, in a directory that no other process uses. Its objects' bodies implement [io.ReaderAt]. It may be
// able to bring an entry to the disk, so that it outlives a loss of power; without that, an acknowledged upload does not:
//
//	Sync(ctx context.Context, key cache.Key) error
type Local interface {
	cache.Store
}

type (
	haser interface {
		Has(ctx context.Context, key cache.Key) (bool, error)
	}
	syncer interface {
		Sync(ctx context.Context, key cache.Key) error
	}
)

// What a [Store] answers beside what a [cache.Store] does.
var (
	// ErrFull says that the queue holds as many bytes as it may.
	ErrFull = errors.New("the spool is full: the bucket does not take uploads as fast as they come; see whether it can be written to, or let the spool be larger")
	// ErrClosed says that the server stops.
	ErrClosed = errors.New("the spool takes no more uploads: the server stops")
)

// Forever as [Options.Wait] lets each upload wait for the remote store.
const Forever time.Duration = -1

// Defaults of [Options].
const (
	DefaultWorkers    = 8
	DefaultBackoff    = time.Second
	DefaultMaxBackoff = time.Minute
	DefaultStall      = time.Minute
)

// Options of a [Store].
type Options struct {
	// Wait bounds the time for which an upload waits for the remote store before it is acknowledged. Zero: it does not wait. [Forever]: it
	// is acknowledged only when the remote store has it. Before an upload's body is taken, there is a look at the remote store in any
	// case, of a second at most, and none for a while if it did not answer.
	Wait time.Duration
	// MaxBytes bounds the bytes of bodies in the queue, those of uploads under way included. A quarter is for the trusted scope alone, so that no flood of
	// others keeps trusted uploads out. Zero: no bound.
	MaxBytes int64
	// MaxAge is how long an acknowledged entry is tried to be sent. Older ones are given up and deleted. Zero: for ever.
	MaxAge time.Duration
	// Workers bounds how many entries are sent at once. Zero: [DefaultWorkers].
	Workers int
	// Backoff is the pause after a first failure. It doubles with each, up to MaxBackoff, and is shortened at random by up to a half. Zero:
	// [DefaultBackoff] and [DefaultMaxBackoff].
	Backoff, MaxBackoff time.Duration
	// Stall bounds how long a send goes on without a sign of progress; then it has failed. Zero: [DefaultStall].
	Stall time.Duration
	// Logger is told of what befalls entries. Nil: nobody is.
	Logger *slog.Logger
	// Registerer takes the metrics; a second store in it is refused. Nil: nobody takes them.
	Registerer prometheus.Registerer
	// Now is the clock by which entries age. Nil: [time.Now].
	Now func() time.Time
}

// Store is a [cache.Store] that takes uploads on the local disk. The caller closes it.
type Store struct {
	remote  Remote
	local   Local
	opts    Options
	log     *slog.Logger
	metrics *metrics

	// used counts the bytes of bodies: those in the queue and those that drafts have reserved. others are those of them that are not for the trusted scope.
	used, others atomic.Int64
	// moved counts signs of progress of all sends, and their ends.
	moved atomic.Int64
	// idle says that nothing is in the queue for sure, so that most calls need no lock.
	idle atomic.Bool
	// blind is until when no look at the remote store is tried, in nanoseconds since 1970.
	blind atomic.Int64

	stopListing context.CancelFunc
	sends       sync.WaitGroup // all goroutines of the store
	drained     chan struct{}  // closed when a store that closes has nothing to do any more
	ended       chan struct{}  // closed when no send begins any more

	mu    sync.Mutex // held for steps in memory only
	items map[cache.Key]*item
	// drafts are the keys of open drafts.
	drafts map[cache.Key]*begun
	// pending are the acknowledged entries by age; ready waits for its first attempt, retry for a later one.
	pending, ready, retry *queue
	pendingBytes          int64
	// listed says that all that a former process left is in items. Before, left are the keys that were in items and are not any more.
	listed  bool
	left    map[cache.Key]struct{}
	missing error // why listing was given up

	running, background int // sends under way; those of acknowledged entries among them
	health              health
	timer               *time.Timer // calls wake
	closing, stopped    bool
	drainFailures       int
}

var (
	_ cache.Store  = (*Store)(nil)
	_ cache.Marker = (*Store)(nil)
)

// Open begins to bring to remote what is in local, and takes uploads. It does not wait for a look at either. Both stay the caller's.
func Open(remote Remote, local Local, options Options) (*Store, error) {
	s := &Store{
		remote:  remote,
		local:   local,
		opts:    options,
		log:     options.Logger,
		drained: make(chan struct{}),
		ended:   make(chan struct{}),
		items:   make(map[cache.Key]*item),
		drafts:  make(map[cache.Key]*begun),
		left:    make(map[cache.Key]struct{}),
		pending: newQueue(func(it *item) (*int, int64) { return &it.inPending, it.since }),
		ready:   newQueue(func(it *item) (*int, int64) { return &it.inReady, it.due }),
		retry:   newQueue(func(it *item) (*int, int64) { return &it.inRetry, it.due }),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.opts.Now == nil {
		s.opts.Now = time.Now
	}
	s.opts.Workers = max(cmp.Or(s.opts.Workers, DefaultWorkers), 1)
	s.opts.Backoff = cmp.Or(s.opts.Backoff, DefaultBackoff)
	s.opts.MaxBackoff = max(cmp.Or(s.opts.MaxBackoff, DefaultMaxBackoff), s.opts.Backoff)
	s.opts.Stall = cmp.Or(s.opts.Stall, DefaultStall)
	var err error
	if s.metrics, err = newMetrics(s, options.Registerer); err != nil {
		return nil, err
	}
	s.timer = time.AfterFunc(time.Hour, s.wake)
	s.timer.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	s.stopListing = cancel
	s.sends.Go(func() { s.list(ctx) })
	return s, nil
}

// Mark implements [cache.Marker].
func (s *Store) Mark(ctx context.Context, name string) ([]byte, error) {
	return s.remote.Mark(ctx, name)
}

// SetMark implements [cache.Marker].
func (s *Store) SetMark(ctx context.Context, name string, old, value []byte) error {
	return s.remote.SetMark(ctx, name, old, value)
}

// wake is called by the timer.
func (s *Store) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dispatch()
}
