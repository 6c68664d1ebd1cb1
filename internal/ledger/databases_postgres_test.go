//go:build e2e

package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/bezoar-cache/bezoar/test/postgres"
)

// shared is a server for all tests, with one database, in which each ledger has a schema.
var shared struct {
	once     sync.Once
	server   *postgres.Server
	database string
	err      error
}

func sharedServer(ctx context.Context) (*postgres.Server, string, error) {
	shared.once.Do(func() {
		if shared.server, shared.err = postgres.Start(ctx); shared.err == nil {
			shared.database, shared.err = shared.server.MakeDatabase(ctx)
		}
	})
	return shared.server, shared.database, shared.err
}

func stopDatabases() {
	if shared.server != nil {
		if err := shared.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

func moreDatabases(t *testing.T) []testDatabase {
	t.Helper()
	if _, _, err := sharedServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	return []testDatabase{{
		name: "PostgreSQL", openIn: openPostgresTest,
		raw: func(t *testing.T, dir string) *sql.DB {
			t.Helper()
			p, err := postgresOf(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			config, err := p.config()
			if err != nil {
				t.Fatal(err)
			}
			db := stdlib.OpenDB(*config)
			t.Cleanup(func() { db.Close() })
			return db
		},
		hurry: func(*testing.T, *Ledger) {},
	}}
}

// postgresOf is where the ledger of a directory is. Its schema is made.
func postgresOf(ctx context.Context, dir string) (Postgres, error) {
	server, database, err := sharedServer(ctx)
	if err != nil {
		return Postgres{}, err
	}
	schema := fmt.Sprintf("s%x", sha256.Sum256([]byte(dir)))[:20]
	err = server.Execute(ctx, database, fmt.Sprintf(`
		DO $$ BEGIN
			PERFORM pg_advisory_xact_lock(1);
			CREATE SCHEMA IF NOT EXISTS %s AUTHORIZATION %s;
		END $$`, schema, postgres.Role))
	return Postgres{
		Host: "127.0.0.1", Port: uint16(server.Port), User: postgres.Role, Password: postgres.Password, Database: database, Schema: schema, SSLMode: "disable",
	}, err
}

func openPostgresTest(ctx context.Context, dir string) (*Ledger, error) {
	p, err := postgresOf(ctx, dir)
	if err != nil {
		return nil, err
	}
	return OpenPostgres(ctx, p)
}
