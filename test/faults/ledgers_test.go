//go:build faults || e2e

package faults_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver, to hold locks from another process

	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/test/disk/faulty"
)

// lockLedger holds the lock that lets nobody write, and on a ledger that is not in WAL mode nobody read.
func lockLedger(dir string) (faulty.Mend, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, ledger.FileName)+"?_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := db.Conn(ctx)
	if err == nil {
		_, err = conn.ExecContext(ctx, "BEGIN EXCLUSIVE")
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return func() error {
		_, err := conn.ExecContext(context.Background(), "ROLLBACK")
		return errors.Join(err, conn.Close(), db.Close())
	}, nil
}

// slowLedger holds that lock for most of the time.
func slowLedger(dir string) (faulty.Mend, error) {
	mend, err := lockLedger(dir)
	if err != nil {
		return nil, err
	}
	stop := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				ended <- mend()
				return
			case <-time.After(700 * time.Millisecond):
			}
			if err := mend(); err != nil {
				ended <- err
				return
			}
			<-time.After(50 * time.Millisecond)
			if mend, err = lockLedger(dir); err != nil {
				ended <- err
				return
			}
		}
	}()
	return func() error { close(stop); return <-ended }, nil
}

var ledgerFiles = []string{ledger.FileName, ledger.FileName + "-wal", ledger.FileName + "-shm"}

// hideLedger takes the files of the ledger away, as somebody does who cleans up.
func hideLedger(dir string) (faulty.Mend, error) {
	move := func(from, to string) error {
		for _, name := range ledgerFiles {
			if err := os.Rename(filepath.Join(dir, name+from), filepath.Join(dir, name+to)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	return func() error { return move(".hidden", "") }, move("", ".hidden")
}

// overwriteLedger writes noise over the ledger and what belongs to it. Nothing mends that.
func overwriteLedger(dir string) (faulty.Mend, error) {
	for _, name := range ledgerFiles {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		noise := make([]byte, info.Size())
		_, _ = rand.Read(noise)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		if _, err = f.Write(noise); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return func() error { return nil }, nil
}

// lockTables holds the strictest lock on every table.
func lockTables(w *world) (faulty.Mend, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@/%s?host=%s&port=%d&sslmode=disable", w.name, url.QueryEscape(w.ledger.Socket), w.ledger.Port))
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, `BEGIN; DO $$ DECLARE t regclass; BEGIN
		FOR t IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') LOOP
			EXECUTE 'LOCK TABLE ' || t || ' IN ACCESS EXCLUSIVE MODE';
		END LOOP; END $$`)
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	var once sync.Once
	return func() (err error) {
		once.Do(func() { err = conn.Close(context.Background()) })
		return err
	}, nil
}
