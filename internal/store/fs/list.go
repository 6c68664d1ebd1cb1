package fs

import (
	"context"
	"errors"
	"fmt"

	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/bezoar-cache/bezoar/internal/cache"
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
		w := walker{store: s, way: cache.SetAside, yield: func(step cache.Step, err error) bool {
			switch {
			case step.Stuck != nil:
				return yield(cache.Entry{}, step.Stuck)
			case step.Damage != nil:
				return yield(cache.Entry{}, fmt.Errorf("%w: %s: %w", cache.ErrDamaged, step.Place, step.Damage))
			}
			return yield(step.Entry, err)
		}}
		w.begin(ctx, cache.Part{Workspace: workspace})
	}
}
