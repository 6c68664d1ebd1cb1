// Package breaker keeps a store that fails from being asked by everybody: after repeated failures of an operation its circuit opens, and whoever
// asks is told at once. Probes find out when it works again.
//
// What a store answers when it is well is no failure: [cache.ErrNotExist], [cache.ErrExist], [cache.ErrDamaged]. Nor is a caller who gives up, unless
// he had waited for long without a sign of progress: then the store does not answer, whoever noticed it.
package breaker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Operations that have a circuit each. Bodies count for the operation that they belong to; to bring a whole entry to a bucket is to create it.
const (
	opOpen   = "open"
	opCreate = "create"
	opDelete = "delete"
	opList   = "list"
)

var ops = []string{opOpen, opCreate, opDelete, opList}

// Defaults of [Options].
const (
	DefaultFailures = 5
	DefaultProbe    = 5 * time.Second
	DefaultPatience = 5 * time.Second
)

// Options of a [Breaker].
type Options struct {
	// Failures is how many in a row open a circuit. Four times as many do within some minutes, if no more calls went well in that time. Zero:
	// [DefaultFailures].
	Failures int
	// Probe is the pause before an open circuit is tried, and between tries. Zero: [DefaultProbe].
	Probe time.Duration
	// Patience is for how long a store may be without an answer or a sign of progress ([cache.Progress]) until a caller who gives up counts as its
	// failure. It is to be less than callers wait. A probe waits twice as long. Zero: [DefaultPatience].
	Patience time.Duration
	// Registerer takes the metrics; a second Breaker in it is refused. Nil: nobody takes them.
	Registerer prometheus.Registerer
}

// Breaker has a circuit for each operation of one store. It is safe for concurrent use.
type Breaker struct {
	opts     Options
	circuits map[string]*circuit
	metrics  *metrics
	left     atomic.Int64 // calls that were left behind and have not returned
	workers  workers
}

// New makes a Breaker whose circuits are closed. [Breaker.Over] or [Breaker.OverRemote] is to be called once, and then [Breaker.Run].
func New(options Options) (*Breaker, error) {
	b := &Breaker{opts: options, circuits: make(map[string]*circuit)}
	b.opts.Failures = cmp.Or(options.Failures, DefaultFailures)
	b.opts.Probe = cmp.Or(options.Probe, DefaultProbe)
	b.opts.Patience = cmp.Or(options.Patience, DefaultPatience)
	for _, op := range ops {
		b.circuits[op] = newCircuit(op, b.opts)
	}
	var err error
	b.metrics, err = newMetrics(b, options.Registerer)
	return b, err
}

// Degraded says which operations are not tried now and why, or is nil.
func (b *Breaker) Degraded() error {
	var names []string
	var since time.Time
	var last error
	for _, op := range ops {
		began, err := b.circuits[op].trouble()
		if err == nil {
			continue
		}
		names = append(names, op)
		if last == nil || began.Before(since) {
			since, last = began, err
		}
	}
	if last == nil {
		return nil
	}
	return fmt.Errorf("the store fails since %s, and is left alone but for probes (%s): %w", since.UTC().Format(time.RFC3339), strings.Join(names, ", "), last)
}

// Run probes open circuits until ctx ends. Circuits that nothing can probe are tried by whoever asks.
func (b *Breaker) Run(ctx context.Context) {
	b.workers.begin()
	defer b.workers.end()
	var running sync.WaitGroup
	running.Go(func() { b.workers.trim(ctx) })
	for _, c := range b.circuits {
		if c.probe != nil {
			running.Go(func() { b.probe(ctx, c) })
		}
	}
	running.Wait()
}

// probe looks more often than it probes, so that a circuit does not wait for much longer than it has to.
func (b *Breaker) probe(ctx context.Context, c *circuit) {
	tick := time.NewTicker(max(b.opts.Probe/2, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !c.isOpen() {
			continue
		}
		done, err := c.cb.Allow()
		if err != nil {
			continue // it is too early
		}
		done = c.noting(done)
		trying, cancel := context.WithTimeout(ctx, 2*b.opts.Patience)
		call := b.begin(trying, done)
		call.end(c.probe(call.ctx))
		cancel()
	}
}

// call is an operation under way.
type call struct {
	ctx      context.Context //nolint:containedctx // under which the operation is done; the call lives as long
	done     func(error)
	patience time.Duration

	mu    sync.Mutex
	alive time.Time // of the last sign of progress
}

// allow begins an operation, unless its circuit is open. The caller uses the call's context, and ends it.
func (b *Breaker) allow(ctx context.Context, op string) (*call, error) {
	done, err := b.circuits[op].allow()
	if err != nil {
		b.metrics.refused.WithLabelValues(op).Inc()
		return nil, err
	}
	return b.begin(ctx, done), nil
}

// note tells a circuit of a verdict on what it has let through before, if it lets anything through now.
func (b *Breaker) note(op string, verdict error) {
	c := b.circuits[op]
	if done, err := c.cb.Allow(); err == nil {
		c.noting(done)(verdict)
	}
}

func (b *Breaker) begin(ctx context.Context, done func(error)) *call {
	c := &call{done: done, patience: b.opts.Patience, alive: time.Now()}
	c.ctx = cache.WithProgress(ctx, func() {
		c.moved()
		cache.Progress(ctx)
	})
	return c
}

// moved notes a sign of progress.
func (c *call) moved() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alive = time.Now()
}

// end tells the circuit what the operation came to. Its error is that of the operation.
func (c *call) end(err error) { c.done(c.verdict(err)) }

// errGivenUp stands for a call whose caller did not want its answer any more: it says nothing of the store.
var errGivenUp = errors.New("the caller gave up")

// verdict returns nil if the store is well, errGivenUp if nothing can be said, or its failure.
func (c *call) verdict(err error) error {
	c.mu.Lock()
	silent := time.Since(c.alive) >= c.patience
	c.mu.Unlock()
	switch {
	case err == nil, errors.Is(err, cache.ErrNotExist), errors.Is(err, cache.ErrExist), errors.Is(err, cache.ErrDamaged):
		return nil
	case c.ctx.Err() != nil && !silent:
		return errGivenUp
	}
	return err
}
