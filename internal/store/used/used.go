// Package used notes which entries of a store are read, and when, behind the back of requests: no read waits for the ledger, for another read of another
// entry, or for memory.
package used

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Ledger is where uses are noted.
type Ledger interface {
	// RecordUses notes when entries were read, all of them or none. It ends when its context does.
	RecordUses(ctx context.Context, uses map[cache.Key]time.Time) error
}

// Defaults of [Options].
const (
	DefaultInterval    = 5 * time.Second
	DefaultGranularity = time.Hour
	DefaultMost        = 64 << 10
)

const (
	// batch bounds what is written at once.
	batch = 1000
	// writeTimeout bounds one call of the ledger.
	writeTimeout = 10 * time.Second
	// maxRetry bounds the wait between attempts while the ledger fails. It begins with the interval and doubles.
	maxRetry = time.Minute
)

// Options of a [Recorder]. The zero value will do.
type Options struct {
	// Interval is how often uses are written. Zero: [DefaultInterval].
	Interval time.Duration
	// Granularity is for how long further reads of an entry mean nothing new. Zero: [DefaultGranularity].
	Granularity time.Duration
	// Most bounds the entries that are remembered, for trusted ones and on their own for all others, so that who reads many of the one kind takes nothing
	// from the other. Each takes some 150 bytes. As many uses at most wait for the ledger; more are dropped. Zero: [DefaultMost].
	Most int
	// Logger is told when the ledger begins to fail, and when that is over. Nil: nobody is.
	Logger *slog.Logger
	// Registerer takes the metrics. Nil: nothing is counted.
	Registerer prometheus.Registerer
	// Now is the clock. Nil: [time.Now].
	Now func() time.Time
}

// Recorder writes uses to a ledger, in one goroutine, from [Start] until [Recorder.Close].
type Recorder struct {
	ledger  Ledger
	opts    Options
	log     *slog.Logger
	metrics *metrics
	seed    maphash.Seed
	shards  [2][shards]shard // of trusted entries, and of others

	waiting atomic.Int64
	closed  atomic.Bool
	closing chan struct{}
	done    chan struct{}
	abort   context.CancelFunc
	trouble atomic.Pointer[error]
}

// Start begins to write to the ledger what the stores that [Recorder.Over] returns tell of. The caller closes the Recorder before the ledger.
func Start(ledger Ledger, options Options) *Recorder {
	options.Interval = cmp.Or(options.Interval, DefaultInterval)
	options.Granularity = cmp.Or(options.Granularity, DefaultGranularity)
	options.Most = cmp.Or(options.Most, DefaultMost)
	if options.Now == nil {
		options.Now = time.Now
	}
	r := &Recorder{ledger: ledger, opts: options, log: options.Logger, seed: maphash.MakeSeed(), closing: make(chan struct{}), done: make(chan struct{})}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.metrics = newMetrics(options.Registerer, func() float64 { return float64(r.waiting.Load()) })
	most := max(1, options.Most/shards)
	for kind := range r.shards {
		for i := range r.shards[kind] {
			r.shards[kind][i].most = most
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.abort = cancel
	go r.run(ctx)
	return r
}

// Close writes what waits, as far as the ledger takes it before ctx ends, and ends the goroutine. What is not written is lost: these entries look unused
// since an earlier time. It may be called more than once.
func (r *Recorder) Close(ctx context.Context) error {
	if !r.closed.Swap(true) {
		close(r.closing)
	}
	stop := context.AfterFunc(ctx, r.abort)
	defer stop()
	<-r.done
	r.abort()
	if lost := r.waiting.Load(); lost > 0 {
		return fmt.Errorf("%d uses of entries are not in the ledger: retention takes these entries for unused since an earlier time", lost)
	}
	return nil
}

// Degraded is nil while the ledger takes what is written to it.
func (r *Recorder) Degraded() error {
	if err := r.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

type store struct {
	cache.Store
	recorder *Recorder
}

// Over returns a store that is inner and notes what is opened in it. It belongs on top of all others, so that what a tier answers counts. Objects come
// from inner as they are.
func (r *Recorder) Over(inner cache.Store) cache.Store {
	s := &store{Store: inner, recorder: r}
	marker, marks := inner.(cache.Marker)
	peeker, peeks := inner.(cache.Peeker)
	switch {
	case marks && peeks:
		return struct {
			*store
			cache.Marker
			peeking
		}{s, marker, peeking{peeker, r}}
	case marks:
		return struct {
			*store
			cache.Marker
		}{s, marker}
	case peeks:
		return struct {
			*store
			peeking
		}{s, peeking{peeker, r}}
	}
	return s
}

type peeking struct {
	inner    cache.Peeker
	recorder *Recorder
}

// Peek implements [cache.Peeker].
func (p peeking) Peek(key cache.Key) (*cache.Object, bool) {
	obj, ok := p.inner.Peek(key)
	if ok {
		p.recorder.note(key)
	}
	return obj, ok
}

// Open implements [cache.Store].
func (s *store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := s.Store.Open(ctx, key)
	if err == nil {
		s.recorder.note(key)
	}
	return obj, err
}
