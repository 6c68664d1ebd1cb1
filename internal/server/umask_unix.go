//go:build unix

package server

import "syscall"

// tightUmask makes what is made until restore is called accessible to its owner alone. The umask is the whole process's; at the
// start, where this is called, nobody else is about to make what others should read.
func tightUmask() (restore func()) {
	old := syscall.Umask(0o177)
	return func() { syscall.Umask(old) }
}
