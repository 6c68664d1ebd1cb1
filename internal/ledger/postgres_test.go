//go:build e2e

package ledger

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust"
	"github.com/bezoar-cache/bezoar/test/postgres"
)

// Replicas that start at once over an empty database.
func TestReplicasMakeALedgerAtOnce(t *testing.T) {
	for range 3 {
		dir := t.TempDir()
		p, err := postgresOf(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		const replicas = 8
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range replicas {
			wg.Go(func() {
				<-start
				l, err := OpenPostgres(t.Context(), p)
				if err != nil {
					t.Error(err)
					return
				}
				defer l.Close()
				if err := l.CreateToken(t.Context(), newToken(fmt.Sprint("r", i), "web")); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		l, err := OpenPostgres(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if v := version(t, l); v != replicas {
			t.Errorf("version %d", v)
		}
		var applied, steps int
		if err := l.db.QueryRowContext(t.Context(), `SELECT count(*), max(version) FROM `+versionsTable).Scan(&applied, &steps); err != nil || applied != steps {
			t.Errorf("%d migrations applied for version %d, %v", applied, steps, err)
		}
	}
}

// What cannot be opened says what to do, and never the password.
func TestPostgresRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		prepare []string // statements in the schema
		edit    func(p *Postgres)
		want    error
		text    string
	}{
		"newer":              {[]string{`INSERT INTO ` + versionsTable + ` VALUES (4711, 0)`}, nil, ErrNewer, "has version 4711, and this release knows versions up to"},
		"another program's":  {[]string{`DROP TABLE ` + versionsTable}, nil, ErrForeign, "another program"},
		"no schema":          {nil, func(p *Postgres) { p.Schema = "nowhere" }, nil, `CREATE SCHEMA "nowhere" AUTHORIZATION "bezoar"`},
		"no database":        {nil, func(p *Postgres) { p.Database = "nowhere" }, nil, `CREATE DATABASE "nowhere" OWNER "bezoar"`},
		"no password":        {nil, func(p *Postgres) { p.Password = "" }, nil, "PGPASSWORD"},
		"wrong password":     {nil, func(p *Postgres) { p.Password += "x" }, nil, "correct its password"},
		"no role":            {nil, func(p *Postgres) { p.User = "nobody" }, nil, "pg_hba.conf"},
		"no host":            {nil, func(p *Postgres) { p.Host = "db.invalid" }, nil, "no such host"},
		"no server":          {nil, func(p *Postgres) { p.Port = 1 }, nil, "nothing listens there"},
		"no socket":          {nil, func(p *Postgres) { p.Host = "/nonexistent" }, nil, "nothing listens there"},
		"no TLS":             {nil, func(p *Postgres) { p.SSLMode = "verify-full" }, nil, "speaks no TLS"},
		"no CA file":         {nil, func(p *Postgres) { p.SSLMode, p.SSLRootCert = "verify-full", "/nonexistent" }, nil, "/nonexistent: no such file"},
		"no right to create": {[]string{`DROP TABLE ` + versionsTable + ` CASCADE`}, func(p *Postgres) { p.Schema = "locked" }, nil, "privilege"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := postgresOf(t.Context(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			l, err := OpenPostgres(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			execute(t, l.db, c.prepare...)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if name == "no right to create" {
				if err := shared.server.Execute(t.Context(), shared.database, `CREATE SCHEMA locked; GRANT USAGE ON SCHEMA locked TO PUBLIC`); err != nil {
					t.Fatal(err)
				}
			}
			if c.edit != nil {
				c.edit(&p)
			}
			l, err = OpenPostgres(t.Context(), p)
			if err == nil {
				l.Close()
				t.Fatal("opened")
			}
			t.Log(err)
			if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
			if p.Password != "" && (strings.Contains(err.Error(), p.Password) || strings.Contains(err.Error(), url.QueryEscape(p.Password))) {
				t.Error("it tells the password")
			}
		})
	}
}

func TestPlaceOfPostgres(t *testing.T) {
	p, err := postgresOf(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	socket := p
	socket.Host, socket.Password = shared.server.Socket, ""
	for _, p := range []Postgres{p, socket} {
		l, err := OpenPostgres(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if place := l.Place(); !strings.HasPrefix(place, "postgres://bezoar@") || !strings.Contains(place, "schema="+p.Schema) || strings.Contains(place, "w/rd") {
			t.Errorf("place %q", place)
		}
	}
}

// Numbers of graves become visible in their order: a writer that is slow to end keeps the next ones from going before.
func TestGravesAreSeenInOrder(t *testing.T) {
	dir := t.TempDir()
	slow, fast := openPostgres(t, dir), openPostgres(t, dir)
	tx, err := slow.db.BeginTx(t.Context(), slow.options())
	if err != nil {
		t.Fatal(err)
	}
	if err := slow.lock(t.Context(), tx, gravesPart); err != nil {
		t.Fatal(err)
	}
	if err := bury(t.Context(), tx, [][16]byte{graveID(true, 1)}, created, [2]time.Time{}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- fast.Bury(t.Context(), [][16]byte{graveID(true, 2)}, created, [2]time.Time{}) }()
	for waiting := 0; waiting == 0; { // until it waits for the lock
		select {
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
		if err := fast.db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = hashtext(current_schema())::oid`).
			Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	all, mark := buried(t, fast, 0, 10)
	if len(all) != 0 {
		t.Errorf("seen before its end: %v", all)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if all, _ := buried(t, fast, mark, 10); len(all) != 2 || all[0].ID != graveID(true, 1) {
		t.Errorf("seen: %v", all)
	}
}

func openPostgres(t *testing.T, dir string) *Ledger {
	t.Helper()
	db := moreDatabases(t)[0]
	return db.open(t, dir)
}

// A lock that nobody gives back: readers go on, writers say so, and other parts have their writers.
func TestPostgresLocked(t *testing.T) {
	dir := t.TempDir()
	l, holder := openPostgres(t, dir), openPostgres(t, dir)
	l.db.SetMaxOpenConns(1)
	execute(t, l.db, `SET lock_timeout = 50`) // of the one connection
	tx, err := holder.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if err := holder.lock(t.Context(), tx, tokensPart); err != nil {
		t.Fatal(err)
	}
	if err := l.CreateToken(t.Context(), newToken("ci", "web")); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), l.Place()) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := l.CreateToken(ctx, newToken("ci", "web")); !errors.Is(err, ErrLocked) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := l.UseOnce(t.Context(), "a", created); err != nil {
		t.Error(err)
	}
	if tokens, err := l.Tokens(t.Context()); err != nil || len(tokens) != 0 {
		t.Error(tokens, err)
	}
}

// The mark that servers ask for credentials is in the database, and that of a ledger in SQLite counts, too.
func TestPostgresWasClosed(t *testing.T) {
	dir := t.TempDir()
	p, err := postgresOf(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	open := func(p Postgres) *Ledger {
		l, err := OpenPostgres(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	one, other := open(p), open(p)
	if err := other.WasClosed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, markName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := other.WasClosed(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Directory = dir
	if err := open(p).WasClosed(t.Context()); !errors.Is(err, ErrWasClosed) || !strings.Contains(err.Error(), filepath.Join(dir, markName)) {
		t.Fatalf("got %v", err)
	}
	for range 2 {
		if err := one.MarkClosed(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.WasClosed(t.Context()); !errors.Is(err, ErrWasClosed) || !strings.Contains(err.Error(), "the table marks") {
		t.Fatalf("got %v", err)
	}
}

// A table that somebody empties by hand would make an open server.
func TestPostgresTablesAreNotEmptied(t *testing.T) {
	l := openPostgres(t, t.TempDir())
	if err := l.CreateToken(t.Context(), newToken("ci", "web")); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"tokens", "revocations"} {
		if _, err := l.db.ExecContext(t.Context(), `TRUNCATE `+table); err == nil {
			t.Errorf("%s was emptied", table)
		}
	}
}

// What a job's claims hold need not be what PostgreSQL takes for a text.
func TestPostgresTakesOddTexts(t *testing.T) {
	l := openPostgres(t, t.TempDir())
	e := newEntry(1)
	e.Record.Producer.Ref, e.Record.Producer.ActorID = "refs/heads/a\x00b", "\xff\x00"
	record(t, l, e)
	for _, filter := range []Filter{{Ref: e.Record.Producer.Ref}, {Actor: e.Record.Producer.ActorID}, {Scope: e.Key.Scope, Workspace: "web"}} {
		if got := list(t, l, filter, 10); len(got) != 1 || got[0].Key != e.Key {
			t.Errorf("%+v: %v", filter, got)
		}
	}
	if got := list(t, l, Filter{Scope: "branch/\xff"}, 10); len(got) != 0 {
		t.Error(got)
	}
}

// A database that hangs, ends and comes back: each call ends when its context does, and what came meanwhile is there.
func TestPostgresThatComesAndGoes(t *testing.T) {
	server := postgres.New(t)
	database, err := server.MakeDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := Postgres{Host: "127.0.0.1", Port: uint16(server.Port), User: postgres.Role, Password: postgres.Password, Database: database, SSLMode: "disable"}
	l, err := OpenPostgres(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.CreateToken(t.Context(), newToken("first", "web")); err != nil {
		t.Fatal(err)
	}
	server.Pause(t)
	late := p
	late.ConnectTimeout = 100 * time.Millisecond
	if l, err := OpenPostgres(t.Context(), late); err == nil {
		l.Close()
		t.Error("a hanging database is opened")
	} else if !strings.Contains(err.Error(), "no answer in time") {
		t.Error(err)
	}
	for range 2 * postgresConnections { // more than there are connections
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := l.Version(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a hanging database: %v", err)
		}
		if err := l.UseOnce(ctx, "a", created); err == nil || errors.Is(err, trust.ErrReplayed) {
			t.Errorf("a hanging database: %v", err)
		}
		cancel()
	}
	server.Resume(t)
	if v := version(t, l); v != 1 {
		t.Errorf("version %d", v)
	}
	server.Stop(t)
	if _, err := l.Version(t.Context()); err == nil {
		t.Error("a stopped database answers")
	}
	server.Restart(t)
	other, err := OpenPostgres(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.CreateToken(t.Context(), newToken("second", "web")); err != nil {
		t.Fatal(err)
	}
	if v := version(t, l); v != 2 {
		t.Errorf("version %d", v)
	}
}

// BenchmarkPostgres tells what the questions cost that each server asks several times a second, and what is written for an exchange.
func BenchmarkPostgres(b *testing.B) {
	l, err := openPostgresTest(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	b.Run("version", func(b *testing.B) {
		for b.Loop() {
			if _, err := l.Version(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nothing new buried", func(b *testing.B) {
		for b.Loop() {
			if _, err := l.Buried(b.Context(), 0, 10_000, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	n := 0
	b.Run("use", func(b *testing.B) {
		for b.Loop() {
			n++
			if err := l.UseOnce(b.Context(), fmt.Sprint(n), time.Now().Add(time.Hour)); err != nil {
				b.Fatal(err)
			}
		}
	})
	const many = 20_000
	all := newEntries(many)
	began := time.Now()
	for i := 0; i < many; i += 1000 {
		if err := l.RecordEntries(b.Context(), all[i:i+1000]); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%v for each entry that is recorded", time.Since(began)/many)
	var size int64
	if err := l.db.QueryRowContext(b.Context(), `
		SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c WHERE c.relname IN ('entries', 'scopes', 'producers') AND c.relnamespace = current_schema()::regnamespace`).
		Scan(&size); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d bytes for each entry", size/many)
}
