package emulator

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel end the process when this one ends without having cleaned up, as after a test's timeout.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
