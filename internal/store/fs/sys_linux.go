package fs

import (
	"bytes"
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
		device: stat.Dev,
		inode:  stat.Ino,
		size:   stat.Size,
		mtime:  stat.Mtim.Nano(),
		change: stat.Ctim.Nano(),
	}, true
}

// bootID names the kernel that runs: the reach of a lock that can be trusted on any file system.
func bootID() string {
	if id, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		return string(bytes.TrimSpace(id))
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
	return int64(stat.Bavail) * stat.Bsize, nil
}

// localKinds are file systems on disks of this machine, or in its memory, by the magic numbers of statfs(2): what they know of an open file is in memory. A
// network's may have to ask for it.
var localKinds = map[int64]bool{
	0xEF53:     true, // ext2, ext3, ext4
	0x58465342: true, // XFS
	0x9123683E: true, // Btrfs
	0x2FC12FC1: true, // ZFS
	0xF2F52010: true, // F2FS
	0xCA451A4E: true, // bcachefs
	0x01021994: true, // tmpfs
}

// isLocal reports whether dir is known to lie on a disk of this machine.
func isLocal(dir string) bool {
	var stat syscall.Statfs_t
	err := ignoringEINTR(func() error { return syscall.Statfs(dir, &stat) })
	return err == nil && localKinds[int64(stat.Type)&0xFFFFFFFF] //nolint:unconvert // it has 32 bits on some machines
}
