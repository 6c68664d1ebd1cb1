//go:build unix

package keyring

import (
	"errors"
	"os"
	"syscall"
)

// keepAccess gives f, which is new, the mode, owner and group of the file at path.
func keepAccess(f *os.File, path string) error {
	want, err := os.Stat(path)
	if err != nil {
		return err
	}
	have, err := f.Stat()
	if err != nil {
		return err
	}
	w, ok1 := want.Sys().(*syscall.Stat_t)
	h, ok2 := have.Sys().(*syscall.Stat_t)
	if ok1 && ok2 && (w.Uid != h.Uid || w.Gid != h.Gid) {
		if err := f.Chown(int(w.Uid), int(w.Gid)); err != nil {
			return err
		}
	}
	return f.Chmod(want.Mode().Perm())
}

// syncDir makes the names in a directory survive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil // the file system knows no sync of directories
	}
	return errors.Join(err, d.Close())
}
