package retention

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// ErrBusy says that another server, or a command, is at it.
var ErrBusy = errors.New("another server is removing entries of this store right now")

// Defaults of [Options].
const (
	DefaultInterval = 10 * time.Minute
	DefaultDelay    = time.Minute
)

const (
	leaseName = "retention"
	// leaseTime is for how long a server that died keeps others from going on in its place. A step is shorter.
	leaseTime = 5 * time.Minute
	leaseKeep = time.Minute // how often it is prolonged
	// lookInterval is how often the room on the disk is looked at.
	lookInterval = 15 * time.Second
	// earliest is how soon after a look the next one may be that a full disk asks for; it is no sooner than ten times as long as the look took.
	earliest = time.Minute
	// ledgerTimeout bounds each call of the ledger that is about the lease or the state.
	ledgerTimeout = 10 * time.Second
)

// Options of a [Runner].
type Options struct {
	Ledger Ledger
	Store  Store
	// Limits are those in force for a workspace: the zero value for one that nobody knows. It is asked anew for each look. Nil: there are none.
	Limits func(cache.Workspace) Limits
	Disk   Disk
	// Interval is how often [Runner.Run] looks, Delay how long it waits for the first look. Zero: [DefaultInterval], [DefaultDelay].
	Interval, Delay time.Duration
	// Done is told of each look that removed something, at its end. Nil: nobody is.
	Done func(context.Context, Report)
	// Logger is told of what went, and of trouble. Nil: nobody is.
	Logger *slog.Logger
	// Registerer takes the metrics. Nil: nothing is counted.
	Registerer prometheus.Registerer
	// Now is the clock. Nil: [time.Now].
	Now func() time.Time
}

// Runner keeps a store within its bounds. Of any number of them over one ledger, one works at a time.
type Runner struct {
	opts    Options
	log     *slog.Logger
	metrics *metrics
	holder  string
	full    chan struct{} // somebody saw a full disk
	trouble atomic.Pointer[error]
	looking sync.Mutex // held while this one removes: a lease does not tell its holder's hands apart
}

// New makes a Runner, which does nothing by itself before [Runner.Run].
func New(options Options) *Runner {
	options.Interval = cmp.Or(options.Interval, DefaultInterval)
	options.Delay = cmp.Or(options.Delay, DefaultDelay)
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Limits == nil {
		options.Limits = func(cache.Workspace) Limits { return Limits{} }
	}
	r := &Runner{opts: options, log: options.Logger, metrics: newMetrics(options.Registerer), holder: rand.Text(), full: make(chan struct{}, 1)}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	return r
}

// Request says what a look is to do.
type Request struct {
	// DryRun tells what would go and leaves it.
	DryRun bool
	// Workspace is the only one to look at, without the bound for the disk; empty: all.
	Workspace cache.Workspace
	// Each is told of each entry. Nil: nobody is.
	Each func(Entry, Reason)
	// lately is how long ago a look of another server may be so that there is no need of this one.
	lately time.Duration
}

// Look looks at the store once and removes what is beyond its bounds. [ErrBusy], if somebody else does. After any other error the report has what went before.
func (r *Runner) Look(ctx context.Context, request Request) (report Report, err error) {
	if request.DryRun {
		s, err := readState(ctx, r.opts.Ledger)
		if err != nil {
			return Report{}, err
		}
		return r.look(ctx, request, s.next(r.opts.Now()), nil)
	}
	if !r.looking.TryLock() {
		return Report{}, ErrBusy
	}
	defer r.looking.Unlock()
	lease := &lease{ledger: r.opts.Ledger, holder: r.holder}
	if err := lease.take(ctx); err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, lease.end(ctx)) }()
	s, err := readState(ctx, r.opts.Ledger)
	if err != nil {
		return Report{}, err
	}
	now := r.opts.Now()
	if ago := now.Sub(time.Unix(s.Seen, 0)); request.lately > 0 && ago >= 0 && ago < request.lately {
		return Report{}, ErrBusy
	}
	s = s.next(now)
	// Before anything goes: a look that is broken off was one, and a gap is a gap for all later looks.
	if err := writeState(ctx, r.opts.Ledger, s); err != nil {
		return Report{}, err
	}
	report, err = r.look(ctx, request, s, lease.keep)
	if r.opts.Done != nil && report.Entries > 0 {
		r.opts.Done(ctx, report)
	}
	return report, err
}

func (r *Runner) look(ctx context.Context, request Request, s state, keep func(context.Context) error) (Report, error) {
	p := &pass{
		remover:   remover{ledger: r.opts.Ledger, store: r.opts.Store, dryRun: request.DryRun, keep: keep},
		limits:    r.opts.Limits,
		disk:      r.opts.Disk,
		workspace: request.Workspace,
		now:       time.Unix(s.Seen, 0),
		since:     time.Unix(s.Since, 0),
		ages:      s.settled().IsZero(),
	}
	p.each = func(e Entry, reason Reason) {
		if !request.DryRun {
			r.metrics.went(e, reason)
		}
		if request.Each != nil {
			request.Each(e, reason)
		}
	}
	err := p.run(ctx)
	report := p.report()
	report.Lacking = p.lacking
	if p.waited {
		report.AgesWait = s.settled()
	}
	return report, err
}

// lease is the right to remove entries, which one has at a time.
type lease struct {
	ledger Ledger
	holder string
	kept   time.Time
}

func (l *lease) take(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	held, err := l.ledger.Lease(ctx, leaseName, l.holder, leaseTime)
	if err != nil {
		return fmt.Errorf("ask for the turn to remove entries: %w", err)
	}
	if !held {
		return ErrBusy
	}
	l.kept = time.Now()
	return nil
}

// keep prolongs it when it is time to.
func (l *lease) keep(ctx context.Context) error {
	if time.Since(l.kept) < leaseKeep {
		return nil
	}
	return l.take(ctx)
}

// end gives it up, also when ctx is over.
func (l *lease) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return l.ledger.EndLease(ctx, leaseName, l.holder)
}
