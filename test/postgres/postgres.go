// Package postgres starts a PostgreSQL server for Go tests: a real one, on a free port of 127.0.0.1 and on a Unix socket, with its data in a directory
// of its own. Its roles have passwords, which it asks for over TCP.
//
//	server := postgres.New(t)
//	url := server.NewDatabase(t)
//	server.Pause(t) // all of it hangs
//	server.Resume(t)
//	server.Stop(t)  // as an administrator does for an upgrade
//	server.Restart(t)
//
// It looks for initdb and postgres below /usr/lib/postgresql, where Debian's package has them, and then on the PATH. What is missing fails the test: a suite that
// skips itself shows nothing.
package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	startTimeout = 60 * time.Second
	startTries   = 5
	pollInterval = 20 * time.Millisecond
)

// Role owns the databases of [Server.NewDatabase], and Password is its password.
const (
	Role     = "bezoar"
	Password = "p@ss w/rd:100%#"
)

// Server is a server of PostgreSQL.
type Server struct {
	// Socket is the directory of its Unix socket, and Port its port on 127.0.0.1.
	Socket string
	Port   int

	programs   programs
	dir        string
	credential *syscall.Credential

	mu      sync.Mutex // guards what a restart replaces
	process *os.Process
	exited  chan struct{}
	log     *bytes.Buffer // complete when exited is closed
}

// New starts a server that ends with the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	s, err := Start(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Logf("the log of PostgreSQL:\n%s", s.log)
		}
	})
	return s
}

// Start starts a server for all tests of a package, until [Server.Close].
func Start(ctx context.Context) (*Server, error) {
	programs, err := find()
	if err != nil {
		return nil, err
	}
	// Not a directory of a test: those cannot be entered by another user.
	dir, err := os.MkdirTemp("", "bezoar-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{programs: programs, dir: dir, Socket: dir}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("PostgreSQL does not start: %w", err), s.Close())
	}
	return s, nil
}

func (s *Server) begin(ctx context.Context) (err error) {
	if s.credential, err = otherUser(); err != nil {
		return err
	}
	if s.credential != nil {
		if err := os.Chown(s.dir, int(s.credential.Uid), int(s.credential.Gid)); err != nil {
			return err
		}
	}
	initdb := s.command(s.programs.initdb, "--pgdata", s.data(), "--username", "postgres", "--encoding", "UTF8", "--locale", "C",
		"--auth-local", "trust", "--auth-host", "scram-sha-256", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	for range startTries {
		if s.Port, err = freePort(ctx); err != nil {
			return err
		}
		if err = s.run(ctx); !errors.Is(err, errEnded) {
			break
		}
	}
	if err != nil {
		return err
	}
	return s.Execute(ctx, "postgres", "CREATE ROLE "+Role+" LOGIN PASSWORD '"+Password+"'")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// command runs as another user if this is root, and sees nothing of this process's environment.
func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = childAttributes(s.credential)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

var errEnded = errors.New("it ended at once")

func (s *Server) run(ctx context.Context) error {
	log := new(bytes.Buffer)
	cmd := s.command(s.programs.postgres, "-D", s.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-k", s.Socket,
		"-c", "fsync=off", "-c", "max_connections=60", "-c", "shared_buffers=32MB")
	cmd.Stdout, cmd.Stderr = log, log
	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		// A child that dies with its parent dies with the thread that started it: keep that one.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the log tells how it ended
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.mu.Lock()
	s.process, s.exited, s.log = cmd.Process, exited, log
	s.mu.Unlock()
	return s.awaitReady(ctx, exited)
}

func (s *Server) awaitReady(ctx context.Context, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		err := s.Execute(ctx, "postgres", "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("%w: %s", errEnded, s.log)
		case <-ctx.Done():
			return fmt.Errorf("no answer after %v: %w", startTimeout, err)
		case <-poll.C:
		}
	}
}

// Execute runs a statement in a database, as the superuser.
func (s *Server) Execute(ctx context.Context, database, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@/%s?host=%s&port=%d&sslmode=disable", database, url.QueryEscape(s.Socket), s.Port))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// NewDatabase makes an empty database of [Role] and returns its URL, without the password.
func (s *Server) NewDatabase(tb testing.TB) string {
	tb.Helper()
	name, err := s.MakeDatabase(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return s.URL(name)
}

// MakeDatabase makes an empty database of [Role] and returns its name.
func (s *Server) MakeDatabase(ctx context.Context) (string, error) {
	name := "db" + fmt.Sprintf("%x", rand.Text()[:8])
	return name, s.Execute(ctx, "postgres", "CREATE DATABASE "+name+" OWNER "+Role)
}

// URL is that of a database, without the password.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", Role, s.Port, database)
}

// Stop ends the server as an administrator does: connections are closed, transactions rolled back.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	s.end(syscall.SIGINT)
}

// Restart starts the server again after [Server.Stop], with the same data at the same port.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.run(tb.Context()); err != nil {
		tb.Fatalf("PostgreSQL does not start again: %v", err)
	}
}

func (s *Server) end(signal os.Signal) {
	s.mu.Lock()
	process, exited := s.process, s.exited
	s.mu.Unlock()
	if process == nil {
		return
	}
	_ = process.Signal(signal) // an error means that it has ended already
	select {
	case <-exited:
	case <-time.After(30 * time.Second):
		_ = process.Kill()
		<-exited
	}
}

// Close ends the server, also a paused one, and removes its data.
func (s *Server) Close() error {
	s.mu.Lock()
	process := s.process
	s.mu.Unlock()
	if process != nil {
		for _, pid := range s.processes() {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
		s.end(syscall.SIGQUIT)
	}
	return os.RemoveAll(s.dir)
}

func freePort(ctx context.Context) (int, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
