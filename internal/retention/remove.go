package retention

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const (
	// everything is more than any scope holds.
	everything = math.MaxInt64
	// step is how many entries are chosen and deleted at once.
	step = 250
	// stepTimeout bounds one step: a store that takes longer is in trouble.
	stepTimeout = 2 * time.Minute
	// maxFailures is after how many entries that could not be deleted a look ends: the store is in trouble.
	maxFailures = 100
	// maxPause bounds the wait after a step, which is half as long as the step took: requests and other writers have their turn.
	maxPause = 500 * time.Millisecond
)

// remover takes entries away in small steps.
type remover struct {
	ledger Ledger
	store  Store
	dryRun bool
	// keep is asked before each step whether to go on, such as for a lease.
	keep func(context.Context) error
	// each is told of each entry that went, or would go. Nil: nobody is.
	each func(Entry, Reason)

	chosen         map[int64]struct{} // those that are chosen and still known to the ledger: not again
	tally          tally
	entries, bytes int64
	other, failed  int64
}

// turn lets others have theirs.
func (r *remover) turn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.keep == nil {
		return nil
	}
	return r.keep(ctx)
}

// remove takes entries that the query finds, until need bytes went or there are no more. An entry that cannot be deleted counts as gone: no other one goes in
// its place.
func (r *remover) remove(ctx context.Context, h *holding, q Query, need int64, reason Reason) error {
	q.Scope, q.Limit = h.ID, step
	for need > 0 {
		if err := r.turn(ctx); err != nil {
			return err
		}
		began := time.Now()
		page, err := r.ledger.Coldest(ctx, q)
		if err != nil {
			return fmt.Errorf("choose entries of the scope %s of %s: %w", h.Scope.Scope, h.Workspace, err)
		}
		var batch []Entry
		for _, e := range page {
			if _, chosen := r.chosen[e.ID]; chosen {
				continue
			}
			if need <= 0 {
				break
			}
			batch = append(batch, e)
			need -= e.Size
			h.Bytes -= e.Size
			h.Entries--
		}
		if err := r.take(ctx, batch, reason); err != nil {
			return err
		}
		if len(page) < step {
			return nil
		}
		q.After = &page[len(page)-1]
		if !r.dryRun {
			rest(ctx, min(time.Since(began)/2, maxPause))
		}
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// take deletes a batch and has the ledger forget it.
func (r *remover) take(ctx context.Context, batch []Entry, reason Reason) error {
	if len(batch) == 0 {
		return nil
	}
	if r.dryRun {
		for _, e := range batch {
			r.choose(e.ID)
			r.went(e, reason)
		}
		return nil
	}
	within, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	entries := make([]cache.Entry, len(batch))
	for i, e := range batch {
		entries[i] = cache.Entry{Key: e.Key, Record: cache.Record{Size: e.Size, Created: e.Created, Seal: e.Seal}}
	}
	var gone []int64
	var trouble error
	for i, err := range r.store.DeleteExactly(within, entries) {
		switch e := batch[i]; {
		case err == nil:
			gone = append(gone, e.ID)
			r.went(e, reason)
		case errors.Is(err, cache.ErrNotExist):
			gone = append(gone, e.ID)
		case errors.Is(err, cache.ErrOther):
			r.choose(e.ID)
			r.other++
		default:
			r.choose(e.ID)
			r.failed++
			trouble = err
		}
	}
	if err := r.ledger.ForgetByID(within, gone); err != nil {
		return fmt.Errorf("forget what was deleted: %w", err)
	}
	if within.Err() != nil || r.failed >= maxFailures {
		return fmt.Errorf("delete entries: %w", errors.Join(ctx.Err(), trouble))
	}
	return nil
}

func (r *remover) choose(id int64) {
	if r.chosen == nil {
		r.chosen = make(map[int64]struct{})
	}
	r.chosen[id] = struct{}{}
}

func (r *remover) went(e Entry, reason Reason) {
	r.tally.add(e.Key, reason, e.Size)
	r.entries++
	r.bytes += e.Size
	if r.each != nil {
		r.each(e, reason)
	}
}

// report says what went.
func (r *remover) report() Report {
	return Report{Lines: r.tally.sorted(), Entries: r.entries, Bytes: r.bytes, Other: r.other, Failed: r.failed}
}
