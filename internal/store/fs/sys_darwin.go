package fs

import (
	"io/fs"
	"os"
	"syscall"
)

// identityOf returns false if the file system tells too little; then files are checked each time.
func identityOf(info fs.FileInfo) (identity, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, false
	}
	return identity{
		device: uint64(stat.Dev),
		inode:  stat.Ino,
		size:   stat.Size,
		mtime:  stat.Mtimespec.Nano(),
		change: stat.Ctimespec.Nano(),
	}, true
}

// bootID names the kernel that runs: the reach of a lock that can be trusted on any file system.
func bootID() string {
	if id, err := syscall.Sysctl("kern.bootsessionuuid"); err == nil {
		return id
	}
	name, _ := os.Hostname()
	return name
}

// room is how many bytes of the file system of dir are left for who is not root.
func room(dir string) (int64, error) {
	var stat syscall.Statfs_t
	if err := ignoringEINTR(func() error { return syscall.Statfs(dir, &stat) }); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil
}

// isLocal reports whether dir is known to lie on a disk of this machine.
func isLocal(string) bool { return false }
