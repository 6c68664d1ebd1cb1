//go:build unix

package fs

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestNoFiles puts what is no file in the place of an entry. Opening must not wait, as a FIFO would have it.
func TestNoFiles(t *testing.T) {
	key := storetest.Key("1")
	for _, c := range []struct {
		name string
		make func(t *testing.T, path string) error
	}{
		{"directory", func(_ *testing.T, path string) error { return os.Mkdir(path, dirMode) }},
		{"full directory", func(_ *testing.T, path string) error { return os.MkdirAll(filepath.Join(path, "a", "b"), dirMode) }},
		{"FIFO", func(_ *testing.T, path string) error { return syscall.Mkfifo(path, fileMode) }},
		{"dangling link", func(_ *testing.T, path string) error { return os.Symlink("nowhere", path) }},
		{"link to itself", func(_ *testing.T, path string) error { return os.Symlink(path, path) }},
		{"link to a whole entry of the key", func(t *testing.T, path string) error {
			target := filepath.Join(t.TempDir(), "entry")
			if err := os.WriteFile(target, whole(t, key, []byte("planted")), fileMode); err != nil {
				return err
			}
			return os.Symlink(target, path)
		}},
		{"socket", func(t *testing.T, path string) error {
			t.Chdir(filepath.Dir(path)) // the names of sockets are short
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Base(path), Net: "unix"})
			if err != nil {
				return err
			}
			l.SetUnlinkOnClose(false)
			return l.Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			place := func(t *testing.T) *Store {
				s := openWith(t, t.TempDir(), Options{Logger: discard()})
				path := s.path(key)
				if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
					t.Fatal(err)
				}
				if err := c.make(t, path); err != nil {
					t.Fatal(err)
				}
				return s
			}
			t.Run("opened", func(t *testing.T) { wantDamaged(t, place(t), key, c.name) })
			t.Run("written over", func(t *testing.T) { wantReusable(t, place(t), key, c.name) })
			t.Run("deleted", func(t *testing.T) {
				s := place(t)
				if err := s.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
				wantReusable(t, s, key, c.name)
			})
			t.Run("listed", func(t *testing.T) {
				s := place(t)
				var entries []cache.Entry
				var errs int
				for entry, err := range s.List(t.Context(), "") {
					if err != nil {
						errs++
					} else {
						entries = append(entries, entry)
					}
				}
				if errs != 1 || len(entries) != 0 {
					t.Errorf("got %v and %d errors, want one error", entries, errs)
				}
				wantReusable(t, s, key, c.name)
			})
		})
	}
}
