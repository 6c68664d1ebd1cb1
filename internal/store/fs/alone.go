package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrTaken says that another server has a directory to itself ([Options.Alone]).
var ErrTaken = errors.New("another server uses the directory, and only one may")

// ownerName is the file that whoever has the directory to itself keeps locked. It stays behind; the lock ends with the process.
const ownerName = "OWNER"

// takeAlone takes the lock. Where there are no locks, nobody can tell.
func (s *Store) takeAlone() error {
	path := filepath.Join(s.dir, ownerName)
	owner, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return trouble("write to the store's directory", err)
	}
	if err := lockFile(owner); isTaken(err) {
		_ = owner.Close()
		return fmt.Errorf("%w: %s; give each a directory of its own, or stop the other one", ErrTaken, s.dir)
	}
	s.owner = owner
	return nil
}

// leaveAlone gives the lock back.
func (s *Store) leaveAlone() {
	if s.owner != nil {
		_ = s.owner.Close()
	}
}
