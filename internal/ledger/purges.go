package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What purges answer beside trouble.
var (
	// ErrNoPurge is for an id that no purge has.
	ErrNoPurge = errors.New("there is no such purge")
	// ErrPurgeState is for what cannot be done with a purge in the state in which it is.
	ErrPurgeState = errors.New("the purge is in another state")
)

// PurgeState says how far a purge has come.
type PurgeState string

// The states of a purge. In all but Undoing and Undone it is in force: nothing that fits it is served.
const (
	// PurgeRunning takes entries into quarantine.
	PurgeRunning PurgeState = "running"
	// PurgeQuarantined has taken all that is known.
	PurgeQuarantined PurgeState = "quarantined"
	// PurgeUndoing brings entries back.
	PurgeUndoing PurgeState = "undoing"
	// PurgeUndone has brought back all whose keys were free.
	PurgeUndone PurgeState = "undone"
	// PurgeDiscarding deletes what is in quarantine.
	PurgeDiscarding PurgeState = "discarding"
	// PurgeDiscarded has deleted it.
	PurgeDiscarded PurgeState = "discarded"
)

// KeepPurges is how long a purge is in force, and remembered: as long as graves.
const KeepPurges = 400 * 24 * time.Hour

// Purge is an order to take away what fits a filter.
type Purge struct {
	ID    string
	State PurgeState
	// By says who ordered it, and Reason why, for people.
	By, Reason string
	// Filter says what it takes. Until is set: what is made later is another story.
	Filter Filter
	// Created is when it was ordered, Changed when its state changed last, Discard when what is in quarantine is deleted for good. They are cut to
	// milliseconds.
	Created, Changed, Discard time.Time
}

// InForce reports whether what fits the purge is not served.
func (p *Purge) InForce() bool { return p.State != PurgeUndoing && p.State != PurgeUndone }

const purgeColumns = `id, state, made_by, reason, workspace, scope, hash, run, token, actor, repository, ref, since, until, created, changed, discard`

// CreatePurge records a purge, which is in force from then on: at the latest when servers have asked for [Ledger.PurgesVersion] again.
func (l *Ledger) CreatePurge(ctx context.Context, p Purge) error {
	f := &p.Filter
	if f.Until.IsZero() {
		return errors.New("a purge has an end: it takes what was made before it was ordered")
	}
	if err := f.validate(); err != nil {
		return err
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return err // no server would see it
	}
	s := l.statements()
	since := sql.NullInt64{Int64: nanos(f.Since), Valid: !f.Since.IsZero()}
	return l.explain(ctx, l.transact(ctx, purgesPart, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO purges (`+purgeColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
			p.ID, string(p.State), s.text(p.By), s.text(p.Reason), string(f.Workspace), s.scope(f.Scope), string(f.Hash), f.Run, f.Token, f.Actor, f.Repository,
			f.Ref, since, nanos(f.Until), p.Created.UnixMilli(), p.Changed.UnixMilli(), p.Discard.UnixMilli())
		return err
	}))
}

// Purges returns all purges that are remembered, newest first.
func (l *Ledger) Purges(ctx context.Context) ([]Purge, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	purges, err := queryPurges(ctx, l.db, `ORDER BY created DESC, id DESC`)
	return purges, l.explain(ctx, err)
}

// FindPurge returns the purge with that id. [ErrNoPurge].
func (l *Ledger) FindPurge(ctx context.Context, id string) (Purge, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	p, err := findPurge(ctx, l.db, id)
	return p, l.explain(ctx, err)
}

func findPurge(ctx context.Context, q rowsQuerier, id string) (Purge, error) {
	found, err := queryPurges(ctx, q, `WHERE id = $1`, id)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%w: %q", ErrNoPurge, id)
	}
	if err != nil {
		return Purge{}, err
	}
	return found[0], nil
}

// PurgesVersion returns a number that is another one whenever [Ledger.PurgesInForce] would return something else, but for what time alone ends. It
// is cheap.
func (l *Ledger) PurgesVersion(ctx context.Context) (version int64, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return 0, err
	}
	err = l.db.QueryRowContext(ctx, `SELECT value FROM revisions WHERE name = 'purges'`).Scan(&version)
	return version, l.explain(ctx, err)
}

// PurgesInForce returns the purges that are in force, oldest first.
func (l *Ledger) PurgesInForce(ctx context.Context) ([]Purge, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	purges, err := queryPurges(ctx, l.db, `WHERE state NOT IN ($1, $2) AND created > $3 ORDER BY created, id`,
		string(PurgeUndoing), string(PurgeUndone), l.now().Add(-KeepPurges).UnixMilli())
	return purges, l.explain(ctx, err)
}

// MovePurge brings a purge into another state, if it is in one of those of from or in that one already, and returns it as it is then. [ErrNoPurge], or
// [ErrPurgeState] with the purge as it is.
func (l *Ledger) MovePurge(ctx context.Context, id string, to PurgeState, now time.Time, from ...PurgeState) (Purge, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return Purge{}, err
	}
	var p Purge
	err := l.transact(ctx, purgesPart, func(tx *sql.Tx) (err error) {
		if p, err = findPurge(ctx, tx, id); err != nil || p.State == to {
			return err
		}
		if !slices.Contains(from, p.State) {
			return fmt.Errorf("%w: purge %s is %s", ErrPurgeState, id, p.State)
		}
		p.State, p.Changed = to, time.UnixMilli(now.UnixMilli()).UTC()
		_, err = tx.ExecContext(ctx, `UPDATE purges SET state = $1, changed = $2 WHERE id = $3`, string(to), p.Changed.UnixMilli(), id)
		return err
	})
	return p, l.explain(ctx, err)
}

// ForgetPurges forgets purges that are in force no more because of their age, with what they took.
func (l *Ledger) ForgetPurges(ctx context.Context, now time.Time) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	before := now.Add(-KeepPurges).UnixMilli()
	return l.explain(ctx, l.transact(ctx, purgesPart, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM purged WHERE purge IN (SELECT id FROM purges WHERE created <= $1)`, before); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM purges WHERE created <= $1`, before)
		return err
	}))
}

func queryPurges(ctx context.Context, q rowsQuerier, where string, args ...any) (purges []Purge, err error) {
	rows, err := q.QueryContext(ctx, `SELECT `+purgeColumns+` FROM purges `+where, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var (
			p                         Purge
			since                     sql.NullInt64
			until                     int64
			created, changed, discard sql.NullInt64
		)
		f := &p.Filter
		if err := rows.Scan(&p.ID, &p.State, &p.By, &p.Reason, &f.Workspace, &f.Scope, &f.Hash, &f.Run, &f.Token, &f.Actor, &f.Repository, &f.Ref,
			&since, &until, &created, &changed, &discard); err != nil {
			return nil, err
		}
		if since.Valid {
			f.Since = time.Unix(0, since.Int64).UTC()
		}
		f.Until = time.Unix(0, until).UTC()
		p.Created, p.Changed, p.Discard = instant(created), instant(changed), instant(discard)
		purges = append(purges, p)
	}
	return purges, rows.Err()
}
