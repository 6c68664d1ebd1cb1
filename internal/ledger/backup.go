package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Backup copies the ledger in SQLite in the data directory dir to a new file, readable to its owner alone, while servers work on it. The copy is
// the ledger of one moment. It has the schema that it had: the ledger is not brought up to date. It gets its name when it is whole, checked and on
// the disk; an error that wraps [fs.ErrExist] is for a name that is taken. It takes as long as it takes: the end of ctx ends it.
func Backup(ctx context.Context, dir, target string) error {
	path, err := filepath.Abs(filepath.Join(dir, FileName))
	if err != nil {
		return err
	}
	switch info, err := os.Stat(path); {
	case err != nil:
		return fmt.Errorf("back up the ledger: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("back up the ledger: %s is not a file", path)
	}
	if target, err = filepath.Abs(target); err != nil {
		return err
	}
	if _, err := os.Lstat(target); err == nil {
		return taken(target)
	}
	temp, err := os.CreateTemp(filepath.Dir(target), ".ledger-backup-*.tmp") // with mode 0600
	if err != nil {
		return fmt.Errorf("back up the ledger: %w", err)
	}
	defer func() {
		for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
			os.Remove(temp.Name() + suffix)
		}
	}()
	defer temp.Close()
	if err := copyInto(ctx, path, temp.Name()); err != nil {
		return fmt.Errorf("back up the ledger: %w", err)
	}
	if err := checkCopy(ctx, temp.Name()); err != nil {
		return fmt.Errorf("the copy of the ledger is not good, and is not kept: %w", err)
	}
	if err := temp.Sync(); err != nil {
		return fmt.Errorf("back up the ledger: %w", err)
	}
	if err := name(temp.Name(), target); err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}

func taken(target string) error {
	return fmt.Errorf("%w: %s is not written over: give another name, or move it away", fs.ErrExist, target)
}

// name gives a file its name if that is free.
func name(temp, target string) error {
	err := os.Link(temp, target)
	if err == nil || errors.Is(err, fs.ErrExist) {
		if err != nil {
			return taken(target)
		}
		return nil
	}
	// A file system without links, such as a share of another machine: the name is taken first, and then replaced.
	placeholder, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return taken(target)
	}
	if err != nil {
		return err
	}
	if err = errors.Join(placeholder.Close(), os.Rename(temp, target)); err != nil {
		os.Remove(target)
	}
	return err
}

// copyInto has SQLite copy a ledger into an empty file. It reads in one transaction, beside which others write on.
func copyInto(ctx context.Context, path, temp string) error {
	source := &sqliteFile{path: path}
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return err
	}
	defer db.Close()
	version, err := source.schemaVersion(ctx, db)
	if err != nil {
		return source.explain(ctx, err)
	}
	if version == 0 {
		return fmt.Errorf("%w: %s is empty", ErrForeign, path)
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, temp)
	return source.explain(ctx, err)
}

// checkCopy opens a copy and reads all of it.
func checkCopy(ctx context.Context, path string) error {
	file := &sqliteFile{path: path}
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return err
	}
	defer db.Close()
	version, err := file.schemaVersion(ctx, db)
	if err != nil {
		return file.explain(ctx, err)
	}
	if version == 0 {
		return fmt.Errorf("%w: it is empty", ErrForeign)
	}
	rows, err := db.QueryContext(ctx, `SELECT integrity_check FROM pragma_integrity_check UNION ALL SELECT 'a reference in ' || "table" || ' leads nowhere' FROM pragma_foreign_key_check`)
	if err != nil {
		return file.explain(ctx, err)
	}
	defer rows.Close()
	var flaws []string
	for rows.Next() {
		var flaw string
		if err := rows.Scan(&flaw); err != nil {
			return file.explain(ctx, err)
		}
		if flaw != "ok" && len(flaws) < 10 {
			flaws = append(flaws, flaw)
		}
	}
	if err := rows.Err(); err != nil {
		return file.explain(ctx, err)
	}
	if len(flaws) > 0 {
		return fmt.Errorf("%w: %s", ErrDamaged, strings.Join(flaws, "; "))
	}
	return nil
}
