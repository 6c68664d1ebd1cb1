//go:build unix

package fs

import (
	"os"
	"path/filepath"
	"testing"
)

// TestASessionThatIsSweptDoesNotBegin: between the making of a session's lock file and its locking, the sweep of another process can
// take the lock, and will remove the directory.
func TestASessionThatIsSweptDoesNotBegin(t *testing.T) {
	begin := func(t *testing.T) *session {
		s := &session{dir: t.TempDir()}
		var err error
		if s.lock, err = os.OpenFile(s.file(lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.lock.Close() })
		return s
	}
	t.Run("nobody is there", func(t *testing.T) {
		if err := begin(t).hold(); err != nil {
			t.Error(err)
		}
	})
	t.Run("a sweep has the lock", func(t *testing.T) {
		s := begin(t)
		release, dead, err := claim(s.file(lockName))
		if err != nil || !dead {
			t.Fatalf("the sweep does not take it for dead: %v", err)
		}
		defer release()
		if err := s.hold(); err == nil {
			t.Error("it began in a directory that is being swept")
		}
	})
	t.Run("a sweep has removed it", func(t *testing.T) {
		s := begin(t)
		if err := os.RemoveAll(s.dir); err != nil {
			t.Fatal(err)
		}
		if err := s.hold(); err == nil {
			t.Error("it began in a directory that is gone")
		}
	})
	t.Run("another one has its place", func(t *testing.T) {
		s := begin(t)
		if err := os.Rename(s.file(lockName), filepath.Join(s.dir, "old")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.file(lockName), nil, fileMode); err != nil {
			t.Fatal(err)
		}
		if err := s.hold(); err == nil {
			t.Error("it began with a lock that nobody sees")
		}
	})
}
