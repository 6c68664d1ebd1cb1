//go:build unix

package hot

import "syscall"

// DefaultFiles is how many files a process may well keep open: few beside what it may open in all.
func DefaultFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(uint64(limit.Cur)/16, mostFiles)) //nolint:unconvert // it is signed on some systems
}
