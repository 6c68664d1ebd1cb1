// Package recorded notes what a store holds in a ledger, behind the back of requests: a store that is decorated never waits for the ledger. What
// could not be noted, the ledger learns again from the store's listing.
package recorded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Ledger is where entries are noted. Its methods end when their context does, and do all or nothing.
type Ledger interface {
	// RecordEntries notes entries that the store holds. Of each key the last one counts.
	RecordEntries(ctx context.Context, entries []cache.Entry) error
	// ForgetEntries notes that the store holds none under these keys any more.
	ForgetEntries(ctx context.Context, keys []cache.Key) error
	// Seals calls each with what is noted under these keys: the key, and of the record the seal and the time.
	Seals(ctx context.Context, keys []cache.Key, each func(cache.Entry)) error
}

// Defaults of [Options].
const (
	DefaultQueue    = 64 << 10
	DefaultBatch    = 1000
	DefaultInterval = 500 * time.Millisecond
)

const (
	// writeTimeout bounds one call of the ledger.
	writeTimeout = 10 * time.Second
	// maxRetry bounds the wait between attempts while the ledger fails. It begins with the interval and doubles.
	maxRetry = 10 * time.Second
)

// Options of a [Recorder]. The zero value will do.
type Options struct {
	// Queue bounds the changes that wait, each some hundreds of bytes; the oldest are dropped. Zero: [DefaultQueue].
	Queue int
	// Batch bounds the changes that are written at once. Zero: [DefaultBatch].
	Batch int
	// Interval is how long a change waits for others, unless they are enough for a batch. Zero: [DefaultInterval].
	Interval time.Duration
	// Left is told of entries, by key and seal, that are no more: deleted, found damaged, or no longer there when their key was written anew. Nobody may put
	// them back. It follows from the order in which this server notes things: servers that share a ledger must not ask for it, for one may note late what
	// another one has undone. It is called before the ledger forgets them, and again with the same ones if that fails. Nil: nobody is told.
	Left func(ctx context.Context, entries []cache.Entry)
	// Logger is told when the ledger begins to fail, and when that is over. Nil: nobody is.
	Logger *slog.Logger
	// Registerer takes the metrics. Nil: nothing is counted. Each Recorder needs one of its own.
	Registerer prometheus.Registerer
	// Now is the clock by which records have their times. Nil: [time.Now].
	Now func() time.Time
}

// Recorder writes changes to a ledger, in one goroutine, from [Start] until [Recorder.Close].
type Recorder struct {
	ledger  Ledger
	opts    Options
	log     *slog.Logger
	metrics *metrics

	queue   chan *change
	closed  atomic.Bool
	closing chan struct{}
	done    chan struct{}
	abort   context.CancelFunc // ends what Close does not wait for any longer
	trouble atomic.Pointer[error]
	lost    int // of the last batch; the goroutine's until done
}

// change is one thing that happened to a key.
type change struct {
	entry cache.Entry
	gone  bool
	// only says that what is gone is the entry with this very seal: by now there may be another one under its key.
	only bool
	// before is when the work began in which the entry went: what was made later is another one.
	before time.Time
}

// Start begins to write to the ledger what the stores that [Recorder.Over] and [Recorder.OverRemote] return tell of. The caller closes the Recorder before
// the ledger.
func Start(ledger Ledger, options Options) *Recorder {
	if options.Now == nil {
		options.Now = time.Now
	}
	options.Queue = cmp.Or(options.Queue, DefaultQueue)
	options.Batch = cmp.Or(options.Batch, DefaultBatch)
	options.Interval = cmp.Or(options.Interval, DefaultInterval)
	r := &Recorder{
		ledger: ledger, opts: options, log: options.Logger,
		queue: make(chan *change, options.Queue), closing: make(chan struct{}), done: make(chan struct{}),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.metrics = newMetrics(options.Registerer, func() float64 { return float64(len(r.queue)) })
	ctx, cancel := context.WithCancel(context.Background())
	r.abort = cancel
	go r.run(ctx)
	return r
}

// Close writes what waits, as far as the ledger takes it before ctx ends, and ends the goroutine. Its error says how much is lost to the ledger. What
// happens to stores afterwards is not noted. It may be called more than once.
func (r *Recorder) Close(ctx context.Context) error {
	if !r.closed.Swap(true) {
		close(r.closing)
	}
	stop := context.AfterFunc(ctx, r.abort)
	defer stop()
	<-r.done
	r.abort()
	lost := r.lost + len(r.queue)
	if lost == 0 {
		return nil
	}
	return fmt.Errorf("%d changes of entries are not in the ledger, which will not know of them until it is rebuilt: %w", lost, r.cause(ctx))
}

func (r *Recorder) cause(ctx context.Context) error {
	if err := r.trouble.Load(); err != nil {
		return *err
	}
	return cmp.Or(ctx.Err(), errors.New("it was too slow"))
}

// Degraded is nil while the ledger takes what is written to it.
func (r *Recorder) Degraded() error {
	if err := r.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// note puts a change into the queue. It never waits.
func (r *Recorder) note(c *change) {
	if r.closed.Load() {
		r.metrics.dropped.Inc()
		return
	}
	for {
		select {
		case r.queue <- c:
			return
		default:
		}
		select {
		case <-r.queue: // the oldest
			r.metrics.dropped.Inc()
		default:
		}
	}
}
