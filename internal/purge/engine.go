package purge

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

const (
	// batch is how many entries are noted, and worked on, at once: few enough for a database that is busy. There are so many workers.
	batch   = 100
	workers = 16
	// settleWait is how long an undoing waits until all servers have heard of it: one that had not would put away anew what is back.
	settleWait = 2 * time.Second
)

// Engine moves the entries of purges. Each of its steps may be broken off and done again, by another server or command.
type Engine struct {
	records Records
	store   cache.Quarantiner
	holder  string
	now     func() time.Time
	metrics *Metrics
}

// NewEngine makes an engine over the storage that all servers share, without tier and spool. The holder names this process among all.
func NewEngine(records Records, store cache.Quarantiner, holder string, metrics *Metrics, now func() time.Time) *Engine {
	return &Engine{records: records, store: store, holder: holder, metrics: metrics, now: now}
}

// Work brings a purge as far as its state says: into quarantine, back, or to its end. It waits until nobody else is at it. Entries that could not be moved stay
// to be moved, for the next one who works on it; the error says why.
func (e *Engine) Work(ctx context.Context, id string) error {
	return e.hold(ctx, id, true, func(ctx context.Context) error { return e.work(ctx, id) })
}

func (e *Engine) work(ctx context.Context, id string) error {
	p, err := e.records.FindPurge(ctx, id)
	if err != nil {
		return err
	}
	switch p.State {
	case ledger.PurgeRunning, ledger.PurgeQuarantined:
		return e.collect(ctx, &p)
	case ledger.PurgeUndoing, ledger.PurgeUndone:
		return e.restore(ctx, &p)
	default:
		return e.discard(ctx, &p)
	}
}

// Take notes entries of a listing of the store, whose seals are verified, that fit a purge and that the ledger may not know. It returns how many there are. An error
// that the listing yields does not end it and is returned in the end.
func (e *Engine) Take(ctx context.Context, p *ledger.Purge, listing iter.Seq2[cache.Entry, error]) (int64, error) {
	var taken int64
	var failed error
	found := make([]ledger.PurgedEntry, 0, batch)
	note := func() error {
		taken += int64(len(found))
		err := e.records.TakePurged(ctx, p.ID, found)
		found = found[:0]
		return err
	}
	for entry, err := range listing {
		switch {
		case ctx.Err() != nil:
			return taken, ctx.Err()
		case err != nil && failed == nil:
			failed = err
		case err == nil && p.Filter.Match(&entry):
			if found = append(found, purgedEntry(entry, ledger.PurgedFound)); len(found) < batch {
				continue
			}
			if err := note(); err != nil {
				return taken, err
			}
		}
	}
	if err := errors.Join(note(), ctx.Err()); err != nil {
		return taken, err // a listing may end early without a word
	}
	return taken, failed
}

// collect takes what the ledger knows, until it knows no more, and moves it.
func (e *Engine) collect(ctx context.Context, p *ledger.Purge) error {
	for {
		entries, _, err := e.records.Entries(ctx, p.Filter, "", batch)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			break
		}
		found := make([]ledger.PurgedEntry, len(entries))
		for i := range entries {
			found[i] = purgedEntry(entries[i], ledger.PurgedFound)
		}
		if err := e.records.TakePurged(ctx, p.ID, found); err != nil { // which makes the ledger forget them
			return err
		}
	}
	if err := e.each(ctx, p, ledger.PurgedFound, "quarantined", e.quarantine); err != nil {
		return err
	}
	if p.State != ledger.PurgeRunning {
		return nil
	}
	_, err := e.records.MovePurge(ctx, p.ID, ledger.PurgeQuarantined, e.now(), ledger.PurgeRunning)
	return err
}

func (e *Engine) quarantine(ctx context.Context, entry *ledger.PurgedEntry) (ledger.PurgedState, error) {
	err := e.store.Quarantine(ctx, nameOf(entry.ID), entry.Entry)
	if errors.Is(err, cache.ErrNotExist) {
		return ledger.PurgedAbsent, nil
	}
	return ledger.PurgedHeld, err
}

func (e *Engine) restore(ctx context.Context, p *ledger.Purge) error {
	if p.State == ledger.PurgeUndoing {
		if err := wait(ctx, settleWait); err != nil {
			return err
		}
	}
	for _, state := range []ledger.PurgedState{ledger.PurgedFound, ledger.PurgedHeld, ledger.PurgedOccupied} {
		if state == ledger.PurgedOccupied && p.State == ledger.PurgeUndone {
			break // it was tried, and somebody has to ask for it again
		}
		err := e.each(ctx, p, state, "restored", func(ctx context.Context, entry *ledger.PurgedEntry) (ledger.PurgedState, error) {
			err := e.store.Restore(ctx, nameOf(entry.ID), entry.Entry)
			switch {
			case errors.Is(err, cache.ErrExist):
				return ledger.PurgedOccupied, nil
			case errors.Is(err, cache.ErrNotExist):
				return ledger.PurgedAbsent, nil
			}
			return ledger.PurgedRestored, err
		})
		if err != nil {
			return err
		}
	}
	if p.State == ledger.PurgeUndone {
		return nil
	}
	_, err := e.records.MovePurge(ctx, p.ID, ledger.PurgeUndone, e.now(), ledger.PurgeUndoing)
	return err
}

func (e *Engine) discard(ctx context.Context, p *ledger.Purge) error {
	if err := e.collect(ctx, p); err != nil {
		return err
	}
	for _, state := range []ledger.PurgedState{ledger.PurgedHeld, ledger.PurgedOccupied} {
		if err := e.empty(ctx, p, state); err != nil {
			return err
		}
	}
	if p.State == ledger.PurgeDiscarded {
		return nil
	}
	_, err := e.records.MovePurge(ctx, p.ID, ledger.PurgeDiscarded, e.now(), ledger.PurgeDiscarding)
	return err
}

// empty deletes from quarantine what is in a state.
func (e *Engine) empty(ctx context.Context, p *ledger.Purge, state ledger.PurgedState) error {
	return e.each(ctx, p, state, "discarded", func(ctx context.Context, entry *ledger.PurgedEntry) (ledger.PurgedState, error) {
		return ledger.PurgedDiscarded, e.store.Discard(ctx, nameOf(entry.ID))
	})
}

// each does something with all entries of a purge that are in a state, and notes the state that they are in then. One that fails does not keep the others.
func (e *Engine) each(ctx context.Context, p *ledger.Purge, state ledger.PurgedState, result string,
	do func(context.Context, *ledger.PurgedEntry) (ledger.PurgedState, error),
) error {
	var (
		after  [16]byte
		failed int
		first  error
	)
	for {
		entries, err := e.records.Purged(ctx, p.ID, state, after, batch)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			break
		}
		after = entries[len(entries)-1].ID
		var (
			mu    sync.Mutex
			done  []ledger.PurgedEntry
			group errgroup.Group
		)
		group.SetLimit(workers)
		for i := range entries {
			group.Go(func() error {
				to, err := do(ctx, &entries[i])
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					if failed++; first == nil {
						first = err
					}
					e.metrics.entries.WithLabelValues("failed").Inc()
					return nil
				}
				if entries[i].State = to; to != state {
					done = append(done, entries[i])
				}
				return nil
			})
		}
		_ = group.Wait() // the errors are counted
		if err := e.records.MarkPurged(ctx, p.ID, done); err != nil {
			return err
		}
		e.metrics.entries.WithLabelValues(result).Add(float64(len(done)))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d entries could not be moved, and are tried again by servers or by the next 'bezoar purge resume %s': %w", failed, p.ID, first)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
