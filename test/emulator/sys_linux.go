package emulator

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel send the signal to the process when this one ends without having cleaned up, as after a test's timeout.
func dieWithParent(cmd *exec.Cmd, signal syscall.Signal) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: signal}
}
