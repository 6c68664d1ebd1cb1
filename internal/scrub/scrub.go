// Package scrub reads what is stored, slowly and in the background, so that what the storage has damaged is found before a build asks for it.
//
// Each entry is opened, which judges its record and its seal, and its body is held against the SHA-256 of the record. What is not as it was
// stored is set aside as for a request: the key is free, and a build makes the entry anew. A pass over all of it goes at a bounded rate, goes on
// after a restart from about where it was, and begins no sooner than an interval after the one before. The position is a note in the storage itself, so
// that of several servers whichever has the lease goes on with the pass.
package scrub

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const (
	// startDelay keeps a scrub away from the start of a server, when there is enough to do.
	startDelay = time.Minute
	// saveEvery is how much of a pass is done again after a crash.
	saveEvery = 5 * time.Minute
	// saveWait bounds the writing of the position, also at the end of the server.
	saveWait = 2 * time.Second
	// leaseTime is for how long a lease is taken, and leaseEvery how often it is asked for.
	leaseTime, leaseEvery = 5 * time.Minute, time.Minute
	// stall bounds the wait for the storage's next sign of life.
	stall = 2 * time.Minute
	// longest bounds a wait for the next pass, so that a clock that was set is seen.
	longest = time.Hour
	// firstRetry and lastRetry bound the pause after trouble; it doubles.
	firstRetry, lastRetry = time.Minute, time.Hour
	// patience is how often trouble at one place ends a turn. After that the scrub goes past it.
	patience = 3
	// inRow is how many entries in a row that cannot be read are trouble of the storage rather than theirs.
	inRow = 16
)

// Opener is the part of a [cache.Store] that is needed.
type Opener interface {
	// Open should leave the check of the body to the scrub.
	Open(ctx context.Context, key cache.Key) (*cache.Object, error)
}

// Options of a [Scrubber].
type Options struct {
	// Walker says what there is.
	Walker cache.Walker
	// Store opens it. Objects come with SetAside, or delete what is damaged themselves.
	Store Opener
	// Marks keeps the position.
	Marks cache.Marker
	// Lease asks whether this server may scrub for so long. Nil: nobody else does.
	Lease func(ctx context.Context, ttl time.Duration) (bool, error)
	// Rate bounds the bytes that are read in a second. It must be positive.
	Rate int64
	// Every is the least time from the beginning of one pass to that of the next.
	Every time.Duration
	// Logger is told of damage and of trouble. Nil: nobody is.
	Logger *slog.Logger
	// Registerer takes the metrics. Nil: nobody takes them.
	Registerer prometheus.Registerer
	// Now is the clock of passes. Nil: [time.Now].
	Now func() time.Time
}

// Scrubber reads what is stored. [Scrubber.Run] does the work.
type Scrubber struct {
	opts    Options
	log     *slog.Logger
	metrics *metrics
	health  health
	pace    pace

	failures int // turns in a row that came to nothing
	troubles int // what was noted, so far
}

// New makes a scrubber.
func New(options Options) *Scrubber {
	s := &Scrubber{opts: options, log: cmp.Or(options.Logger, slog.New(slog.DiscardHandler)), pace: pace{rate: max(1, options.Rate)}}
	if s.opts.Now == nil {
		s.opts.Now = time.Now
	}
	s.health.now = s.opts.Now
	s.metrics = newMetrics(options.Registerer)
	return s
}

// Degraded says that damage was found of late, or that the storage cannot be read; nil if all is well.
func (s *Scrubber) Degraded() error { return s.health.state() }

// Run scrubs until ctx ends, and ends soon after it.
func (s *Scrubber) Run(ctx context.Context) {
	for wait := startDelay; sleep(ctx, wait); {
		wait = s.turn(ctx)
	}
}

// turn does what there is to do now and returns when to look again.
func (s *Scrubber) turn(ctx context.Context) (wait time.Duration) {
	if held, err := s.leased(ctx); err != nil || !held {
		return leaseEvery // another server is at it; or that cannot be told, which the ledger's own cause tells
	}
	at, err := s.load(ctx)
	if err != nil {
		return s.retry(ctx, err, false)
	}
	now := s.opts.Now()
	if at.Position == "" {
		// One that seems to have begun in the future was noted by another clock.
		if left := at.Begun.Add(s.opts.Every).Sub(now); left > 0 && !at.Begun.After(now) {
			return min(left, longest)
		}
		at = position{Begun: now.UTC()}
	}
	from, before := at.Position, s.troubles
	complete, err := s.pass(ctx, &at)
	if errors.Is(err, errLost) {
		return leaseEvery
	}
	if complete {
		at.Position, at.Ended = "", s.opts.Now().UTC()
		s.metrics.completed.Set(float64(at.Ended.Unix()))
		s.log.Info("the scrub has read all that is stored", "began", at.Begun)
	}
	s.save(ctx, at)
	if err != nil {
		return s.retry(ctx, err, at.Position != from)
	}
	if s.failures = 0; s.troubles == before {
		s.health.well()
	}
	return leaseEvery
}

// retry takes note of trouble that ended a turn.
func (s *Scrubber) retry(ctx context.Context, err error, moved bool) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	if moved {
		s.failures = 0
	}
	s.trouble("the scrub cannot read what is stored; it tries again", err)
	wait := min(firstRetry<<min(s.failures, 16), lastRetry)
	s.failures++
	return wait
}

func (s *Scrubber) trouble(what string, err error) {
	s.troubles++
	if s.health.failed(err) {
		s.log.Warn(what, "error", err)
	}
}

func (s *Scrubber) leased(ctx context.Context) (bool, error) {
	if s.opts.Lease == nil {
		return true, nil
	}
	return s.opts.Lease(ctx, leaseTime)
}

// sleep returns false if ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
