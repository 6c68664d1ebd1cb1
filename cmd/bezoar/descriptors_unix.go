//go:build unix

package main

import (
	"math"
	"syscall"
)

// openFilesLimit is how many descriptors this process may have. Go has raised it as far as it may.
func openFilesLimit() (most int, known bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)), true //nolint:unconvert // signed on some systems
}
