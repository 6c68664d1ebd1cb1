package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/trust"
)

// openerVar makes the test binary open the ledger in the directory data, and end.
const openerVar = "LEDGER_TEST_OPEN"

func TestMain(m *testing.M) {
	for variable, process := range map[string]func() error{openerVar: openerProcess, userVar: userProcess} {
		if os.Getenv(variable) != "" {
			if err := process(); err != nil {
				panic(err)
			}
			return
		}
	}
	goleak.VerifyTestMain(withDatabases{m})
}

// withDatabases ends the databases after the tests, and before goroutines are counted that are left.
type withDatabases struct{ *testing.M }

func (m withDatabases) Run() int {
	defer stopDatabases()
	return m.M.Run()
}

func openerProcess() error {
	l, err := Open(context.Background(), "data")
	if err != nil {
		return err
	}
	return errors.Join(l.CreateToken(context.Background(), newToken(fmt.Sprint("p", os.Getpid()), "web")), l.Close())
}

func openTest(t *testing.T, dir string) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// raw opens the database of a ledger without any of the ledger's care.
func raw(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func execute(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestOpenMakesWhatIsMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "bezoar 100%#?&")
	if _, err := OpenExisting(t.Context(), dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("OpenExisting made something: %v", err)
	}
	l := openTest(t, dir)
	if err := l.CreateToken(t.Context(), newToken("ci", "web")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700, l.Place(): 0o600, l.Place() + "-wal": 0o600, l.Place() + "-shm": 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", filepath.Base(path), got, want)
		}
	}
	if l.Place() != filepath.Join(dir, FileName) {
		t.Errorf("path %q", l.Place())
	}
	again, err := OpenExisting(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if tokens, err := again.Tokens(t.Context()); err != nil || len(tokens) != 1 {
		t.Fatal(tokens, err)
	}
}

func TestSettingsOfEveryConnection(t *testing.T) {
	l := openTest(t, t.TempDir())
	for range 3 {
		conn, err := l.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() // held, so that each round gets another
		for pragma, want := range map[string]string{"journal_mode": "wal", "foreign_keys": "1", "synchronous": "2", "busy_timeout": "5000"} {
			var got string
			if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %q, want %q (%v)", pragma, got, want, err)
			}
		}
	}
}

// Many that start at once: handles in this process, and processes.
func TestOpenAtOnce(t *testing.T) {
	for range 3 {
		parent := t.TempDir()
		dir := filepath.Join(parent, "data")
		const handles, processes = 12, 3
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range handles {
			wg.Go(func() {
				<-start
				l, err := Open(t.Context(), dir)
				if err != nil {
					t.Error(err)
					return
				}
				defer l.Close()
				if err := l.CreateToken(t.Context(), newToken(fmt.Sprint("h", i), "web")); err != nil {
					t.Error(err)
				}
			})
		}
		for range processes {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Dir, cmd.Env = parent, append(os.Environ(), openerVar+"=1")
			wg.Go(func() {
				<-start
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			})
		}
		close(start)
		wg.Wait()

		l := openTest(t, dir)
		if left, err := filepath.Glob(filepath.Join(dir, ".ledger-*")); err != nil || len(left) != 0 {
			t.Fatalf("left behind: %v %v", left, err)
		}
		if tokens, err := l.Tokens(t.Context()); err != nil || len(tokens) != handles+processes {
			t.Fatalf("%d tokens, %v", len(tokens), err)
		}
		if v, err := l.Version(t.Context()); err != nil || v != handles+processes {
			t.Fatalf("version %d, %v", v, err)
		}
		var applied, steps int
		if err := l.db.QueryRowContext(t.Context(), `SELECT count(*), max(version) FROM schema_versions`).Scan(&applied, &steps); err != nil || applied != steps {
			t.Fatalf("%d migrations applied for version %d, %v", applied, steps, err)
		}
	}
}

