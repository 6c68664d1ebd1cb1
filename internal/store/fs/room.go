package fs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Room is how many bytes the file system of the store has left. It is [errors.ErrUnsupported] where the system is not asked.
func (s *Store) Room() (int64, error) {
	free, err := room(s.entries)
	if err != nil {
		return 0, trouble("ask how much room the disk has", err)
	}
	return free, nil
}

// Unfinished is how many bytes uploads hold that are under way, but for those of this store to the trusted scope. Those of other stores in the directory
// are counted whatever they are for.
func (s *Store) Unfinished() (int64, error) {
	sum := s.others.Load()
	sessions, err := os.ReadDir(s.tmp)
	if err != nil {
		return 0, trouble("look at uploads under way", err)
	}
	for _, e := range sessions {
		path := filepath.Join(s.tmp, e.Name())
		if path == s.session.dir {
			continue
		}
		n, err := sizeOf(path)
		if err != nil {
			return 0, trouble("look at uploads under way", err)
		}
		sum += n
	}
	return sum, nil
}

// sizeOf is how many bytes the files of a directory hold. What goes meanwhile holds nothing.
func sizeOf(dir string) (sum int64, err error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	for _, e := range files {
		info, err := e.Info()
		switch {
		case err == nil:
			sum += info.Size()
		case !errors.Is(err, fs.ErrNotExist):
			return 0, err
		}
	}
	return sum, nil
}
