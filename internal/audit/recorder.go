package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Sink is where events are appended. Its methods end when their context does.
type Sink interface {
	// AppendAudit appends all of the events or none, and returns the last row.
	AppendAudit(ctx context.Context, events []Event) (Head, error)
}

// Defaults of [Options].
const (
	DefaultQueue    = 16 << 10
	DefaultBatch    = 500
	DefaultInterval = 500 * time.Millisecond
)

const (
	// writeTimeout bounds one call of the sink.
	writeTimeout = 10 * time.Second
	// maxRetry bounds the wait between attempts while the sink fails. It begins with the interval and doubles.
	maxRetry = 10 * time.Second
)

// Options of a [Recorder].
type Options struct {
	// Replica names this server in each event.
	Replica string
	// Queue bounds the events that wait, each some hundreds of bytes. What comes when it is full is counted as lost. Zero: [DefaultQueue].
	Queue int
	// Batch bounds the events that are written at once. Zero: [DefaultBatch].
	Batch int
	// Interval is how long an event waits for others, unless they are enough for a batch. Zero: [DefaultInterval].
	Interval time.Duration
	// Logger is told when the sink begins to fail and when that is over, and of what is lost. Nil: nobody is.
	Logger *slog.Logger
	// Registerer takes the metrics. Nil: nothing is counted.
	Registerer prometheus.Registerer
	// Now is the clock of the events. Nil: [time.Now].
	Now func() time.Time
}

// Recorder writes events to a sink, in one goroutine, from [Start] until [Recorder.Close]. Who reports an event never waits for the sink.
type Recorder struct {
	sink    Sink
	opts    Options
	log     *slog.Logger
	metrics *metrics

	queue   chan *Event // of pointers, as most of it is empty most of the time
	closed  atomic.Bool
	closing chan struct{}
	done    chan struct{}
	abort   context.CancelFunc // ends what Close does not wait for any longer
	trouble atomic.Pointer[error]
	denials denials

	mu   sync.Mutex
	lost loss // since the sink was told of one
}

// loss is what was dropped.
type loss struct {
	events   int64
	from, to time.Time
}

func (l *loss) add(m loss) {
	if m.events == 0 {
		return
	}
	if l.events == 0 || m.from.Before(l.from) {
		l.from = m.from
	}
	if m.to.After(l.to) {
		l.to = m.to
	}
	l.events += m.events
}

// Start begins to write to the sink. The caller closes the Recorder before the sink.
func Start(sink Sink, options Options) *Recorder {
	if options.Now == nil {
		options.Now = time.Now
	}
	options.Queue = cmp.Or(options.Queue, DefaultQueue)
	options.Batch = cmp.Or(options.Batch, DefaultBatch)
	options.Interval = cmp.Or(options.Interval, DefaultInterval)
	r := &Recorder{
		sink: sink, opts: options, log: options.Logger,
		queue: make(chan *Event, options.Queue), closing: make(chan struct{}), done: make(chan struct{}),
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

// Note reports an event. Its time and its replica are set here. It never waits: an event for which there is no room is lost, which is itself on record later.
func (r *Recorder) Note(e Event) {
	e.Time, e.Replica = r.opts.Now(), r.opts.Replica
	r.enqueue(e)
}

func (r *Recorder) enqueue(e Event) {
	if !r.closed.Load() {
		select {
		case r.queue <- &e:
			return
		default:
		}
	}
	r.lose(loss{1, e.Time, e.Time})
}

func (r *Recorder) lose(l loss) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost.add(l)
	r.metrics.lost.Add(float64(l.events))
}

// takeLoss returns what was lost since it was called last.
func (r *Recorder) takeLoss() loss {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lost
	r.lost = loss{}
	return l
}

// Close writes what waits, as far as the sink takes it before ctx ends, and ends the goroutine. Its error says what is lost for good, and so does the log. It may
// be called more than once.
func (r *Recorder) Close(ctx context.Context) error {
	if !r.closed.Swap(true) {
		close(r.closing)
	}
	stop := context.AfterFunc(ctx, r.abort)
	defer stop()
	<-r.done
	r.abort()
	for len(r.queue) > 0 { // of those who reported while it was closed
		e := <-r.queue
		r.lose(loss{1, e.Time, e.Time})
	}
	l := r.takeLoss()
	if l.events == 0 {
		return nil
	}
	err := fmt.Errorf("%d events from %s to %s are not in the audit log, and never will be: %w", l.events, l.from.UTC().Format(time.RFC3339), l.to.UTC().Format(time.RFC3339), r.cause(ctx))
	r.log.Error("the server ends before it could write all that has to be on record", "events", l.events, "from", l.from, "to", l.to, "error", r.cause(ctx))
	return err
}

func (r *Recorder) cause(ctx context.Context) error {
	if err := r.trouble.Load(); err != nil {
		return *err
	}
	return cmp.Or(ctx.Err(), errors.New("it was too slow"))
}

// Degraded is nil while the sink takes what is written to it.
func (r *Recorder) Degraded() error {
	if err := r.trouble.Load(); err != nil {
		return *err
	}
	return nil
}
