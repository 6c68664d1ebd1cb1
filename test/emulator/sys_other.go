//go:build !linux

package emulator

import (
	"os/exec"
	"syscall"
)

// dieWithParent does nothing: only Linux can do it. After a test's timeout, servers are left over.
func dieWithParent(*exec.Cmd, syscall.Signal) {}
