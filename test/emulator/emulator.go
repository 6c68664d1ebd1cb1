// Package emulator starts storage servers for Go tests: versitygw and MinIO speak S3, fake-gcs-server Google Cloud Storage, azurite Azure
// Blob. Beside them, nginx stands in front of servers of bezoar. Each listens on a free port of 127.0.0.1, keeps what it has in a directory of the test, and ends with the test; if that failed, the server's
// log is shown.
//
//	s3 := emulator.Versity(t)
//	bucket := s3.NewBucket(t)
//	s3.Pause(t) // the server hangs
//	s3.Resume(t)
//	s3.Kill()   // and crashes
//	s3.Restart(t)
//
// The servers are pinned in servers/NAME and are built or installed at their first use, which takes minutes and needs Go's module proxy, for azurite
// node and npm. What is missing fails the test: a suite that skips itself shows nothing.
package emulator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds the time until a server answers. startTries is how often another port is tried when a server ends at once: between the
// choice of a port and its use by the server, somebody else may have taken it.
const (
	startTimeout = 60 * time.Second
	startTries   = 5
	pollInterval = 20 * time.Millisecond
)

// Server is the process of a storage server.
type Server struct {
	// Dir is where it keeps its data.
	Dir string
	// Addr is where it listens, such as "127.0.0.1:40001".
	Addr string

	name    string
	command func(host, port string) *exec.Cmd
	// health is a URL that answers, with whatever status, as soon as the server serves.
	health func(addr string) string
	client *http.Client
	log    *tail
	// ending is the signal that ends it, if that is not SIGKILL.
	ending syscall.Signal

	mu      sync.Mutex // guards what a restart replaces
	process *os.Process
	exited  chan struct{}
}

// start starts the server on a port that was free a moment ago, and waits until it answers.
func (s *Server) start(tb testing.TB) {
	tb.Helper()
	s.log = new(tail)
	tb.Cleanup(func() {
		s.Kill()
		s.client.CloseIdleConnections()
		if tb.Failed() {
			tb.Logf("the log of %s at %s, its last lines:\n%s", s.name, s.Addr, s.log)
		}
	})
	var err error
	for range startTries {
		if s.Addr, err = freeAddr(tb.Context()); err != nil {
			tb.Fatalf("%s: no free port of 127.0.0.1: %v", s.name, err)
		}
		if err = s.run(tb.Context()); !errors.Is(err, errEnded) {
			break
		}
	}
	if err != nil {
		tb.Fatalf("%s does not start: %v; its log:\n%s", s.name, err, s.log)
	}
}

// errEnded says that the process ended before it answered.
var errEnded = errors.New("it ended at once")

// run starts the process and waits until it answers.
func (s *Server) run(ctx context.Context) error {
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	cmd := s.command(host, port)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.WaitDelay = 10 * time.Second
	dieWithParent(cmd, s.endingSignal())

	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		// A child that dies with its parent dies with the thread that started it: keep that one.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // a server ends by being killed; the log tells if it ended otherwise
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.mu.Lock()
	s.process, s.exited = cmd.Process, exited
	s.mu.Unlock()
	return s.awaitReady(ctx, exited)
}

func (s *Server) awaitReady(ctx context.Context, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		err := s.ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("no answer after %v: %w", startTimeout, err)
		case <-poll.C:
		}
	}
}

// ask gets the health URL once.
func (s *Server) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.health(s.Addr), nil)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("it answers %s", resp.Status) // MinIO says 503 while it starts
	}
	return nil
}

// Pause stops the process: connections are taken by the kernel, and nothing answers on them.
func (s *Server) Pause(tb testing.TB) {
	tb.Helper()
	s.signal(tb, syscall.SIGSTOP)
}

// Resume ends a [Server.Pause].
func (s *Server) Resume(tb testing.TB) {
	tb.Helper()
	s.signal(tb, syscall.SIGCONT)
}

func (s *Server) signal(tb testing.TB, sig os.Signal) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.process.Signal(sig); err != nil {
		tb.Fatalf("%s: %v: %v", s.name, sig, err)
	}
}

// Kill ends the process as a crash does, also a paused one, and waits for its end. The data stays.
func (s *Server) Kill() {
	s.mu.Lock()
	process, exited := s.process, s.exited
	s.mu.Unlock()
	if process == nil {
		return
	}
	_ = process.Signal(s.endingSignal()) // an error means that it has ended already
	<-exited
}

func (s *Server) endingSignal() syscall.Signal { return cmp.Or(s.ending, syscall.SIGKILL) }

// Restart starts the server again after [Server.Kill], with the same address and data.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Kill()
	if err := s.run(tb.Context()); err != nil {
		tb.Fatalf("%s does not start again at %s: %v; its log:\n%s", s.name, s.Addr, err, s.log)
	}
}

// PID is that of the process.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.Pid
}

// Log is the end of what the server has written so far.
func (s *Server) Log() string { return s.log.String() }

// environment is all that a server sees of this process's: no credentials, no settings, no proxy.
func environment(home string, more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + os.TempDir()}, more...)
}

// freeAddr returns an address of 127.0.0.1 that nobody listens on right now.
func freeAddr(ctx context.Context) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// absolute keeps a relative directory from meaning another one in the server's process.
func absolute(tb testing.TB, dir string) string {
	tb.Helper()
	abs, err := filepath.Abs(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return abs
}
