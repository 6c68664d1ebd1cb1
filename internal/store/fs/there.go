package fs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// lookEvery bounds how often a miss makes the store look whether its directory is there at all.
const lookEvery = 5 * time.Second

// errVanished says that the directory was a store when it was opened and is none now.
var errVanished = errors.New("its file FORMAT is not there any more: was the disk unmounted, or the directory removed? Bring it back, or restart the server to begin anew")

// isThere returns [errVanished] if the directory is gone, or another one is in its place.
func (s *Store) isThere() error {
	if _, err := os.Lstat(filepath.Join(s.dir, "FORMAT")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the store %s has vanished: %w", s.dir, errVanished)
	}
	return nil
}

// vanished is asked when an entry was not found, and tells a miss from a store that is gone. It looks now and then; in between it repeats itself.
func (s *Store) vanished() error {
	now := s.now().UnixNano()
	last := s.looked.Load()
	if now >= last && now-last < int64(lookEvery) || !s.looked.CompareAndSwap(last, now) {
		if err := s.gone.Load(); err != nil {
			return *err
		}
		return nil
	}
	err := s.isThere()
	if err == nil {
		s.gone.Store(nil)
		return nil
	}
	s.gone.Store(&err)
	return err
}
