package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// What the calls about tokens answer beside success.
var (
	// ErrTokenExists is for a name that another token of the workspace has that is not revoked.
	ErrTokenExists = errors.New("there is such a token already")
	// ErrNoToken is for an id or name that no token has.
	ErrNoToken = errors.New("there is no such token")
	// ErrAmbiguous is for a name that tokens of several workspaces have.
	ErrAmbiguous = errors.New("several tokens have this name")
)

// A Ledger is where an authenticator gets its tokens.
var _ trust.Source = (*Ledger)(nil)

// CreateToken records a token. Its times are cut to milliseconds. [ErrTokenExists] if its workspace has one of that name that is not
// revoked.
func (l *Ledger) CreateToken(ctx context.Context, t trust.Token) error {
	if err := t.Validate(); err != nil {
		return err
	}
	if err := l.MarkClosed(ctx); err != nil {
		return err
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	err := l.transact(ctx, tokensPart, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO tokens (id, hash, name, workspace, access, role, developer, created, expires, revoked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			t.ID, t.Hash[:], t.Name, string(t.Workspace), string(t.Access), string(t.Role), t.Developer, millis(t.Created), millis(t.Expires), millis(t.Revoked))
		if err != nil {
			return err
		}
		return l.note(ctx, tx, tokenEvent(audit.TokenCreated, &t))
	})
	if l.isDuplicate(err) {
		return fmt.Errorf("%w: %s has a token %q: choose another name, or revoke that one first", ErrTokenExists, where(&t), t.Name)
	}
	return l.explain(ctx, err)
}

// Tokens returns all tokens that ever were, oldest first.
func (l *Ledger) Tokens(ctx context.Context) ([]trust.Token, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	tokens, err := queryTokens(ctx, l.db, `ORDER BY created, id`)
	return tokens, l.explain(ctx, err)
}

// Version implements [trust.Source]: it counts the changes of tokens and revocations. [ErrReplaced] if the file is no longer the one that was opened: what
// another process writes then would never be seen.
func (l *Ledger) Version(ctx context.Context) (int64, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return 0, err
	}
	var version int64
	err := l.db.QueryRowContext(ctx, `SELECT CAST(sum(value) AS BIGINT) FROM revisions WHERE name IN ('tokens', 'revocations')`).Scan(&version)
	return version, l.explain(ctx, err)
}

// RevokeToken revokes the token with that id, or else the one with that name, in the named workspace or, if that is empty, in any. It
// returns the token as it is then. One that was revoked before stays as it was, and that is no error. [ErrNoToken]; [ErrAmbiguous].
func (l *Ledger) RevokeToken(ctx context.Context, idOrName string, workspace cache.Workspace, now time.Time) (trust.Token, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var t trust.Token
	err := l.transact(ctx, tokensPart, func(tx *sql.Tx) error {
		tokens, err := queryTokens(ctx, tx, tokensNamed, idOrName, string(workspace))
		if err != nil {
			return err
		}
		if t, err = choose(tokens, idOrName); err != nil || !t.Revoked.IsZero() {
			return err
		}
		t.Revoked = time.UnixMilli(now.UnixMilli()).UTC()
		if _, err = tx.ExecContext(ctx, `UPDATE tokens SET revoked = $1 WHERE id = $2`, millis(t.Revoked), t.ID); err != nil {
			return err
		}
		return l.note(ctx, tx, tokenEvent(audit.TokenRevoked, &t))
	})
	if errors.Is(err, ErrNoToken) || errors.Is(err, ErrAmbiguous) {
		return trust.Token{}, err
	}
	return t, l.explain(ctx, err)
}

// tokenEvent is what the audit log says of a token. Its text is not known here, and its hash is nobody's business.
func tokenEvent(action audit.Action, t *trust.Token) audit.Event {
	details := audit.Details{"name": t.Name, "access": string(t.Access)}
	if t.Role != "" {
		details = audit.Details{"name": t.Name, "role": string(t.Role)}
	}
	if t.Developer != "" {
		details["developer"] = t.Developer
	}
	if !t.Expires.IsZero() {
		details["expires"] = t.Expires.UTC().Format(time.RFC3339)
	}
	return audit.Event{Action: action, Subject: t.ID, Workspace: t.Workspace, Details: details}
}

// FindToken returns the token that [Ledger.RevokeToken] would revoke. Its id names it for good, and what it may do never changes. [ErrNoToken]; [ErrAmbiguous].
func (l *Ledger) FindToken(ctx context.Context, idOrName string, workspace cache.Workspace) (trust.Token, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	tokens, err := queryTokens(ctx, l.db, tokensNamed, idOrName, string(workspace))
	if err != nil {
		return trust.Token{}, l.explain(ctx, err)
	}
	return choose(tokens, idOrName)
}

const tokensNamed = `WHERE (id = $1 OR name = $1) AND (workspace = $2 OR $2 = '') ORDER BY created, id`

// choose picks the one token that is meant: by id, by the name of one that is not revoked, or the one of that name
// that was revoked last.
func choose(tokens []trust.Token, idOrName string) (trust.Token, error) {
	var live []trust.Token
	for _, t := range tokens {
		if t.ID == idOrName {
			return t, nil
		}
		if t.Revoked.IsZero() {
			live = append(live, t)
		}
	}
	switch {
	case len(live) == 1:
		return live[0], nil
	case len(live) > 1:
		var ids []string
		for _, t := range live {
			ids = append(ids, fmt.Sprintf("%s in %s", t.ID, where(&t)))
		}
		return trust.Token{}, fmt.Errorf("%w: %q is %s: give the id, or the workspace", ErrAmbiguous, idOrName, strings.Join(ids, ", "))
	case len(tokens) == 0:
		return trust.Token{}, fmt.Errorf("%w: %q is neither the id nor the name of one", ErrNoToken, idOrName)
	}
	last := tokens[0]
	for _, t := range tokens {
		if t.Revoked.After(last.Revoked) {
			last = t
		}
	}
	return last, nil
}

// where names the place in which a token's name is its own.
func where(t *trust.Token) string {
	if t.Workspace == "" {
		return "the server as a whole"
	}
	return "workspace " + string(t.Workspace)
}

func queryTokens(ctx context.Context, q rowsQuerier, where string, args ...any) (tokens []trust.Token, err error) {
	rows, err := q.QueryContext(ctx, `SELECT id, hash, name, workspace, access, role, developer, created, expires, revoked FROM tokens `+where, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var (
			t                         trust.Token
			hash                      []byte
			created, expires, revoked sql.NullInt64
		)
		if err := rows.Scan(&t.ID, &hash, &t.Name, &t.Workspace, &t.Access, &t.Role, &t.Developer, &created, &expires, &revoked); err != nil {
			return nil, err
		}
		copy(t.Hash[:], hash)
		t.Created, t.Expires, t.Revoked = instant(created), instant(expires), instant(revoked)
		tokens = append(tokens, t)
	}
	return tokens, rows.Err()
}

// millis is how times are stored: milliseconds since the Unix epoch, NULL for the zero time.
func millis(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

func instant(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return time.UnixMilli(ms.Int64).UTC()
}
