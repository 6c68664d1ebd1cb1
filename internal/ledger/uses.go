package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust"
)

// pruneDelay is how long ids are kept after they are over: a clock that jumps ahead for a while must not let tokens be used again.
const pruneDelay = 24 * time.Hour

// pruneStep is how many used ids at most go with each that comes. It is more than one, so that those that are over become fewer, and
// few, so that no exchange waits for a great cleaning.
const pruneStep = 8

var _ trust.Uses = (*Ledger)(nil)

// UseOnce implements [trust.Uses]. Of any number of calls with one id, in any number of processes, one succeeds; the others are
// [trust.ErrReplayed]. An id is forgotten a day after until or later, with the calls that come then.
func (l *Ledger) UseOnce(ctx context.Context, id string, until time.Time) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return err // another process would not see it
	}
	digest := sha256.Sum256([]byte(id))
	err := l.transact(ctx, usesPart, func(tx *sql.Tx) error {
		// What is asked for goes in before what is over goes out: even one that is over is not taken twice here.
		if _, err := tx.ExecContext(ctx, `INSERT INTO used_identities (id, until) VALUES ($1, $2)`, digest[:], until.UnixMilli()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			DELETE FROM used_identities WHERE id IN (SELECT id FROM used_identities WHERE until < $1 AND id <> $2 ORDER BY until LIMIT $3)`,
			l.now().Add(-pruneDelay).UnixMilli(), digest[:], pruneStep)
		return err
	})
	if l.isDuplicate(err) {
		return fmt.Errorf("%w: a token is exchanged once; ask the CI for a new one", trust.ErrReplayed)
	}
	return l.explain(ctx, err)
}
