package bezoar

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds the time until a server says that it serves; stopTimeout the
// time from SIGTERM to its end; awaitTimeout the wait for what must show in its log.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 60 * time.Second
	awaitTimeout = 20 * time.Second
)

// Server is a running server.
type Server struct {
	// URL such as "http://127.0.0.1:40001", without a slash at its end.
	URL string

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended and its log is complete

	mu  sync.Mutex
	log bytes.Buffer
}

// Serve starts a server on a free port of 127.0.0.1, with its data in the directory, and waits until it serves. It is
// ended with the test at the latest; if the test failed, its log is shown.
func (b Binary) Serve(tb testing.TB, data string, args ...string) *Server {
	tb.Helper()
	return b.ServeAt(tb, "127.0.0.1:0", data, args...)
}

// ServeAt is [Binary.Serve] at an address, such as that of a server that was killed.
func (b Binary) ServeAt(tb testing.TB, addr, data string, args ...string) *Server {
	tb.Helper()
	args = append([]string{"serve", "--data", data, "--listen", addr, "--log-format", "json"}, args...)
	// Not the test's context: that one ends before Cleanup, which stops the server in good order.
	return serve(tb, b.Command(context.Background(), args...))
}

func serve(tb testing.TB, cmd *exec.Cmd) *Server {
	tb.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	s := &Server{cmd: cmd, exited: make(chan struct{})}
	serving := make(chan string, 1)
	go s.follow(stderr, serving)
	tb.Cleanup(func() {
		s.end()
		if tb.Failed() {
			tb.Logf("the log of the server at %s, its last lines:\n%s", s.URL, s.tail(80))
		}
	})
	select {
	case s.URL = <-serving:
	case <-s.exited:
		tb.Fatalf("%v ended at once:\n%s", cmd.Args, s.Log())
	case <-time.After(startTimeout):
		tb.Fatalf("%v does not serve after %v:\n%s", cmd.Args, startTimeout, s.Log())
	}
	return s
}

// follow keeps the log, and sends the server's URL as soon as a line names it.
func (s *Server) follow(stderr io.Reader, serving chan<- string) {
	defer close(s.exited)
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadString('\n')
		s.mu.Lock()
		s.log.WriteString(line)
		s.mu.Unlock()
		var event struct{ Msg, URL string }
		if json.Unmarshal([]byte(line), &event) == nil && event.Msg == "serving" {
			serving <- event.URL
		}
		if err != nil {
			break
		}
	}
	_ = s.cmd.Wait() // the status is read from ProcessState
}

// Stop ends the server as a service manager does, and fails the test if it does not end well.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	s.Terminate()(tb)
}

// Terminate tells the server to end, once: a second time would end it at once. What it returns waits for its end as [Server.Stop] does.
func (s *Server) Terminate() (wait func(testing.TB)) {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	return s.ended
}

func (s *Server) ended(tb testing.TB) {
	tb.Helper()
	s.await()
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		tb.Errorf("after SIGTERM the server ended with %v, want 0; its log:\n%s", s.cmd.ProcessState, s.tail(40))
	}
}

// Kill ends the server as a crash does.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// PID is that of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

func (s *Server) end() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	s.await()
}

func (s *Server) await() {
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
}

// Log is what the server has written to standard error so far.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *Server) tail(n int) string {
	lines := strings.SplitAfter(s.Log(), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

// Request is a request for an artifact as the server logs it, when its answer is complete.
type Request struct {
	Method string
	// Scope is what answered a GET, or where a PUT went.
	Scope  string
	Hash   string
	Status int
	// Result is hit, miss, stored, exists, refused, denied or error.
	Result string
	// Error is why it was not a hit or stored, and Cause the same as one of a few words.
	Error string
	Cause string
}

// ReadRequests reads the requests of a log. Lines that are no JSON are left out.
func ReadRequests(log string) []Request {
	var requests []Request
	for line := range strings.Lines(log) {
		var event struct {
			Msg string
			Request
		}
		if json.Unmarshal([]byte(line), &event) == nil && event.Msg == "request" {
			requests = append(requests, event.Request)
		}
	}
	return requests
}

// Requests lists the requests that were answered so far, oldest first.
func (s *Server) Requests(tb testing.TB) []Request {
	tb.Helper()
	var requests []Request
	for line := range strings.Lines(s.Log()) {
		var event struct {
			Msg string
			Request
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			tb.Errorf("a line of the log is not JSON (%v): %q", err, line)
			continue
		}
		if event.Msg == "request" {
			requests = append(requests, event.Request)
		}
	}
	return requests
}

// Await waits until cond holds for the requests answered so far, and returns them. A client may have its answer before
// the server has logged it. What names the condition if it never comes true.
func (s *Server) Await(tb testing.TB, what string, cond func([]Request) bool) []Request {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), awaitTimeout)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		requests := s.Requests(tb)
		if cond(requests) {
			return requests
		}
		select {
		case <-ctx.Done():
			tb.Fatalf("no sign of this after %v: %s; the server answered %v", awaitTimeout, what, Results(requests))
		case <-poll.C:
		}
	}
}

// AwaitResults waits until the requests, counted as by [Results], are as wanted, and fails the test if they do not become so.
// Misses do not count: Nx 22 asks several times for a task that waits for its turn.
func (s *Server) AwaitResults(tb testing.TB, want map[string]int) {
	tb.Helper()
	s.Await(tb, fmt.Sprint("answers ", want), func(requests []Request) bool {
		got := Results(requests)
		delete(got, "GET miss")
		return maps.Equal(got, want)
	})
}

// Results counts the requests by method and result, such as "GET hit".
func Results(requests []Request) map[string]int {
	counts := map[string]int{}
	for _, r := range requests {
		counts[r.Method+" "+r.Result]++
	}
	return counts
}

// Hashes lists the hashes that were asked for with the method, each once, in order.
func Hashes(requests []Request, method string) []string {
	var hashes []string
	for _, r := range requests {
		if r.Method == method {
			hashes = append(hashes, r.Hash)
		}
	}
	slices.Sort(hashes)
	return slices.Compact(hashes)
}

// Metric returns the value of a metric without labels.
func (s *Server) Metric(tb testing.TB, name string) float64 {
	tb.Helper()
	status, text, err := Do(tb.Context(), "GET", s.URL+"/metrics", nil)
	if err != nil || status != 200 {
		tb.Fatalf("GET /metrics: %d, %v", status, err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				tb.Fatalf("the metric %s is %q", name, value)
			}
			return n
		}
	}
	tb.Fatalf("there is no metric %s", name)
	return 0
}

// AwaitMetric waits until a metric without labels is as wanted. What names the condition if it never comes true.
func (s *Server) AwaitMetric(tb testing.TB, name, what string, cond func(float64) bool) {
	tb.Helper()
	deadline := time.After(awaitTimeout)
	for {
		got := s.Metric(tb, name)
		if cond(got) {
			return
		}
		select {
		case <-deadline:
			tb.Fatalf("the metric %s is %v after %v, want %s", name, got, awaitTimeout, what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// AwaitLog waits until cond holds for what the server has logged. What names the condition if it never comes true.
func (s *Server) AwaitLog(tb testing.TB, what string, cond func(log string) bool) {
	tb.Helper()
	deadline := time.After(awaitTimeout)
	for !cond(s.Log()) {
		select {
		case <-deadline:
			tb.Fatalf("no sign of this in the log after %v: %s", awaitTimeout, what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
