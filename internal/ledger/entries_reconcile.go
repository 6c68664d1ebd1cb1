package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const (
	// reconcileBatch is how many entries are held, and written at once.
	reconcileBatch = 500
	// reconcilePause bounds the wait after a write, which is as long as the write took: a server that writes at the same time gets its turn.
	reconcilePause = 200 * time.Millisecond
)

// ErrIncomplete says that a listing did not show all that the store has, so that nothing could be forgotten.
var ErrIncomplete = errors.New("the store could not be listed completely")

// Reconciled counts what [Ledger.Reconcile] found.
type Reconciled struct {
	// Listed counts the entries that the store has and would serve.
	Listed int64 `json:"listed"`
	// Added, Corrected and Forgotten count what the ledger did not know, what it knew wrongly, and what it knew although the store has it no more.
	Added     int64 `json:"added"`
	Corrected int64 `json:"corrected"`
	Forgotten int64 `json:"forgotten"`
	// Unfit counts the entries that are there and may not be served. What is known of them stays.
	Unfit int64 `json:"unfit"`
	// Errors counts what the listing failed at beside.
	Errors int64 `json:"errors"`
}

// ReconcileOptions say how to reconcile. The zero value will do.
type ReconcileOptions struct {
	// DryRun counts and changes nothing.
	DryRun bool
	// Report is told of each error of the listing, with the key of the entry that it is about, if it is about one. Nil: nobody is.
	Report func(key cache.Key, err error)
}

// Reconcile makes what is known of entries what the listing of a store has, of all workspaces. It adds, corrects and forgets in small steps, holds
// a bit for each entry that the ledger ever had and little else, and may run while servers record: what they record meanwhile counts more
// than the listing. An entry that is deleted in the moment between being listed and being written here is known until the next time.
//
// An error that the listing yields with a key is about an entry that may not be served: nothing is recorded of it. One without, but for [cache.ErrDamaged],
// hides entries: then nothing is forgotten, and in the end it is [ErrIncomplete].
func (l *Ledger) Reconcile(ctx context.Context, listing iter.Seq2[cache.Entry, error], options ReconcileOptions) (Reconciled, error) {
	r := reconciler{ledger: l, options: options}
	if err := r.begin(ctx); err != nil {
		return r.counts, l.explain(ctx, err)
	}
	var batch []cache.Entry
	for entry, err := range listing {
		if ctx.Err() != nil {
			return r.counts, ctx.Err()
		}
		if err == nil {
			batch = append(batch, entry)
		} else if err := r.failed(ctx, entry.Key, err); err != nil {
			return r.counts, err
		}
		if len(batch) == reconcileBatch {
			if err := r.settle(ctx, batch); err != nil {
				return r.counts, err
			}
			batch = batch[:0]
		}
	}
	if ctx.Err() != nil {
		return r.counts, ctx.Err() // a listing may end early without a word
	}
	if err := r.settle(ctx, batch); err != nil {
		return r.counts, err
	}
	if r.incomplete != nil {
		return r.counts, fmt.Errorf("%w, so nothing was forgotten: %w", ErrIncomplete, r.incomplete)
	}
	return r.counts, r.forgetOthers(ctx)
}

type reconciler struct {
	ledger     *Ledger
	options    ReconcileOptions
	counts     Reconciled
	last       int64 // the id of what was recorded last before the listing began
	there      bits  // ids up to last of entries that were listed
	incomplete error
}

func (r *reconciler) begin(ctx context.Context) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := r.ledger.inPlace(); err != nil {
		return err
	}
	return r.ledger.db.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM entries`).Scan(&r.last)
}

// failed deals with an error of the listing.
func (r *reconciler) failed(ctx context.Context, key cache.Key, failure error) error {
	if r.options.Report != nil {
		r.options.Report(key, failure)
	}
	if key == (cache.Key{}) {
		r.counts.Errors++
		if !errors.Is(failure, cache.ErrDamaged) && r.incomplete == nil {
			r.incomplete = failure
		}
		return nil
	}
	r.counts.Unfit++
	known, err := r.look(ctx, []cache.Entry{{Key: key}})
	if err == nil && known[0].id != 0 {
		r.keep(known[0].id)
	}
	return err
}

func (r *reconciler) keep(id int64) {
	if id <= r.last {
		r.there.set(id)
	}
}

// settle compares listed entries with what is known of them, and writes what differs.
func (r *reconciler) settle(ctx context.Context, listed []cache.Entry) error {
	r.counts.Listed += int64(len(listed))
	if len(listed) == 0 {
		return nil
	}
	rows, err := newEntryRows(listed)
	if err != nil {
		return err
	}
	known, err := r.look(ctx, listed)
	if err != nil {
		return err
	}
	var differ []int
	for i := range listed {
		r.keep(known[i].id)
		if r.judge(&known[i], &rows[i]) != same {
			differ = append(differ, i)
		}
	}
	if r.options.DryRun || len(differ) == 0 {
		for _, i := range differ {
			r.count(r.judge(&known[i], &rows[i]))
		}
		return nil
	}
	return r.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		find, err := tx.PrepareContext(ctx, knownQuery)
		if err != nil {
			return err
		}
		defer func() { _ = find.Close() }()
		w, err := newRecorder(ctx, tx, r.ledger.statements(), r.ledger.now())
		if err != nil {
			return err
		}
		defer w.close()
		for _, i := range differ {
			// Once more, now that nobody else can write.
			now, err := r.ledger.findEntry(ctx, find, listed[i].Key)
			if err != nil {
				return err
			}
			verdict := r.judge(&now, &rows[i])
			if verdict == same {
				continue
			}
			if err := w.record(ctx, listed[i].Key, &rows[i]); err != nil {
				return err
			}
			r.count(verdict)
		}
		return w.finish(ctx)
	})
}

type verdict int

const (
	same verdict = iota
	unknown
	different
)

// judge compares what is known with what was listed. What was recorded since the listing began is newer.
func (r *reconciler) judge(known *knownEntry, listed *entryRow) verdict {
	switch {
	case known.id == 0:
		return unknown
	case known.id > r.last, known.is(listed):
		return same
	}
	return different
}

func (r *reconciler) count(v verdict) {
	switch v {
	case unknown:
		r.counts.Added++
	case different:
		r.counts.Corrected++
	}
}
