// Package ledger keeps the records in a SQLite database inside the data directory. Any number of processes may work on it at the same
// time: a server and the commands beside it.
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
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// FileName is the name of the database in the data directory. SQLite keeps two more files beside it, with -wal and -shm
// appended, while it is open.
const FileName = "ledger.db"

// markName is the name of an empty file beside the database that says that there were tokens or a policy. A server whose ledger got
// lost, or that is started without its policy, would otherwise be open.
const markName = "had-credentials"

// DefaultTimeout bounds each call whose context has no deadline of its own.
const DefaultTimeout = 10 * time.Second

// Errors that callers can tell apart. All of them come with a text for people.
var (
	// ErrNewer is for a ledger that a later release has written.
	ErrNewer = errors.New("the ledger is of a newer release")
	// ErrForeign is for a SQLite database that is no ledger.
	ErrForeign = errors.New("the file is not a ledger")
	// ErrDamaged is for a file that is no whole SQLite database.
	ErrDamaged = errors.New("the ledger is damaged")
	// ErrLocked is for a ledger that another process kept locked for too long.
	ErrLocked = errors.New("the ledger is locked")
	// ErrLost is for a ledger that is gone although its server asked for credentials.
	ErrLost = errors.New("the ledger is lost")
	// ErrWasClosed says that there were tokens or a policy once.
	ErrWasClosed = errors.New("this server had tokens or a policy, and now has none")
	// ErrReplaced is for a ledger whose file was removed or replaced while it was open.
	ErrReplaced = errors.New("the ledger was replaced while it was open")
)

// Ledger is an open ledger. It is safe for concurrent use.
type Ledger struct {
	db   *sql.DB
	path string
	file fs.FileInfo // of the opened file, to notice when another one takes its name
	now  func() time.Time
}

// Open opens the ledger in the data directory dir. What is missing is made, directory included, readable to its owner alone, and an
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
	l := &Ledger{db: db, path: path, file: info, now: time.Now}
	if err := l.prepare(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
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

// MarkClosed notes that the server of this data directory asks for credentials. The mark stays for good.
func (l *Ledger) MarkClosed() error {
	mark, err := os.OpenFile(l.markPath(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("mark the data directory as one whose server asks for credentials: %w", unusable(err))
	}
	return mark.Close()
}

// WasClosed is nil if the server of this data directory never asked for credentials, and else an error that wraps [ErrWasClosed]. A server that
// would be open asks before it is.
func (l *Ledger) WasClosed() error {
	switch _, err := os.Lstat(l.markPath()); {
	case err == nil:
		return fmt.Errorf("%w (%s says so). Without them it would be open to everybody on its machine: name the policy again, or create a token; "+
			"or, if that is what you want, remove %[2]s", ErrWasClosed, l.markPath())
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return unusable(err)
	}
}

func (l *Ledger) markPath() string { return filepath.Join(filepath.Dir(l.path), markName) }

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

// prepare makes the database one that can be worked with.
func (l *Ledger) prepare(ctx context.Context) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	err := l.migrate(ctx)
	if err == nil {
		err = l.enterWAL(ctx)
	}
	return l.explain(ctx, err)
}

// Close ends the work with the ledger.
func (l *Ledger) Close() error { return l.db.Close() }

// Path returns the path of the database file.
func (l *Ledger) Path() string { return l.path }

// transact runs do in a transaction that holds the write lock from its beginning.
func (l *Ledger) transact(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// bound sees to it that every call has a deadline.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}
