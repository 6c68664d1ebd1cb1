package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// trouble explains err, which befell the store while it was about to do something, and what to do about it. The error
// names the path; callers must not let it reach clients.
func trouble(doing string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if hint := hintFor(err); hint != "" {
		return fmt.Errorf("%s: %w: %s", doing, err, hint)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// writeTrouble is trouble of something that takes room.
func (s *Store) writeTrouble(doing string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		s.full()
	}
	return trouble(doing, err)
}

func hintFor(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "the disk or the quota is full; make room or let fewer entries be kept"
	case errors.Is(err, fs.ErrPermission):
		return "let the user that runs bezoar own the directory and all below it"
	case errors.Is(err, syscall.EROFS):
		return "the file system is mounted read-only; the kernel's log may tell why"
	case errors.Is(err, syscall.EIO):
		return "the disk or the server behind it fails; see the kernel's log"
	case errors.Is(err, syscall.ESTALE):
		return "the shared directory was replaced or exported anew; mount it again"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too many files are open; raise the limit (ulimit -n, LimitNOFILE)"
	case errors.Is(err, syscall.EXDEV):
		return "all of the directory must be on one file system"
	case errors.Is(err, syscall.ENOTDIR):
		return "a file lies where a directory belongs; move it away"
	case errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
		return "the file system lacks what bezoar needs, hard links above all; use another one, or a bucket"
	default:
		return ""
	}
}
