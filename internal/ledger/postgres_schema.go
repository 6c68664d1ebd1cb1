package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// versionsTable has a name that no other program gives to a table.
const versionsTable = "bezoar_schema_versions"

var errNoSchema = errors.New("the ledger has no schema to work in")

func (*postgresDatabase) beginSchema(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `
		CREATE TABLE `+versionsTable+` (
			version INTEGER NOT NULL PRIMARY KEY,
			applied BIGINT  NOT NULL -- milliseconds since the Unix epoch, in UTC
		)`)
	return err
}

func (p *postgresDatabase) schemaVersion(ctx context.Context, q querier) (version int, err error) {
	var schema sql.NullString
	var ours, others int
	// Tables of extensions are nobody's.
	err = q.QueryRowContext(ctx, `
		SELECT current_schema(), count(*) FILTER (WHERE c.relname = $1), count(*) FILTER (WHERE c.relname <> $1)
		FROM pg_class c
		WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND c.relkind IN ('r', 'p')
			AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`, versionsTable).
		Scan(&schema, &ours, &others)
	switch {
	case err != nil:
		return 0, err
	case !schema.Valid && p.settings.Schema != "":
		return 0, fmt.Errorf("%w: %s: there is none of the name %q, or the role may not use it: as an administrator, CREATE SCHEMA %[3]q AUTHORIZATION %[4]q",
			errNoSchema, p.url, p.settings.Schema, p.settings.User)
	case !schema.Valid:
		return 0, fmt.Errorf("%w: %s: make one and name it, as in ?schema=bezoar", errNoSchema, p.url)
	case ours == 0 && others == 0:
		return 0, nil
	case ours == 0:
		return 0, fmt.Errorf("%w: the schema %q of %s holds tables of another program: give the ledger a database or a schema of its own (?schema=bezoar)",
			ErrForeign, schema.String, p.url)
	}
	err = q.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM `+versionsTable).Scan(&version)
	return version, err
}

func (*postgresDatabase) statements() *statements {
	return &statements{
		folder:      "migrations/postgres",
		noteVersion: `INSERT INTO ` + versionsTable + ` (version, applied) VALUES ($1, $2)`,
		lease: `
			INSERT INTO leases (name, holder, until) VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE leases.holder = excluded.holder OR leases.until <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint`,
		producer: `
			INSERT INTO producers (digest, producer, token_id, repository_id, source_id, ref, run_id, actor_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (digest) DO UPDATE SET digest = excluded.digest RETURNING id`,
		producerArgs: func(row *entryRow) []any {
			args := []any{row.producer[:], row.text}
			for _, s := range []string{
				row.made.TokenID, row.made.RepositoryID, row.made.SourceID, row.made.Ref, row.made.RunID, row.made.ActorID,
			} {
				args = append(args, sql.NullString{String: postgresText(s), Valid: s != ""})
			}
			return args
		},
		entries: func(rows string) string {
			return `INSERT INTO entries ` + entryColumns + ` VALUES ` + rows + `
				ON CONFLICT (hash, scope) DO UPDATE SET id = excluded.id, size = excluded.size, sha256 = excluded.sha256, content = excluded.content,
					inflated = excluded.inflated, members = excluded.members, opaque = excluded.opaque, created = excluded.created, seal = excluded.seal,
					producer = excluded.producer, used = excluded.used`
		},
		scope: func(scope cache.Scope) any { return []byte(scope) },
		text:  func(text string) any { return postgresText(text) },

		position: "strpos",
		many:     numbered,
	}
}

// postgresText is what PostgreSQL takes of a text: UTF-8 without NUL.
func postgresText(s string) string {
	const replacement = "\ufffd"
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", replacement), replacement)
}
