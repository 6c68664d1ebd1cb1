package fs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// identityOf returns false: Windows tells a file's identity by its handle only. Files are checked each time.
func identityOf(fs.FileInfo) (identity, bool) { return identity{}, false }

// bootID names the machine.
func bootID() string {
	name, _ := os.Hostname()
	return name
}

// openEntry opens a file for reading such that it can be deleted or renamed meanwhile.
func openEntry(path string) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	// With FILE_FLAG_OPEN_REPARSE_POINT a link is opened itself, and is then seen to be no regular file.
	const flags = syscall.FILE_ATTRIBUTE_NORMAL | syscall.FILE_FLAG_OPEN_REPARSE_POINT | syscall.FILE_FLAG_BACKUP_SEMANTICS
	const share = syscall.FILE_SHARE_READ | syscall.FILE_SHARE_WRITE | syscall.FILE_SHARE_DELETE
	handle, err := syscall.CreateFile(name, syscall.GENERIC_READ, share, nil, syscall.OPEN_EXISTING, flags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(handle), path), nil
}

func isForeignKind(error) bool { return false }

// lockFile does nothing: a file that is open by os.OpenFile cannot be removed, which is what claim tries.
func lockFile(*os.File) error { return nil }

// isTaken reports whether err of lockFile means that another process has the lock.
func isTaken(error) bool { return false }

// claim tries to take over the lock of a session that might be dead.
func claim(path string) (release func(), dead bool, err error) {
	err = os.Remove(path)
	switch {
	case err == nil:
		return func() {}, true, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, err
	default:
		return nil, false, nil
	}
}

// room asks nobody here: the bound for the room on the disk means nothing on Windows.
func room(string) (int64, error) { return 0, errors.ErrUnsupported }

// isLocal reports whether dir is known to lie on a disk of this machine.
func isLocal(string) bool { return false }
