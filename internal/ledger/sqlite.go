package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// FileName is the name of SQLite's database in the data directory. SQLite keeps two more files beside it, with -wal and -shm
// appended, while it is open.
const FileName = "ledger.db"

// markName is the name of an empty file beside the database that says that there were tokens or a policy. A server whose ledger got
// lost, or that is started without its policy, would otherwise be open.
const markName = "had-credentials"

// applicationID marks the database as a ledger (PRAGMA application_id), so that no other program's database is written to by
// mistake: the bytes "bzrl".
const applicationID = 0x627a726c

// Open opens the ledger in SQLite in the data directory dir. What is missing is made, directory included, readable to its owner alone, and an
// older ledger is brought up to date. Several processes may do so at once.
func Open(ctx context.Context, dir string) (*Ledger, error) {
	if err := create(ctx, dir); err != nil {
		return nil, fmt.Errorf("make a ledger in %s: %w", dir, err)
	}
	return OpenExisting(ctx, dir)
}

// OpenExisting is [Open] without making a ledger: it is an error that wraps [fs.ErrNotExist] if there is none.
func OpenExisting(ctx context.Context, dir string) (*Ledger, error) {
	path, err := filepath.Abs(filepath.Join(dir, FileName))
	if err != nil {
		return nil, err
	}
	return open(ctx, path)
}

func open(ctx context.Context, path string) (*Ledger, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("open the ledger: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("open the ledger: %s is not a file", path)
	}
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	// A few readers at a time; there is only ever one writer.
	db.SetMaxOpenConns(4)
	file := &sqliteFile{path: path, file: info}
	l, err := newLedger(ctx, db, file)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := file.enterWAL(ctx, db); err != nil {
		return nil, errors.Join(l.explain(ctx, err), db.Close())
	}
	return l, nil
}

// create makes a ledger under a name of its own first, and gives it its name when it is whole. Made in place by several processes at
// once, SQLite sometimes fails one of them in the change to write-ahead logging, where it does not wait for locks.
func create(ctx context.Context, dir string) error {
	path := filepath.Join(dir, FileName)
	// The mark comes after the ledger. Looked for before it, it cannot come in between the two looks when others make both right now.
	mark := filepath.Join(dir, markName)
	_, errMark := os.Lstat(mark)
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	if errMark == nil {
		return fmt.Errorf("%w: %s is not there, but %s says that its server asked for credentials. Restore it from a backup; or remove %s to begin without tokens, with a server that is open to its own machine",
			ErrLost, path, mark, mark)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return unusable(err)
	}
	temp, err := os.CreateTemp(dir, ".ledger-*.tmp") // with mode 0600; SQLite's other files take that over
	if err != nil {
		return unusable(err)
	}
	defer os.Remove(temp.Name())
	if err := temp.Close(); err != nil {
		return err
	}
	l, err := open(ctx, temp.Name())
	if err != nil {
		return err
	}
	// The last connection takes the log into the file and removes it.
	if err := l.Close(); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func unusable(err error) error {
	return fmt.Errorf("%w: the data directory (--data) must be one that this user can make or write to", err)
}

// syncDir makes the names in a directory last: a ledger that a power failure takes away with all tokens would leave an open server.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// sqliteFile is the database of a ledger in SQLite.
type sqliteFile struct {
	path string
	file fs.FileInfo // of the opened file, to notice when another one takes its name
}

func (f *sqliteFile) place() string { return f.path }

// options are none: every transaction is one that writes; see dsn.
func (*sqliteFile) options() *sql.TxOptions { return nil }

// lock has nothing to do: a transaction has the write lock of the whole file from its beginning.
func (*sqliteFile) lock(context.Context, *sql.Tx, part) error { return nil }

func (f *sqliteFile) inPlace() error {
	switch info, err := os.Stat(f.path); {
	case err != nil:
		return fmt.Errorf("%w: restart the server: %w", ErrReplaced, err)
	case !os.SameFile(info, f.file):
		return fmt.Errorf("%w: %s is another file now: restart the server", ErrReplaced, f.path)
	}
	return nil
}

func (f *sqliteFile) markClosed(context.Context, *sql.DB) error {
	mark, err := os.OpenFile(f.markPath(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("mark the data directory as one whose server asks for credentials: %w", unusable(err))
	}
	return mark.Close()
}

func (f *sqliteFile) wasClosed(context.Context, *sql.DB) error {
	return directoryWasClosed(filepath.Dir(f.path))
}

// directoryWasClosed is [ErrWasClosed] if a server with its ledger in that directory asked for credentials.
func directoryWasClosed(dir string) error {
	mark := filepath.Join(dir, markName)
	switch _, err := os.Lstat(mark); {
	case err == nil:
		return fmt.Errorf("%w (%s says so). Without them it would be open to everybody on its machine: name the policy again, or create a token; "+
			"or, if that is what you want, remove %[2]s", ErrWasClosed, mark)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return unusable(err)
	}
}

func (f *sqliteFile) markPath() string { return filepath.Join(filepath.Dir(f.path), markName) }

// dsn names the database to the driver. Its parameters hold for each connection.
func dsn(path string) string {
	params := url.Values{
		"mode": {"rw"}, // never make a file: its permissions would be others
		// Every transaction is one that writes: taking the lock at once, it waits for its turn instead of failing halfway.
		"_txlock": {"immediate"},
		"_pragma": {
			"busy_timeout(5000)", // in ms; the end of the context ends it too
			"foreign_keys(on)",
			"synchronous(full)", // a revocation that was confirmed survives a power failure
			"trusted_schema(off)",
		},
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), OmitHost: true, RawQuery: params.Encode()}
	return u.String()
}

func (*sqliteFile) statements() *statements {
	return &statements{
		folder:      "migrations/sqlite",
		noteVersion: `INSERT INTO schema_versions (version, applied) VALUES ($1, $2)`,
		lease: `
			INSERT INTO leases (name, holder, until) VALUES ($1, $2, CAST(unixepoch('subsec') * 1000 AS INTEGER) + $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE leases.holder = excluded.holder OR leases.until <= CAST(unixepoch('subsec') * 1000 AS INTEGER)`,
		// Nothing is known to SQLite of how many rows fit a condition.
		unindexed: "+",
		// An update that changes nothing makes RETURNING return the id of a row that is there.
		producer: `
			INSERT INTO producers (digest, producer) VALUES ($1, $2) ON CONFLICT (digest) DO UPDATE SET digest = excluded.digest RETURNING id`,
		producerArgs: func(row *entryRow) []any { return []any{row.producer[:], row.text} },
		entries:      func(rows string) string { return `INSERT OR REPLACE INTO entries ` + entryColumns + ` VALUES ` + rows },
		scope:        func(scope cache.Scope) any { return string(scope) },
		text:         func(text string) any { return text },
		position:     "instr",
		// It looks the name of each parameter up among all others, if it has one.
		many: func(statement string) string { return statement },
	}
}
