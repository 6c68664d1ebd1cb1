package fs

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// sweepEvery is how often a store looks for leftovers and tells others that it is alive.
	sweepEvery = time.Hour
	// deadAfter is how old the sign of life of another host's process must be to count as dead. It leaves room for clocks
	// that differ.
	deadAfter = 24 * time.Hour
	// lockName is the file in a session's directory that its owner keeps locked and touches every [sweepEvery].
	lockName = "lock"
)

// session is this store's directory in tmp/.
//
// Whether a session is dead is told by its lock, which ends with the process, if it was begun under the same
// kernel: only there is a lock sure to be seen, since NFS may be mounted without locks between hosts.
// Else the time of its last sign of life tells.
type session struct {
	dir  string
	lock *os.File
}

// sessionPrefix begins the names of all sessions of this kernel.
func sessionPrefix() string {
	sum := sha256.Sum256([]byte(bootID()))
	return hex.EncodeToString(sum[:6]) + "-"
}

func newSession(tmp string) (*session, error) {
	var err error
	for range 8 {
		var s *session
		if s, err = trySession(filepath.Join(tmp, fmt.Sprintf("%s%d-%s", sessionPrefix(), os.Getpid(), strings.ToLower(rand.Text()[:8])))); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// trySession fails if another process sweeps the new directory before it is locked.
func trySession(dir string) (*session, error) {
	if err := os.Mkdir(dir, dirMode); err != nil {
		return nil, err
	}
	s := &session{dir: dir}
	var err error
	if s.lock, err = os.OpenFile(s.file(lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode); err != nil {
		_ = os.Remove(dir)
		return nil, err
	}
	if err := s.hold(); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// hold takes the lock. Without locks at all, the session lives by its signs of life. But one that is taken, or whose file is gone, is in
// the hands of a process that sweeps it.
func (s *session) hold() error {
	if err := lockFile(s.lock); isTaken(err) {
		return err
	}
	held, err := s.lock.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(s.file(lockName))
	if err != nil {
		return err
	}
	if !os.SameFile(held, there) {
		return errors.New(s.dir + " was replaced while it was made")
	}
	return nil
}

func (s *session) file(name string) string { return filepath.Join(s.dir, name) }

// end removes the session's directory, unless drafts are still in it.
func (s *session) end() {
	_ = s.lock.Close()
	_ = os.Remove(s.file(lockName))
	_ = os.Remove(s.dir)
}

// keepClean sweeps now and every hour until ctx ends.
func (s *Store) keepClean(ctx context.Context) {
	defer close(s.done)
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("cannot clean up after uploads that broke off", "error", trouble("sweep "+s.tmp, err))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// sweep gives a sign of life and removes what dead sessions left.
func (s *Store) sweep(ctx context.Context) error {
	now := s.now()
	failed := os.Chtimes(s.session.file(lockName), now, now)
	if errors.Is(failed, fs.ErrNotExist) {
		failed = nil // somebody cleared tmp/; Create makes the directory anew
	}
	sessions, err := os.ReadDir(s.tmp)
	if err != nil {
		return errors.Join(failed, err)
	}
	for _, e := range sessions {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		path := filepath.Join(s.tmp, e.Name())
		if path == s.session.dir {
			continue
		}
		if err := s.sweepSession(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

func (s *Store) sweepSession(path string) error {
	lock := filepath.Join(path, lockName)
	if strings.HasPrefix(filepath.Base(path), sessionPrefix()) {
		release, dead, err := claim(lock)
		if dead {
			defer release()
			return os.RemoveAll(path)
		}
		if err == nil {
			return nil
		}
		// There is no lock, or there are no locks: age decides.
	}
	sign, err := os.Lstat(lock)
	if err != nil {
		if sign, err = os.Lstat(path); err != nil {
			return err
		}
	}
	if s.now().Sub(sign.ModTime()) < deadAfter {
		return nil
	}
	return os.RemoveAll(path)
}
