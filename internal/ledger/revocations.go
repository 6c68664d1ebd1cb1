package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// ErrNoRevocation is for an id that no revocation has.
var ErrNoRevocation = errors.New("there is no such revocation")

// CreateRevocation records a revocation and returns it as it is then. If the same thing is revoked already, that one stays as it is and
// is returned, which is no error. Its times are cut to milliseconds.
func (l *Ledger) CreateRevocation(ctx context.Context, r trust.Revocation) (trust.Revocation, error) {
	if err := r.Validate(); err != nil {
		return trust.Revocation{}, err
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	var recorded trust.Revocation
	err := l.transact(ctx, revocationsPart, func(tx *sql.Tx) error {
		same, err := queryRevocations(ctx, tx, `WHERE kind = $1 AND value = $2 AND workspace = $3 AND lifted IS NULL`,
			string(r.Kind), r.Value, string(r.Workspace))
		if err != nil {
			return err
		}
		if len(same) > 0 {
			recorded = same[0]
			return nil
		}
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO revocations (id, kind, value, workspace, reason, created, lifted) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			r.ID, string(r.Kind), r.Value, string(r.Workspace), r.Reason, millis(r.Created), millis(r.Lifted)); err != nil {
			return err
		}
		recorded = r
		recorded.Created, recorded.Lifted = instant(millis(r.Created)), instant(millis(r.Lifted))
		return l.note(ctx, tx, revocationEvent(audit.RevocationMade, &recorded))
	})
	return recorded, l.explain(ctx, err)
}

// Revocations implements [trust.Source]: all that ever were, oldest first.
func (l *Ledger) Revocations(ctx context.Context) ([]trust.Revocation, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	revocations, err := queryRevocations(ctx, l.db, `ORDER BY created, id`)
	return revocations, l.explain(ctx, err)
}

// LiftRevocation ends a revocation and returns it as it is then. One that was lifted before stays as it was, and that is no error.
// [ErrNoRevocation].
func (l *Ledger) LiftRevocation(ctx context.Context, id string, now time.Time) (trust.Revocation, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var r trust.Revocation
	err := l.transact(ctx, revocationsPart, func(tx *sql.Tx) error {
		found, err := queryRevocations(ctx, tx, `WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return ErrNoRevocation
		}
		if r = found[0]; !r.Lifted.IsZero() {
			return nil
		}
		r.Lifted = instant(millis(now))
		if _, err = tx.ExecContext(ctx, `UPDATE revocations SET lifted = $1 WHERE id = $2`, millis(r.Lifted), r.ID); err != nil {
			return err
		}
		return l.note(ctx, tx, revocationEvent(audit.RevocationLifted, &r))
	})
	if errors.Is(err, ErrNoRevocation) {
		return trust.Revocation{}, fmt.Errorf("%w: no revocation has the id %q", ErrNoRevocation, id)
	}
	return r, l.explain(ctx, err)
}

func revocationEvent(action audit.Action, r *trust.Revocation) audit.Event {
	details := audit.Details{"kind": string(r.Kind), "value": r.Value}
	if r.Reason != "" {
		details["reason"] = r.Reason
	}
	return audit.Event{Action: action, Subject: r.ID, Workspace: r.Workspace, Details: details}
}

func queryRevocations(ctx context.Context, q rowsQuerier, where string, args ...any) (revocations []trust.Revocation, err error) {
	rows, err := q.QueryContext(ctx, `SELECT id, kind, value, workspace, reason, created, lifted FROM revocations `+where, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var (
			r               trust.Revocation
			created, lifted sql.NullInt64
		)
		if err := rows.Scan(&r.ID, &r.Kind, &r.Value, &r.Workspace, &r.Reason, &created, &lifted); err != nil {
			return nil, err
		}
		r.Created, r.Lifted = instant(created), instant(lifted)
		revocations = append(revocations, r)
	}
	return revocations, rows.Err()
}
