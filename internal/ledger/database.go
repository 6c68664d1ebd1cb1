package ledger

import (
	"context"
	"database/sql"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// database is all that SQLite and PostgreSQL do differently. Statements that are not here are the same for both; their parameters are $1, $2, …
type database interface {
	// place names the database for people, without secrets.
	place() string
	// options are those of a transaction that writes.
	options() *sql.TxOptions
	// lock makes a transaction the only one that writes to a part of the ledger, from now to its end. What others wrote to the part before is
	// visible to it, and readers see what it writes after what those wrote.
	lock(ctx context.Context, tx *sql.Tx, p part) error
	// inPlace is [ErrReplaced] if what is written now, nobody else would see.
	inPlace() error
	// explain turns what the database says into what a person can do something about.
	explain(ctx context.Context, err error) error
	// isDuplicate says that a unique index refused a row.
	isDuplicate(err error) bool

	// schemaVersion returns the version of the schema, 0 for an empty database. It refuses one that is no ledger.
	schemaVersion(ctx context.Context, q querier) (int, error)
	// beginSchema makes the table of versions in an empty database.
	beginSchema(ctx context.Context, tx *sql.Tx) error

	markClosed(ctx context.Context, db *sql.DB) error
	wasClosed(ctx context.Context, db *sql.DB) error

	statements() *statements
}

// part is a part of the ledger that has one writer at a time.
type part int32

const (
	schemaPart part = iota + 1
	tokensPart
	revocationsPart
	usesPart
	gravesPart
	entriesPart
	divergencesPart
	auditPart
	purgesPart
)

// statements are those that differ.
type statements struct {
	// folder is that of the migrations.
	folder string
	// noteVersion counts one that was applied. Its parameters are the version and the time in milliseconds.
	noteVersion string
	// lease gives a lease to a holder unless another one's runs, by the clock of the database. Its parameters are the name, the holder and the time in milliseconds.
	lease string
	// unindexed stands before a column whose index is not to be taken.
	unindexed string
	// producer finds or makes a producer and returns its id. Its parameters are what producerArgs returns.
	producer     string
	producerArgs func(row *entryRow) []any
	// entries records entries of different keys, in the place of what was known of each, under new ids. It is told the rows of values.
	entries func(rows string) string
	// scope makes a parameter of a scope, and text one of what producers are searched by.
	scope func(cache.Scope) any
	text  func(string) any
	// position is the function that tells where in a text another one begins, 0 if nowhere.
	position string
	// many makes a statement with many parameters, each a question mark in it, that is fast to prepare and to run.
	many func(statement string) string
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

type rowsQuerier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

const entryColumns = `(scope, hash, size, sha256, content, inflated, members, opaque, created, seal, producer, used)`