// Ledgers that did not come from Open as they are: a copy of a backup, and an empty file.
func TestAdopts(t *testing.T) {
	t.Run("a copy without write-ahead logging", func(t *testing.T) {
		dir, copied := t.TempDir(), t.TempDir()
		if err := openTest(t, dir).CreateToken(t.Context(), newToken("ci", "web")); err != nil {
			t.Fatal(err)
		}
		execute(t, raw(t, dir), `VACUUM INTO '`+filepath.Join(copied, FileName)+`'`)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				l, err := Open(t.Context(), copied)
				if err != nil {
					t.Error(err)
					return
				}
				defer l.Close()
				if tokens, err := l.Tokens(t.Context()); err != nil || len(tokens) != 1 {
					t.Error(tokens, err)
				}
			})
		}
		wg.Wait()
		var mode string
		if err := raw(t, copied).QueryRowContext(t.Context(), `PRAGMA journal_mode`).Scan(&mode); err != nil || mode != "wal" {
			t.Fatal(mode, err)
		}
	})
	t.Run("an empty file", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := openTest(t, dir).CreateToken(t.Context(), newToken("ci", "web")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRefuses(t *testing.T) {
	damaged := func(t *testing.T, dir string) {
		// Whole, but for the pages behind the first.
		l, err := Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(l.Place(), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte(strings.Repeat("x", int(info.Size())-100)), 100); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, dir string)
		want    error
		text    string
	}{
		"newer": {func(t *testing.T, dir string) {
			openTest(t, dir)
			execute(t, raw(t, dir), `INSERT INTO schema_versions VALUES (4711, 0)`)
		}, ErrNewer, "has version 4711, and this release knows versions up to"},
		"another program's": {func(t *testing.T, dir string) {
			execute(t, raw(t, dir), `CREATE TABLE bookmarks (url TEXT)`)
		}, ErrForeign, "another program"},
		"another program's with a mark": {func(t *testing.T, dir string) {
			execute(t, raw(t, dir), `PRAGMA application_id = 7`, `CREATE TABLE bookmarks (url TEXT)`)
		}, ErrForeign, "another program"},
		"no database": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, FileName), []byte(strings.Repeat("not a database. ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged, "backup"},
		"damaged": {damaged, ErrDamaged, "backup"},
		"directory in its place": {func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, FileName), 0o700); err != nil {
				t.Fatal(err)
			}
		}, nil, "is not a file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tt.prepare(t, dir)
			l, err := Open(t.Context(), dir)
			if err == nil {
				l.Close()
				t.Fatal("opened")
			}
			if tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), filepath.Join(dir, FileName)) {
				t.Fatalf("%v does not name the file", err)
			}
		})
	}
}

func TestDataDirectoryIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v", err)
	}
}

// A lock that nobody gives back: readers go on, writers say so when their time is over, and opening needs no lock.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	if err := l.CreateToken(t.Context(), newToken("first", "web")); err != nil {
		t.Fatal(err)
	}
	holder, err := raw(t, dir).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if _, err := holder.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}

	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	if err := l.CreateToken(short(), newToken("second", "web")); !errors.Is(err, ErrLocked) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if _, err := l.RevokeToken(short(), "first", "", time.Now()); !errors.Is(err, ErrLocked) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if tokens, err := l.Tokens(t.Context()); err != nil || len(tokens) != 1 {
		t.Fatal(tokens, err)
	}
	openTest(t, dir)

	if _, err := holder.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if err := l.CreateToken(t.Context(), newToken("second", "web")); err != nil {
		t.Fatal(err)
	}
	if tokens, err := l.Tokens(t.Context()); err != nil || len(tokens) != 2 {
		t.Fatal(tokens, err)
	}
}

// Without the patience of SQLite the lock itself is what is told.
func TestLockedText(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	execute(t, l.db, `PRAGMA busy_timeout = 0`)
	holder, err := raw(t, dir).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if _, err := holder.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	if err := l.CreateToken(t.Context(), newToken("ci", "web")); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), l.Place()) {
		t.Fatalf("got %v", err)
	}
}

func TestCancelled(t *testing.T) { onEvery(t, testCancelled) }

func testCancelled(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err1 := l.Tokens(ctx)
	_, err2 := l.Version(ctx)
	_, err3 := l.RevokeToken(ctx, "x", "", time.Now())
	_, err4 := l.Revocations(ctx)
	_, err5 := l.CreateRevocation(ctx, newRevocation(t, trust.RevokeRun, "17", "", created))
	_, err6 := l.LiftRevocation(ctx, "x", created)
	for _, err := range []error{err1, err2, err3, err4, err5, err6, l.UseOnce(ctx, "x", created), l.CreateToken(ctx, newToken("ci", "web"))} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	if tokens, err := l.Tokens(t.Context()); err != nil || len(tokens) != 0 {
		t.Fatal(tokens, err)
	}
}

func TestReplacedFileIsNoticed(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	moved := l.Place() + ".old"
	if err := os.Rename(l.Place(), moved); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Version(t.Context()); !errors.Is(err, ErrReplaced) {
		t.Fatalf("removed: %v", err)
	}
	if err := os.WriteFile(l.Place(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Version(t.Context()); !errors.Is(err, ErrReplaced) {
		t.Fatalf("replaced: %v", err)
	}
	if err := os.Rename(moved, l.Place()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestALostLedgerIsNoNewOne: a ledger that held tokens and is gone must not be followed by an empty one, with which a server
// would be open.
func TestALostLedgerIsNoNewOne(t *testing.T) {
	dir := t.TempDir()
	remove := func() {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			os.Remove(filepath.Join(dir, FileName+suffix))
		}
	}
	openTest(t, dir).Close()
	remove()
	l := openTest(t, dir) // there was nothing to lose
	_, hash := trust.NewToken()
	token := trust.Token{ID: hash.ID(), Name: "ci", Workspace: "web", Access: trust.Read, Hash: hash, Created: time.Now()}
	if err := l.CreateToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	l.Close()
	remove()
	_, err := Open(t.Context(), dir)
	if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), filepath.Join(dir, "had-credentials")) {
		t.Fatalf("got %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "had-credentials")); err != nil {
		t.Fatal(err)
	}
	openTest(t, dir).Close()
}
