package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Sync makes the entry under key outlive a loss of power: it brings its file and the directories that lead to it to the disk. It is
// [cache.ErrNotExist] if there is no entry. A cache has no need of it; who acknowledges what lies nowhere else has.
//
// On Windows directories cannot be synced; there the file system's journal keeps them.
func (s *Store) Sync(ctx context.Context, key cache.Key) error {
	doing := func() string { return fmt.Sprintf("bring the entry %q to the disk", key) }
	if err := ctx.Err(); err != nil {
		return trouble(doing(), err)
	}
	path := s.path(key)
	err := syncFile(path)
	// Each directory on the way may be new. One that did not change costs next to nothing.
	for dir, level := filepath.Dir(path), 0; err == nil && level <= levels; level++ {
		err = syncDir(dir)
		dir = filepath.Dir(dir)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cache.ErrNotExist
	case err != nil:
		return trouble(doing(), err)
	}
	return nil
}

// syncFile opens for writing, which Windows demands for a sync.
func syncFile(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", path)
	}
	return syncOpen(os.OpenFile(path, os.O_RDWR, 0))
}

func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	return syncOpen(os.Open(path))
}

func syncOpen(f *os.File, err error) error {
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
