//go:build unix

package fs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openEntry opens a file for reading. It follows no symbolic link in the last place and does not wait for a FIFO's writer.
func openEntry(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// isForeignKind reports whether opening failed because the file is a symbolic link, a socket or a device.
func isForeignKind(err error) bool {
	return errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ENODEV)
}

// lockFile takes the lock of a session that is about to begin. It does not wait.
func lockFile(f *os.File) error {
	return ignoringEINTR(func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) })
}

// isTaken reports whether err of lockFile means that another process has the lock.
func isTaken(err error) bool { return errors.Is(err, syscall.EWOULDBLOCK) }

// claim tries to take over the lock of a session that might be dead. If dead is true, the lock is held until release.
func claim(path string) (release func(), dead bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, false, err
	}
	err = lockFile(f)
	if err == nil {
		return func() { _ = f.Close() }, true, nil
	}
	_ = f.Close()
	if isTaken(err) {
		return nil, false, nil
	}
	return nil, false, &fs.PathError{Op: "flock", Path: path, Err: err}
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
