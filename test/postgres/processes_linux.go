package postgres

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// childAttributes makes the kernel end the server when this process ends without having cleaned up, as after a test's timeout.
func childAttributes(credential *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: credential}
}

// Pause stops all processes of the server: the kernel takes connections and data, and nothing answers.
func (s *Server) Pause(tb testing.TB) {
	tb.Helper()
	s.signalAll(tb, syscall.SIGSTOP)
}

// Resume ends a [Server.Pause].
func (s *Server) Resume(tb testing.TB) {
	tb.Helper()
	s.signalAll(tb, syscall.SIGCONT)
}

func (s *Server) signalAll(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	for i, pid := range s.processes() {
		if err := syscall.Kill(pid, signal); err != nil && i == 0 {
			tb.Fatal(err) // others come and go
		}
	}
}

// processes are the server's first one, which makes the others, and those. Each is a session of its own, so that no signal reaches all.
func (s *Server) processes() []int {
	s.mu.Lock()
	first := s.process.Pid
	s.mu.Unlock()
	pids := []int{first}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name, in brackets, may hold anything; behind it are the state and the parent.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) < 2 || string(fields[1]) != strconv.Itoa(first) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
