package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

var _ cache.Quarantiner = (*Store)(nil)

// quarantinePath returns where the entry of that name lies in quarantine.
func (s *Store) quarantinePath(name string) (string, error) {
	if name == "" || len(name) > 64 || strings.Trim(name, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%q is no name in quarantine", name)
	}
	return filepath.Join(s.quarantine, name), nil
}

// Quarantine implements [cache.Quarantiner]. The file is linked there before it is taken away, so that a crash leaves it in both places and never in none.
func (s *Store) Quarantine(ctx context.Context, name string, entry cache.Entry) error {
	doing := func() string { return fmt.Sprintf("put the entry %q into quarantine", entry.Key) }
	aside, err := s.quarantinePath(name)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return trouble(doing(), err)
	}
	path := s.path(entry.Key)
	f, err := s.inspect(path)
	f.close()
	_, damaged := errors.AsType[damageError](err)
	switch {
	case errors.Is(err, fs.ErrNotExist), damaged, err == nil && !isSealedAs(f.entry, entry):
		return s.inQuarantine(aside, doing)
	case err != nil:
		return trouble(doing(), err)
	}
	switch err := s.linkAside(path, aside, f.info); {
	case errors.Is(err, fs.ErrNotExist):
		return s.inQuarantine(aside, doing) // another one did it
	case err != nil:
		return trouble(doing(), err)
	}
	gone := s.session.file("purged-" + strconv.FormatUint(s.drafts.Add(1), 10))
	if err := s.moveAway(path, gone, f.info); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return trouble(doing(), err)
	}
	_ = os.Remove(gone) // what stays is cleaned when this process is dead
	removeEmpty(filepath.Dir(path))
	return nil
}

func isSealedAs(a, b cache.Entry) bool { return a.Key == b.Key && a.Record.Seal == b.Record.Seal }

// inQuarantine is nil if there is something of that name.
func (s *Store) inQuarantine(aside string, doing func() string) error {
	_, err := os.Lstat(aside)
	if errors.Is(err, fs.ErrNotExist) {
		return cache.ErrNotExist
	}
	if err != nil {
		return trouble(doing(), err)
	}
	return nil
}

// linkAside gives the file at path, which info describes, a second name. [fs.ErrNotExist] if it is not there any more.
func (s *Store) linkAside(path, aside string, info fs.FileInfo) error {
	err := s.link(path, aside)
	if errors.Is(err, fs.ErrNotExist) { // perhaps it is the directory that is missing, as in a store of an older release
		if err := os.MkdirAll(s.quarantine, dirMode); err != nil {
			return err
		}
		err = s.link(path, aside)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // of the same name is the same entry
	}
	if err != nil {
		return err
	}
	linked, err := os.Lstat(aside)
	if err != nil {
		return err
	}
	if !os.SameFile(info, linked) { // it was replaced in between
		_ = os.Remove(aside)
		return fs.ErrNotExist
	}
	return nil
}

// Restore implements [cache.Quarantiner].
func (s *Store) Restore(ctx context.Context, name string, entry cache.Entry) error {
	doing := fmt.Sprintf("bring the entry %q back", entry.Key)
	aside, err := s.quarantinePath(name)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return trouble(doing, err)
	}
	f, err := s.inspect(aside)
	f.close()
	_, damaged := errors.AsType[damageError](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s.isBack(ctx, entry)
	case damaged, err == nil && !isSealedAs(f.entry, entry):
		return fmt.Errorf("%s: %s is not what was put into quarantine: %w", doing, aside, cache.ErrNotExist)
	case err != nil:
		return trouble(doing, err)
	}
	d := &draft{store: s, key: entry.Key, path: aside}
	err = d.publish(ctx, s.path(entry.Key), doing)
	if errors.Is(err, cache.ErrExist) && s.isBack(ctx, entry) == nil {
		err = nil
	}
	if err != nil {
		return err
	}
	return s.discard(aside)
}

// isBack is nil if the entry is under its key, [cache.ErrExist] if another one is.
func (s *Store) isBack(ctx context.Context, entry cache.Entry) error {
	f, err := s.openWhole(ctx, entry.Key)
	if isFree(err) {
		return cache.ErrNotExist
	}
	if err != nil {
		return err
	}
	f.close()
	if !isSealedAs(f.entry, entry) {
		return cache.ErrExist
	}
	return nil
}

// Discard implements [cache.Quarantiner].
func (s *Store) Discard(ctx context.Context, name string) error {
	aside, err := s.quarantinePath(name)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return trouble("delete from quarantine", err)
	}
	return s.discard(aside)
}

func (s *Store) discard(aside string) error {
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return trouble("delete from quarantine", err)
	}
	return nil
}
