package ledger

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
)

// AddAuditSeal records a seal, in the place of one of its kind for the same row.
func (l *Ledger) AddAuditSeal(ctx context.Context, s audit.Seal) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return err
	}
	_, err := l.db.ExecContext(ctx, insertSeal+`
		ON CONFLICT (seq, kind) DO UPDATE SET hash = excluded.hash, time = excluded.time, key = excluded.key, signature = excluded.signature`, sealArgs(s)...)
	return l.explain(ctx, err)
}

// LastAuditSeal returns the seal of that kind that is the farthest in the chain, and whether there is one.
func (l *Ledger) LastAuditSeal(ctx context.Context, kind audit.SealKind) (audit.Seal, bool, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	seals, err := querySeals(ctx, l.db, `WHERE kind = $1 ORDER BY seq DESC LIMIT 1`, string(kind))
	if err != nil || len(seals) == 0 {
		return audit.Seal{}, false, l.explain(ctx, err)
	}
	return seals[0], true, nil
}

// TrimAudit removes rows from the beginning of the audit log, at most limit of those that are older than before and come before the last seal, and
// leaves the anchor that sign makes. It returns what the chain begins behind now, and how many rows went. Call it again until that is fewer than
// the limit.
func (l *Ledger) TrimAudit(ctx context.Context, before time.Time, limit int, sign func(audit.Head) audit.Seal) (anchor audit.Head, trimmed int64, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return anchor, 0, err
	}
	err = l.transact(ctx, auditPart, func(tx *sql.Tx) error {
		var first, kept, sealed sql.NullInt64
		// Times need not be in the order of the rows: the first one that is young enough keeps those behind it.
		err := tx.QueryRowContext(ctx, `
			SELECT (SELECT min(seq) FROM audit), (SELECT max(seq) FROM audit_seals WHERE kind = 'head'),
				(SELECT min(seq) FROM (SELECT seq, time FROM audit ORDER BY seq LIMIT $1) AS oldest WHERE time >= $2)`,
			limit, before.UnixMilli()).Scan(&first, &sealed, &kept)
		if err != nil || !first.Valid || !sealed.Valid {
			return err
		}
		last := min(first.Int64+int64(limit), sealed.Int64) - 1
		if kept.Valid {
			last = min(last, kept.Int64-1)
		}
		if last < first.Int64 {
			return nil
		}
		var hash []byte
		if err := tx.QueryRowContext(ctx, `SELECT hash FROM audit WHERE seq = $1`, last).Scan(&hash); err != nil {
			return err // rows are missing: that is not trimmed away
		}
		anchor.Seq = last
		copy(anchor.Hash[:], hash)
		res, err := tx.ExecContext(ctx, `DELETE FROM audit WHERE seq <= $1`, last)
		if err != nil {
			return err
		}
		if trimmed, err = res.RowsAffected(); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM audit_seals WHERE seq <= $1`, last); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, insertSeal, sealArgs(sign(anchor))...)
		return err
	})
	if err != nil {
		return audit.Head{}, 0, l.explain(ctx, err)
	}
	return anchor, trimmed, nil
}

const insertSeal = `INSERT INTO audit_seals (kind, seq, hash, time, key, signature) VALUES ($1, $2, $3, $4, $5, $6)`

func sealArgs(s audit.Seal) []any {
	return []any{string(s.Kind), s.Seq, s.Hash[:], s.Time.UnixMilli(), s.Key, s.Signature}
}

func querySeals(ctx context.Context, q rowsQuerier, where string, args ...any) (seals []audit.Seal, err error) {
	rows, err := q.QueryContext(ctx, `SELECT kind, seq, hash, time, key, signature FROM audit_seals `+where, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var (
			s    audit.Seal
			at   int64
			hash []byte
		)
		if err := rows.Scan(&s.Kind, &s.Seq, &hash, &at, &s.Key, &s.Signature); err != nil {
			return nil, err
		}
		s.Time = time.UnixMilli(at).UTC()
		copy(s.Hash[:], hash)
		seals = append(seals, s)
	}
	return seals, rows.Err()
}
