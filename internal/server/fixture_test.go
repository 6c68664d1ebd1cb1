package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a server on a loopback port, over a store in memory.
type fixture struct {
	t       *testing.T
	url     string
	addr    string
	server  *Server
	store   *faultyStore
	auth    *fakeAuth
	log     *lockedBuffer
	client  *http.Client
	metrics *prometheus.Registry
}

func newFixture(t *testing.T, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{
		t: t, store: &faultyStore{Store: mem.New()}, auth: &fakeAuth{open: true}, log: &lockedBuffer{},
		metrics: prometheus.NewRegistry(),
		client:  &http.Client{Transport: &http.Transport{DisableCompression: true}},
	}
	opts := Options{
		Cache:    cache.New(f.store, cache.Options{MaxSize: 8 << 20, Limits: artifact.DefaultLimits(), StoreTimeout: 10 * time.Second, Now: time.Now}),
		Auth:     f.auth,
		Log:      slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registry: f.metrics, ServeMetrics: true,
		HeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second, StallTimeout: 10 * time.Second,
		DrainTimeout: 10 * time.Second, DrainLimit: 1 << 30,
	}
	for _, c := range change {
		c(&opts)
	}
	f.server = New(opts)
	listeners, err := Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = listeners[0].Addr().String()
	f.url = "http://" + f.addr
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(listeners[0], nil) }()
	t.Cleanup(func() {
		f.client.CloseIdleConnections()
		if err := f.server.Shutdown(context.Background(), 0, 10*time.Second); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return f
}

// do sends a request and reads the whole answer.
func (f *fixture) do(method, path string, body []byte, header ...string) (*http.Response, []byte) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, bytes.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp, got
}

// want sends a request and checks the status.
func (f *fixture) want(status int, method, path string, body []byte, header ...string) []byte {
	f.t.Helper()
	resp, got := f.do(method, path, body, header...)
	if resp.StatusCode != status {
		f.t.Fatalf("%s %s: %d %q, want %d", method, path, resp.StatusCode, got, status)
	}
	return got
}

// raw sends bytes over a connection of its own and reads one answer to what method is.
func (f *fixture) raw(method, request string) (*http.Response, error) {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}

// stored counts the entries.
func (f *fixture) stored() int {
	n := 0
	for range f.store.Store.List(context.Background(), "") {
		n++
	}
	return n
}

// waitForLog waits until the log has n lines with text: a request's line is written after its answer.
func (f *fixture) waitForLog(n int, text string) {
	f.t.Helper()
	deadline := time.After(10 * time.Second)
	for strings.Count(f.log.String(), text) < n {
		select {
		case <-deadline:
			f.t.Fatalf("the log never had %d times %s:\n%s", n, text, f.log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// fakeAuth is an open server, or one that gives everyone the same answer.
type fakeAuth struct {
	mu      sync.Mutex
	open    bool
	denial  error
	invalid error
	// exchange answers requests for sessions.
	exchange func(credential string, named cache.Workspace, ttl time.Duration) (trust.Issued, error)
	producer cache.Producer
}

func (a *fakeAuth) set(err error)        { a.mu.Lock(); defer a.mu.Unlock(); a.denial = err }
func (a *fakeAuth) invalidate(err error) { a.mu.Lock(); defer a.mu.Unlock(); a.invalid = err }
func (a *fakeAuth) mustBeOpen(open bool) { a.mu.Lock(); defer a.mu.Unlock(); a.open = open }

// Grant gives "Bearer pr/N" its own scope, and everybody else the trusted one.
func (a *fakeAuth) Grant(_ context.Context, authorization string, _ cache.Workspace) (cache.Grant, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if scope, ok := strings.CutPrefix(authorization, "Bearer pr/"); ok {
		own := cache.Scope("pr/" + scope)
		return cache.Grant{Workspace: cache.DefaultWorkspace, Read: []cache.Scope{cache.Trusted, own}, Write: own}, a.denial
	}
	return cache.Grant{
		Workspace: cache.DefaultWorkspace, Read: []cache.Scope{cache.Trusted}, Write: cache.Trusted,
		Producer: a.producer,
	}, a.denial
}
func (a *fakeAuth) Valid(context.Context, string, cache.Workspace, cache.Grant) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.invalid
}
func (a *fakeAuth) Exchange(_ context.Context, credential string, named cache.Workspace, ttl time.Duration) (trust.Issued, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.exchange(credential, named, ttl)
}
func (a *fakeAuth) Known(w cache.Workspace) bool { return w == cache.DefaultWorkspace }
func (a *fakeAuth) Open() bool                   { a.mu.Lock(); defer a.mu.Unlock(); return a.open }

// faultyStore asks before each operation whether it should fail.
type faultyStore struct {
	cache.Store
	mu    sync.Mutex
	fault func(op string) error
}

func (s *faultyStore) set(fault func(op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *faultyStore) ask(op string) error {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(op)
}

func (s *faultyStore) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if err := s.ask("open"); err != nil {
		return nil, err
	}
	obj, err := s.Store.Open(ctx, key)
	if err == nil {
		obj.Body = &faultyBody{obj.Body, s, 0}
	}
	return obj, err
}

func (s *faultyStore) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	if err := s.ask("create"); err != nil {
		return nil, err
	}
	draft, err := s.Store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &faultyDraft{draft, s}, nil
}

func (s *faultyStore) List(ctx context.Context, w cache.Workspace) iter.Seq2[cache.Entry, error] {
	return s.Store.List(ctx, w)
}

type faultyBody struct {
	io.ReadCloser
	store *faultyStore
	read  int
}

// Read fails behind the first half megabyte, if it is to fail.
func (b *faultyBody) Read(p []byte) (int, error) {
	if b.read > 512<<10 {
		if err := b.store.ask("read"); err != nil {
			return 0, err
		}
	}
	n, err := b.ReadCloser.Read(p)
	b.read += n
	return n, err
}

type faultyDraft struct {
	cache.Draft
	store *faultyStore
}

func (d *faultyDraft) Write(p []byte) (int, error) {
	if err := d.store.ask("write"); err != nil {
		return 0, err
	}
	return d.Draft.Write(p)
}

func (d *faultyDraft) Commit(ctx context.Context, r cache.Record) error {
	if err := d.store.ask("commit"); err != nil {
		return err
	}
	return d.Draft.Commit(ctx, r)
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}
func (b *lockedBuffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }
func (b *lockedBuffer) Reset()         { b.mu.Lock(); defer b.mu.Unlock(); b.b.Reset() }

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newTestRegistry() *prometheus.Registry { return prometheus.NewRegistry() }
