//go:build e2e

// Package process_test runs the built server as processes: several on one directory, and killed at random.
package process_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the built server; TestMain builds it.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "bezoar-process")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "bezoar")
		build := exec.Command("go", "build", "-o", binary, "github.com/bezoar-cache/bezoar/cmd/bezoar")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build:", err)
			return 1
		}
		return m.Run()
	}())
}

// server is a running process.
type server struct {
	t   *testing.T
	cmd *exec.Cmd
	url string
	log *bytes.Buffer // complete once the process has ended
}

// start runs "bezoar serve" on a free port and waits until it serves.
func start(t *testing.T, args ...string) *server {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "BEZOAR_") })
	s := &server{t: t, cmd: cmd, log: &bytes.Buffer{}}
	cmd.Stderr = s.log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if m := regexp.MustCompile(`SERVER=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			s.url = m[1]
		}
		if strings.Contains(lines.Text(), "ACCESS_TOKEN=") {
			break
		}
	}
	if s.url == "" {
		cmd.Wait()
		t.Fatalf("the server did not start:\n%s", s.log)
	}
	return s
}

// kill ends the process as a crash does.
func (s *server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// stop ends it in order.
func (s *server) stop() {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("the server ended with %v:\n%s", err, s.log)
	}
}

var client = &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}

// do sends a request; an error is one of the connection.
func do(ctx context.Context, method, url string, body []byte) (status int, got []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	got, err = io.ReadAll(resp.Body)
	return resp.StatusCode, got, err
}

// TestFiftyWritersThroughTwoServers races different bodies under one key through two processes on one directory: one is told
// 200, the others 409, and every reader of either sees a miss or the winner's bytes.
func TestFiftyWritersThroughTwoServers(t *testing.T) {
	store := "file://" + t.TempDir()
	servers := []*server{
		start(t, "--data", t.TempDir(), "--store", store),
		start(t, "--data", t.TempDir(), "--store", store),
	}
	for round := range 10 {
		raceOnce(t, servers, fmt.Sprintf("/v1/cache/race-%d", round), 50)
	}
	for _, s := range servers {
		s.stop()
	}
}

func raceOnce(t *testing.T, servers []*server, path string, writers int) {
	t.Helper()
	type answer struct {
		status int
		body   []byte
	}
	bodies := make([][]byte, writers)
	puts := make([]answer, writers)
	gets := make([]answer, writers)
	var wg sync.WaitGroup
	for i := range writers {
		bodies[i] = artifactOf(uint64(i), 64<<10)
		s := servers[i%len(servers)]
		wg.Go(func() {
			status, body, err := do(t.Context(), "PUT", s.url+path, bodies[i])
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
			puts[i] = answer{status, body}
		})
		wg.Go(func() {
			status, body, err := do(t.Context(), "GET", s.url+path, nil)
			if err != nil {
				t.Errorf("reader %d: %v", i, err)
			}
			gets[i] = answer{status, body}
		})
	}
	wg.Wait()
	winner := -1
	for i, a := range puts {
		switch {
		case a.status == http.StatusOK && winner < 0:
			winner = i
		case a.status == http.StatusOK:
			t.Fatalf("writers %d and %d both won", winner, i)
		case a.status != http.StatusConflict:
			t.Errorf("writer %d: %d %s", i, a.status, a.body)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	for _, s := range servers {
		status, body, err := do(t.Context(), "GET", s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		gets = append(gets, answer{status, body})
		if status != http.StatusOK {
			t.Errorf("%s: %d after the race", s.url, status)
		}
	}
	for _, a := range gets {
		if a.status != http.StatusNotFound && (a.status != http.StatusOK || !bytes.Equal(a.body, bodies[winner])) {
			t.Errorf("a reader got %d and %d bytes that are not the winner's", a.status, len(a.body))
		}
	}
}

// until polls for something that only a broken server never does.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !happened() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

var errWrongBytes = errors.New("bytes that nobody uploaded under this hash")
