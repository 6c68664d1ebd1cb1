package retention

import (
	"context"
	"time"
)

// EndScope removes all entries of a scope that the ledger knows, however old or new, in small steps. progress is told how many are gone so far; nil: nobody
// is. Broken off, it can be called again. What is uploaded meanwhile may stay.
func EndScope(ctx context.Context, ledger Ledger, store Store, scope Scope, progress func(entries, bytes int64)) (Report, error) {
	r := remover{ledger: ledger, store: store}
	r.keep = func(context.Context) error {
		if progress != nil {
			progress(r.entries, r.bytes)
		}
		return nil
	}
	endless := time.Unix(1<<40, 0) // whatever a clock said of them, all were used before
	err := r.remove(ctx, &holding{Scope: scope}, Query{Order: ByUse, Before: endless}, everything, Ended)
	return r.report(), err
}
