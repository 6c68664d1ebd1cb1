package ledger

import (
	"context"
	"database/sql"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testDatabase is one that the tests of what a ledger does run on. A directory names a ledger, whatever it lies in.
type testDatabase struct {
	name   string
	openIn func(ctx context.Context, dir string) (*Ledger, error)
	// raw opens the database of a ledger without any of the ledger's care.
	raw func(t *testing.T, dir string) *sql.DB
	// hurry makes a ledger fast that need not survive a crash.
	hurry func(t *testing.T, l *Ledger)
}

var sqliteDatabase = testDatabase{
	name: "SQLite", openIn: Open, raw: raw,
	hurry: func(t *testing.T, l *Ledger) {
		t.Helper()
		l.db.SetMaxOpenConns(1)
		execute(t, l.db, `PRAGMA synchronous = off`) // of the one connection
	},
}

// onEvery runs a test on every database: on SQLite always, on PostgreSQL with the tag e2e.
func onEvery(t *testing.T, test func(t *testing.T, db testDatabase)) {
	t.Helper()
	for _, db := range append([]testDatabase{sqliteDatabase}, moreDatabases(t)...) {
		t.Run(db.name, func(t *testing.T) { test(t, db) })
	}
}

func (d *testDatabase) open(t *testing.T, dir string) *Ledger {
	t.Helper()
	l, err := d.openIn(t.Context(), dir)
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

// A version means the same in both databases.
func TestMigrationsHaveTheSameNumbers(t *testing.T) {
	var names [2][]string
	for i, folder := range []string{"sqlite", "postgres"} {
		files, err := fs.Glob(migrations, "migrations/"+folder+"/*.sql")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			names[i] = append(names[i], filepath.Base(f))
		}
	}
	if diff := cmp.Diff(names[0], names[1]); diff != "" {
		t.Error(diff)
	}
}
