package fs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// setAside moves a file that is no whole entry into damaged/, and returns [cache.ErrDamaged] when its place is free.
func (s *Store) setAside(f *found, why damageError) error {
	aside, err := s.takeAway(f, string(why))
	if err != nil {
		return err
	}
	if aside != "" {
		s.log.Error("a stored entry was damaged and is set aside", "path", f.path, "reason", string(why), "aside", aside)
	}
	return fmt.Errorf("%w: %s: %s", cache.ErrDamaged, f.path, string(why))
}

// setAsideOpen does it for whoever has an entry open and finds more wrong with it than a store can see. What it means, the caller says.
func (s *Store) setAsideOpen(f *found, why string) error {
	aside, err := s.takeAway(f, why)
	if aside != "" {
		s.log.Debug("an entry is set aside on request", "path", f.path, "reason", why, "aside", aside)
	}
	return err
}

// takeAway frees the place of a file and tells where the file is now, if it could be kept.
func (s *Store) takeAway(f *found, why string) (aside string, err error) {
	aside = filepath.Join(s.damaged, s.now().UTC().Format("20060102T150405.000000Z")+"-"+rand.Text()[:8]+"-"+filepath.Base(f.path))
	err = s.moveAway(f.path, aside, f.info)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Another one did it, and has put a whole entry there, perhaps.
		return "", nil
	case err != nil:
		// Better to lose the evidence than the use of the key.
		if errRemove := os.Remove(f.path); errRemove != nil && !errors.Is(errRemove, fs.ErrNotExist) {
			return "", trouble(fmt.Sprintf("set aside %s, which is damaged: %s", f.path, why), err)
		}
		s.log.Error("a stored entry was damaged and is removed, because it cannot be set aside",
			"path", f.path, "reason", why, "error", err)
		return "", nil
	default:
		s.pruneDamaged()
		return aside, nil
	}
}

// moveAway renames the file that info describes. If another one is at path, it stays there: then the error is
// [fs.ErrNotExist].
func (s *Store) moveAway(path, aside string, info fs.FileInfo) error {
	now, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(info, now) {
		return fs.ErrNotExist
	}
	err = s.rename(path, aside)
	if errors.Is(err, fs.ErrNotExist) { // perhaps it is damaged/ that is missing: somebody cleared it away
		if err := os.MkdirAll(s.damaged, dirMode); err != nil {
			return err
		}
		err = s.rename(path, aside)
	}
	if err != nil {
		return err
	}
	// Between Lstat and Rename another server may have set the damaged file aside and committed a whole entry.
	moved, err := os.Lstat(aside)
	if err != nil {
		return err // not there: another server has pruned it
	}
	if os.SameFile(info, moved) {
		return nil
	}
	// It goes back, unless a newer one has come; that one stays, too.
	_ = os.Link(aside, path)
	_ = os.Remove(aside)
	return fs.ErrNotExist
}

// pruneDamaged removes the oldest files of damaged/; their names begin with the time.
func (s *Store) pruneDamaged() {
	s.asides.Lock()
	defer s.asides.Unlock()
	entries, err := os.ReadDir(s.damaged)
	if err != nil {
		s.log.Warn("cannot list the damaged entries that are kept", "error", trouble("list "+s.damaged, err))
		return
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name()[0] == '.' })
	for _, e := range entries[:max(0, len(entries)-s.keepDamaged)] {
		if err := os.RemoveAll(filepath.Join(s.damaged, e.Name())); err != nil {
			s.log.Warn("cannot remove a damaged entry", "error", trouble("remove it", err))
		}
	}
}
