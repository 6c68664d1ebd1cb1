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
	// Replica names the server in what is noted of its runs.
	Replica string
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
	asked   chan *begun   // by [Runner.Ask]
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
	r := &Runner{opts: options, log: options.Logger, metrics: newMetrics(options.Registerer), holder: rand.Text(), full: make(chan struct{}, 1), asked: make(chan *begun, 1)}
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
	// By says who asks for it, for people; empty: nobody does.
	By string
	// Done is told in the place of that of [Options]. Nil: that one is.
	Done func(context.Context, Report)
	// lately is how long ago a look of another server may be so that there is no need of this one.
	lately time.Duration
}

// Look looks at the store once and removes what is beyond its bounds. [ErrBusy], if somebody else does. After any other error the report has what went before.
func (r *Runner) Look(ctx context.Context, request Request) (Report, error) {
	if request.DryRun {
		s, err := readState(ctx, r.opts.Ledger)
		if err != nil {
			return Report{}, err
		}
		return r.look(ctx, request, s.next(r.opts.Now()), nil)
	}
	b, err := r.begin(ctx, request)
	if err != nil {
		return Report{}, err
	}
	return b.finish(ctx)
}

// look goes through the store. Before each step keep, if there is one, is asked whether to go on; report tells it how far the look is.
func (r *Runner) look(ctx context.Context, request Request, s state, keep func(ctx context.Context, report func() Report) error) (Report, error) {
	p := &pass{
		remover:   remover{ledger: r.opts.Ledger, store: r.opts.Store, dryRun: request.DryRun},
		limits:    r.opts.Limits,
		disk:      r.opts.Disk,
		workspace: request.Workspace,
		now:       time.Unix(s.Seen, 0),
		since:     time.Unix(s.Since, 0),
		ages:      s.settled().IsZero(),
	}
	if keep != nil {
		p.keep = func(ctx context.Context) error { return keep(ctx, p.report) }
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

// joined is the first error, with the second one if there is that, too.
func joined(err, another error) error {
	if another == nil {
		return err
	}
	return errors.Join(err, another)
}

// end gives it up, also when ctx is over.
func (l *lease) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return l.ledger.EndLease(ctx, leaseName, l.holder)
}
