package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
)

// listBatch is how many names are read from a directory at once.
const listBatch = 256

// Directories below entries/: workspace, scope, fan-out.
const levels = 3

// Delete implements [cache.Store]. Directories that become empty go with the entry.
func (s *Store) Delete(ctx context.Context, key cache.Key) error {
	doing := func() string { return fmt.Sprintf("delete the entry %q", key) }
	if err := ctx.Err(); err != nil {
		return trouble(doing(), err)
	}
	path := s.path(key)
	switch err := s.remove(path); {
	case errors.Is(err, fs.ErrNotExist):
		return cache.ErrNotExist
	case err != nil:
		return trouble(doing(), err)
	}
	removeEmpty(filepath.Dir(path))
	return nil
}

// removeEmpty removes the directory of an entry that is gone, and those above it, as far as they are empty.
func removeEmpty(dir string) {
	for range levels {
		if err := os.Remove(dir); err != nil {
			return // most often because it is not empty
		}
		dir = filepath.Dir(dir)
	}
}

// remove takes a file away whatever it is; a directory that is not empty is set aside.
func (s *Store) remove(path string) error {
	err := os.Remove(path)
	if err != nil {
		if info, errStat := os.Lstat(path); errStat == nil && info.IsDir() {
			err = s.setAside(&found{path: path, info: info}, "it is not a file")
			if errors.Is(err, cache.ErrDamaged) {
				err = nil
			}
		}
	}
	return err
}

// List implements [cache.Store]. It reads each entry's record, but does not verify its body. What is no entry
// is set aside.
func (s *Store) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		l := lister{store: s, yield: yield}
		if workspace == "" {
			l.walk(ctx, s.entries, levels)
		} else {
			l.walk(ctx, filepath.Join(s.entries, layout.FileName(string(workspace))), levels-1)
		}
	}
}

type lister struct {
	store *Store
	yield func(cache.Entry, error) bool
}

// walk lists dir, with depth levels of directories in it and entries below them. It returns false to end the listing.
func (l *lister) walk(ctx context.Context, dir string, depth int) bool {
	if err := ctx.Err(); err != nil {
		l.fail("list entries", err)
		return false
	}
	d, err := os.Open(dir)
	if err != nil {
		return l.fail("list entries", err)
	}
	defer d.Close()
	for {
		names, err := d.ReadDir(listBatch)
		for _, e := range names {
			if !l.visit(ctx, dir, e, depth) {
				return false
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return l.fail("list entries", err)
		}
	}
}

func (l *lister) visit(ctx context.Context, dir string, e fs.DirEntry, depth int) bool {
	path := filepath.Join(dir, e.Name())
	switch {
	case e.Name()[0] == '.':
		return true // no name of ours; NFS and rsync keep such files for a while
	case depth == 0:
		return l.entry(ctx, path)
	case e.IsDir():
		return l.walk(ctx, path, depth-1)
	default:
		return l.yield(cache.Entry{}, fmt.Errorf("%s lies where a directory belongs; move it away", path))
	}
}

func (l *lister) entry(ctx context.Context, path string) bool {
	if err := ctx.Err(); err != nil {
		l.fail("list entries", err)
		return false
	}
	f, err := l.store.inspect(path)
	if err == nil && l.store.path(f.entry.Key) != path {
		err = damageError("it is the entry of another key")
	}
	d, damaged := errors.AsType[damageError](err)
	if damaged {
		err = l.store.setAside(f, d)
	}
	f.close()
	switch {
	case err == nil:
		return l.yield(f.entry, nil)
	case damaged:
		return l.yield(cache.Entry{}, err)
	default:
		return l.fail("read the record of "+path, err)
	}
}

// fail yields err, but not of what went away meanwhile.
func (l *lister) fail(doing string, err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return l.yield(cache.Entry{}, trouble(doing, err))
}
