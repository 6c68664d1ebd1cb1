package divergence

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const (
	// interval is how often a server looks for what was recorded.
	interval = 3 * time.Second
	// leaseName and leaseTime: of several servers one compares. It renews its lease before each step, none of which takes as long.
	leaseName = "divergences"
	leaseTime = 3 * time.Minute
	// endTime bounds giving the lease up.
	endTime = 2 * time.Second
	// stepEntries bounds the entries of a step, and so how long a step keeps others from writing to the ledger.
	stepEntries = 500
	// comparisons bounds those between two steps over new entries.
	comparisons = 8
	// maxFailed bounds the comparisons that fail before the rest is left for later.
	maxFailed = 16
	// patience is how long the store may fail to give out an entry.
	patience = time.Hour
)

// Options of a [Watcher]. The zero value will do.
type Options struct {
	// Logger is told of each divergence, within bounds. Nil: nobody is.
	Logger *slog.Logger
	// Registerer takes the counter. Nil: nothing is counted.
	Registerer prometheus.Registerer
	// Now is the clock. Nil: [time.Now].
	Now func() time.Time
}

// Watcher finds divergences among the entries that the ledger knows, and compares what the store has of them.
type Watcher struct {
	ledger  Ledger
	store   cache.Store
	now     func() time.Time
	holder  string
	report  *report
	trouble atomic.Pointer[error]
}

// New makes a Watcher. Entries are read from store, which should neither redirect nor keep copies of what is read here.
func New(ledger Ledger, store cache.Store, options Options) *Watcher {
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Watcher{ledger: ledger, store: store, now: options.Now, holder: rand.Text(), report: newReport(&options)}
}

// Degraded is nil while divergences can be looked for. A divergence itself is an alarm and no trouble of the server's.
func (w *Watcher) Degraded() error {
	if err := w.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// Run looks every few seconds until ctx ends. Of any number of servers with one ledger, one does the work at a time.
func (w *Watcher) Run(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := w.Look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			err = fmt.Errorf("divergences are not looked for, they will be later: %w", err)
			w.trouble.Store(&err)
		default:
			w.trouble.Store(nil)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Look does what is to do now, unless another server is at it. After an error the rest is done by a later call.
func (w *Watcher) Look(ctx context.Context) error {
	due, err := w.ledger.DivergencesDue(ctx)
	if err != nil || !due {
		return err
	}
	held := false
	defer func() {
		if held {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
			defer cancel()
			_ = w.ledger.EndLease(end, leaseName, w.holder) // it ends by itself, later
		}
	}()
	renew := func() (bool, error) {
		held, err = w.ledger.Lease(ctx, leaseName, w.holder, leaseTime)
		return held, err
	}
	failed := make(map[int64]error)
	for {
		if ok, err := renew(); err != nil || !ok {
			return err
		}
		found, err := w.ledger.FindDivergences(ctx, stepEntries)
		if err != nil {
			return err
		}
		w.report.beyond(ctx, found.Beyond)
		progress, err := w.settle(ctx, renew, failed)
		if err != nil {
			return err
		}
		if !found.More && !progress {
			return errors.Join(slices.Collect(maps.Values(failed))...)
		}
	}
}

// settle compares a few of those that wait, but for those that failed, and says whether it did.
func (w *Watcher) settle(ctx context.Context, renew func() (bool, error), failed map[int64]error) (progress bool, err error) {
	if len(failed) >= maxFailed {
		return false, nil
	}
	pending, err := w.ledger.PendingDivergences(ctx, len(failed)+comparisons)
	if err != nil {
		return false, err
	}
	for i := range pending {
		d := &pending[i]
		if failed[d.ID] != nil {
			continue
		}
		if ok, err := renew(); err != nil || !ok {
			return false, err
		}
		c, err := compare(ctx, w.store, d)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil && w.now().Sub(d.Found) < patience:
			failed[d.ID] = fmt.Errorf("compare the entries of hash %s in workspace %s: %w", d.Hash, d.Workspace, err)
			continue
		case err != nil:
			c = Comparison{State: Unreadable, Note: "the store did not give the entries out: " + cut(err.Error())}
		}
		settled, first, err := w.ledger.SettleDivergence(ctx, d.ID, c)
		if err != nil {
			return false, err
		}
		progress = true
		if first {
			w.report.settled(ctx, &settled)
		}
	}
	return progress, nil
}
