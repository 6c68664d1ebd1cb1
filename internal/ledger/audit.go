package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
)

// auditChunk is how many rows one statement brings.
const auditChunk = 50

// By returns the same ledger for somebody: what is changed through it, such as tokens, is on record as done by the actor, on that replica. Without it,
// nobody knows by whom.
func (l *Ledger) By(actor audit.Actor, replica string) *Ledger {
	by := *l
	by.actor, by.replica = actor, replica
	return &by
}

// AppendAudit puts events behind the others, in their order, all of them or none. Those of several processes come one after the other. It returns the
// last row that there is then.
func (l *Ledger) AppendAudit(ctx context.Context, events []audit.Event) (head audit.Head, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return head, err // nobody else would see them
	}
	err = l.transact(ctx, auditPart, func(tx *sql.Tx) error {
		head, err = l.appendLocked(ctx, tx, events)
		return err
	})
	return head, l.explain(ctx, err)
}

// Note puts an event on record at once, as done by whom the ledger is for ([Ledger.By]): for what somebody did at a command that changed nothing else in the
// ledger. Its actor, its replica and, if it has none, its time are set here.
func (l *Ledger) Note(ctx context.Context, e audit.Event) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return err
	}
	return l.explain(ctx, l.transact(ctx, auditPart, func(tx *sql.Tx) error { return l.note(ctx, tx, e) }))
}

// note puts an event behind the others in the transaction of what it tells of, as its last step: whoever appends waits until it ends.
func (l *Ledger) note(ctx context.Context, tx *sql.Tx, e audit.Event) error {
	if err := l.lock(ctx, tx, auditPart); err != nil {
		return err
	}
	if e.Time.IsZero() {
		e.Time = l.now()
	}
	e.Actor, e.Replica = l.actor, l.replica
	if e.Actor.Kind == "" {
		e.Actor.Kind = audit.KindUnknown
	}
	_, err := l.appendLocked(ctx, tx, []audit.Event{e})
	return err
}

func (l *Ledger) appendLocked(ctx context.Context, tx *sql.Tx, events []audit.Event) (audit.Head, error) {
	head, err := queryAuditHead(ctx, tx)
	if err != nil {
		return head, err
	}
	for len(events) > 0 {
		chunk := events[:min(auditChunk, len(events))]
		events = events[len(chunk):]
		var values []string
		var args []any
		for _, e := range chunk {
			r := head.Append(e)
			head = r.Head()
			values = append(values, `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
			args = append(args, r.Seq, r.Time.UnixMilli(), string(r.Action), r.Actor, r.Subject, r.Workspace, r.Scope, r.Details, r.Replica, r.Hash[:])
		}
		if _, err := tx.ExecContext(ctx, l.statements().many(`
			INSERT INTO audit (seq, time, action, actor, subject, workspace, scope, details, replica, hash) VALUES `+strings.Join(values, `, `)), args...); err != nil {
			return head, err
		}
	}
	return head, nil
}

// AuditHead returns the last row of the audit log; zero, if there is none.
func (l *Ledger) AuditHead(ctx context.Context) (audit.Head, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	head, err := queryAuditHead(ctx, l.db)
	return head, l.explain(ctx, err)
}

// queryAuditHead finds the end of the chain. That of one that was trimmed to nothing is its anchor.
func queryAuditHead(ctx context.Context, q querier) (head audit.Head, err error) {
	for _, query := range []string{
		`SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1`,
		`SELECT seq, hash FROM audit_seals WHERE kind = 'anchor' ORDER BY seq DESC LIMIT 1`,
	} {
		var hash []byte
		err = q.QueryRowContext(ctx, query).Scan(&head.Seq, &hash)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		copy(head.Hash[:], hash)
		return head, err
	}
	return audit.Head{}, nil
}

// AuditChain returns rows in the order of the chain, at most limit of those that come after the row with that number (0: from the beginning), and the seals of
// these rows; if these are the last rows, all seals behind, too. An anchor is among the seals of the beginning.
func (l *Ledger) AuditChain(ctx context.Context, after int64, limit int) (rows []audit.Row, seals []audit.Seal, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	// Seals first: of one that is made meanwhile, the rows would not be among these.
	seals, err = querySeals(ctx, l.db, `WHERE seq > $1 ORDER BY seq, kind LIMIT $2`, after, 2*limit+1)
	if err != nil {
		return nil, nil, l.explain(ctx, err)
	}
	rows, err = queryAudit(ctx, l.db, `WHERE seq > $1 ORDER BY seq LIMIT $2`, after, limit)
	if err != nil {
		return nil, nil, l.explain(ctx, err)
	}
	if len(rows) == limit {
		for i := range seals {
			if seals[i].Seq > rows[limit-1].Seq {
				seals = seals[:i]
				break
			}
		}
	}
	return rows, seals, nil
}

func queryAudit(ctx context.Context, q rowsQuerier, where string, args ...any) (all []audit.Row, err error) {
	rows, err := q.QueryContext(ctx, `SELECT seq, time, action, actor, subject, workspace, scope, details, replica, hash FROM audit `+where, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var (
			r    audit.Row
			at   int64
			hash []byte
		)
		if err := rows.Scan(&r.Seq, &at, &r.Action, &r.Actor, &r.Subject, &r.Workspace, &r.Scope, &r.Details, &r.Replica, &hash); err != nil {
			return nil, err
		}
		r.Time = time.UnixMilli(at).UTC()
		if copy(r.Hash[:], hash) != len(hash) {
			return nil, fmt.Errorf("row %d of the audit log has a hash of %d bytes", r.Seq, len(hash))
		}
		all = append(all, r)
	}
	return all, rows.Err()
}
