package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
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
		if err := f.server.Shutdown(context.Background()); err != nil {
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

func TestAnArtifactComesBackAsItWent(t *testing.T) {
	f := newFixture(t)
	body := artifacttest.Typical(1)
	f.want(404, "GET", "/v1/cache/123", nil)
	f.want(404, "HEAD", "/v1/cache/123", nil)
	f.want(200, "PUT", "/v1/cache/123", body)
	resp, got := f.do("GET", "/v1/cache/123", nil)
	if resp.StatusCode != 200 || !bytes.Equal(got, body) {
		t.Fatalf("GET: %d, %d bytes of %d", resp.StatusCode, len(got), len(body))
	}
	if got := resp.Header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("Content-Type %q", got)
	}
	resp, _ = f.do("HEAD", "/v1/cache/123", nil)
	if resp.StatusCode != 200 || resp.ContentLength != int64(len(body)) {
		t.Errorf("HEAD: %d, length %d, want %d", resp.StatusCode, resp.ContentLength, len(body))
	}
	f.want(409, "PUT", "/v1/cache/123", artifacttest.Typical(2))
	if got := f.want(200, "GET", "/v1/cache/123", nil); !bytes.Equal(got, body) {
		t.Error("the second upload changed the entry")
	}
}

func TestPathsThatClientsSend(t *testing.T) {
	f := newFixture(t)
	f.want(200, "PUT", "//v1/cache/1", artifacttest.Typical(1))
	for _, path := range []string{"/v1/cache/1", "//v1/cache/1", "/team-a/v1/cache/1", "/a/b//c/v1/cache/1", "/default/v1/cache/1", "/v1/cache/1?x=y"} {
		f.want(200, "GET", path, nil)
	}
	for _, path := range []string{"/v1/cache/", "/v1/cache/a.b", "/v1/cache/..", "/v1/cache/%31", "/v1/cache/" + strings.Repeat("1", 129)} {
		f.want(404, "GET", path, nil)
		f.want(403, "PUT", path, artifacttest.Typical(1))
	}
	f.want(405, "POST", "/v1/cache/1", nil)
	f.want(405, "DELETE", "/v1/cache/1", nil)
	f.want(404, "GET", "/nothing", nil)
	if n := f.stored(); n != 1 {
		t.Errorf("%d entries", n)
	}
}

func TestHostileArchivesAreRefused(t *testing.T) {
	f := newFixture(t)
	for _, c := range artifacttest.Hostile() {
		got := f.want(403, "PUT", "/v1/cache/1", c.Body)
		member := ""
		if c.WantMember != "" {
			member = strconv.Quote(c.WantMember)
		}
		if !strings.Contains(string(got), c.WantReason) || !strings.Contains(string(got), member) {
			t.Errorf("%s: the client is told %q; it should hear of %s and %q", c.Name, got, member, c.WantReason)
		}
	}
	if n := f.stored(); n != 0 {
		t.Errorf("%d hostile archives were stored", n)
	}
	f.want(200, "PUT", "/v1/cache/1", artifacttest.Typical(1))
}

func TestLengthBinds(t *testing.T) {
	f := newFixture(t)
	body := string(artifacttest.Typical(1))
	put := func(headers, body string) (int, error) {
		resp, err := f.raw("PUT", "PUT /v1/cache/1 HTTP/1.1\r\nHost: localhost\r\n"+headers+"\r\n"+body)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, nil
	}
	for name, c := range map[string]struct{ headers, body string }{
		"no length":      {"", ""},
		"chunked":        {"Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)},
		"length zero":    {"Content-Length: 0\r\n", ""},
		"length too low": {fmt.Sprintf("Content-Length: %d\r\n", len(body)-1), body},
	} {
		if status, err := put(c.headers, c.body); err != nil || status != 403 {
			t.Errorf("%s: %d %v, want 403", name, status, err)
		}
	}
	for name, headers := range map[string]string{
		"negative":                  "Content-Length: -1\r\n",
		"no number":                 "Content-Length: many\r\n",
		"two lengths":               fmt.Sprintf("Content-Length: %d\r\nContent-Length: %d\r\n", len(body), len(body)-1),
		"length and other encoding": fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: gzip\r\n", len(body)),
	} {
		if status, err := put(headers, body); err != nil || status < 400 {
			t.Errorf("%s: %d %v", name, status, err)
		}
	}
	if n := f.stored(); n != 0 {
		t.Fatalf("%d entries were stored", n)
	}
	// Bytes behind the announced ones are a next request by HTTP's rules, and no part of the entry.
	if status, err := put(fmt.Sprintf("Content-Length: %d\r\n", len(body)), body+"more"); err != nil || status != 200 {
		t.Errorf("more bytes: %d %v", status, err)
	}
	if got := f.want(200, "GET", "/v1/cache/1", nil); string(got) != body {
		t.Error("the bytes behind the announced ones went into the entry")
	}
}

func TestALostConnectionStoresNothing(t *testing.T) {
	f := newFixture(t)
	body := artifacttest.Typical(1)
	for _, sent := range []int{0, 1, len(body) / 2, len(body) - 1} {
		conn, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "PUT /v1/cache/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:sent])
		conn.Close()
	}
	f.waitForLog(4, `"method":"PUT"`)
	if n := f.stored(); n != 0 {
		t.Errorf("%d entries were stored", n)
	}
	f.want(200, "PUT", "/v1/cache/1", body)
}

// TestRefusedUploadsAreDrained: a client that sends all before it reads must see the answer, and its connection must live on.
func TestRefusedUploadsAreDrained(t *testing.T) {
	f := newFixture(t)
	big := artifacttest.Random(4<<20, 1)
	f.want(200, "PUT", "/v1/cache/taken", artifacttest.Typical(1))
	for name, c := range map[string]struct {
		path   string
		auth   error
		body   []byte
		status int
	}{
		"exists":        {"/v1/cache/taken", nil, big, 409},
		"bad hash":      {"/v1/cache/a.b", nil, big, 403},
		"no credential": {"/v1/cache/2", &trust.DeniedError{Err: trust.ErrNoCredential, Reason: "no"}, big, 403},
		"forged":        {"/v1/cache/2", &trust.DeniedError{Err: trust.ErrUnknown, Reason: "no"}, big, 401},
		"no archive":    {"/v1/cache/2", nil, bytes.Repeat([]byte("x"), 4<<20), 403},
		"too large":     {"/v1/cache/2", nil, bytes.Repeat([]byte("x"), 9<<20), 403},
	} {
		f.auth.set(c.auth)
		conn, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		for range 2 {
			fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", c.path, len(c.body))
			if _, err := conn.Write(c.body); err != nil {
				t.Fatalf("%s: the server did not take the whole body: %v", name, err)
			}
			resp, err := http.ReadResponse(r, &http.Request{Method: "PUT"})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != c.status || resp.Close {
				t.Errorf("%s: %d, closes: %v; want %d on a connection that lives", name, resp.StatusCode, resp.Close, c.status)
			}
		}
		conn.Close()
	}
}

func TestDrainingIsBounded(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.DrainLimit = 1 << 20 })
	resp, err := f.raw("PUT", "PUT /v1/cache/a.b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"+strings.Repeat("x", 1<<20))
	if err != nil || resp.StatusCode != 403 || !resp.Close {
		t.Fatalf("%v %v, want 403 and a close", resp, err)
	}
	f = newFixture(t, func(o *Options) { o.DrainTimeout = 20 * time.Millisecond })
	resp, err = f.raw("PUT", "PUT /v1/cache/a.b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\nxxx")
	if err != nil || resp.StatusCode != 403 || !resp.Close {
		t.Fatalf("%v %v, want 403 and a close", resp, err)
	}
}

func TestAClientThatWaitsForOurWordSendsNothing(t *testing.T) {
	f := newFixture(t)
	f.want(200, "PUT", "/v1/cache/taken", artifacttest.Typical(1))
	resp, err := f.raw("PUT", "PUT /v1/cache/taken HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
	if err != nil || resp.StatusCode != 409 {
		t.Fatalf("%v %v, want 409 at once", resp, err)
	}
	body := artifacttest.Typical(2)
	resp, err = f.raw("PUT", fmt.Sprintf("PUT /v1/cache/free HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	if err != nil || resp.StatusCode != 100 {
		t.Fatalf("%v %v, want 100", resp, err)
	}
}

func TestAStalledUploadEnds(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.StallTimeout = 20 * time.Millisecond })
	resp, err := f.raw("PUT", "PUT /v1/cache/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n\x1f\x8b")
	if err != nil || resp.StatusCode != 403 || !resp.Close {
		t.Fatalf("%v %v, want 403 and a close", resp, err)
	}
	f.waitForLog(1, `"cause":"upload_stalled"`)
}

// TestNoBodyHoldsAConnection: whatever a request's method and however little is missing of its body, a client that sends no more
// and stays is answered and let go. net/http would wait for the last 256 KB of a body without a deadline.
func TestNoBodyHoldsAConnection(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.StallTimeout, o.DrainTimeout = 20*time.Millisecond, 20*time.Millisecond })
	f.want(200, "PUT", "/v1/cache/taken", artifacttest.Typical(1))
	for _, head := range []string{
		"GET /v1/cache/1 HTTP/1.1", "HEAD /v1/cache/1 HTTP/1.1", "POST /v1/cache/1 HTTP/1.1",
		"GET /livez HTTP/1.1", "PUT /elsewhere HTTP/1.1",
		"PUT /v1/cache/1 HTTP/1.1", "PUT /v1/cache/a.b HTTP/1.1", "PUT /v1/cache/taken HTTP/1.1\r\nExpect: 100-continue",
	} {
		for _, body := range []string{"Content-Length: 100\r\n\r\n\x1f", "Transfer-Encoding: chunked\r\n\r\n5\r\nab"} {
			conn, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // for a server that fails this test
			if _, err := io.WriteString(conn, head+"\r\nHost: localhost\r\n"+body); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 ")) {
				t.Errorf("%s with %q: %q, %v; want an answer and an end", head, body, answer, err)
			}
			conn.Close()
		}
	}
}

func TestA401IsPlainText(t *testing.T) {
	f := newFixture(t)
	f.auth.set(&trust.DeniedError{Err: trust.ErrRevoked, Reason: "the token 0123 was revoked"})
	for _, method := range []string{"GET", "PUT"} {
		resp, body := f.do(method, "/v1/cache/1", nil, "Authorization", "Bearer bzr_x")
		if got := resp.Header["Content-Type"]; len(got) != 1 || got[0] != "text/plain" {
			t.Errorf("%s: Content-Type %q; Nx hides the text of any other", method, got)
		}
		if resp.StatusCode != 401 || string(body) != "the token 0123 was revoked\n" {
			t.Errorf("%s: %d %q", method, resp.StatusCode, body)
		}
	}
}

func TestARevokedCredentialDoesNotFinishItsUpload(t *testing.T) {
	f := newFixture(t)
	f.auth.invalidate(&trust.DeniedError{Err: trust.ErrRevoked, Reason: "revoked"})
	f.want(401, "PUT", "/v1/cache/1", artifacttest.Typical(1))
	if n := f.stored(); n != 0 {
		t.Errorf("%d entries were stored", n)
	}
}

func TestTroubleInTheStoreBreaksNoBuild(t *testing.T) {
	trouble := errors.New("dial tcp 10.0.0.1: connection refused")
	for name, fault := range map[string]func(op string) error{
		"every operation fails": func(string) error { return trouble },
		"only commits fail": func(op string) error {
			if op == "commit" {
				return trouble
			}
			return nil
		},
		"only writes fail": func(op string) error {
			if op == "write" {
				return trouble
			}
			return nil
		},
		"a panic": func(string) error { panic("a bug") },
	} {
		f := newFixture(t)
		f.store.set(fault)
		got := f.want(403, "PUT", "/v1/cache/1", artifacttest.Typical(1))
		if strings.Contains(string(got), "10.0.0.1") {
			t.Errorf("%s: the client is told %q", name, got)
		}
		if resp, _ := f.do("GET", "/v1/cache/1", nil); resp.StatusCode != 404 {
			t.Errorf("%s: GET %d", name, resp.StatusCode)
		}
		f.store.set(nil)
		f.want(200, "PUT", "/v1/cache/1", artifacttest.Typical(1))
	}
}

func TestABrokenReadDoesNotPassForAWholeOne(t *testing.T) {
	f := newFixture(t)
	f.want(200, "PUT", "/v1/cache/1", artifacttest.Random(1<<20, 1))
	f.store.set(func(op string) error {
		if op == "read" {
			return errors.New("input/output error")
		}
		return nil
	})
	req, _ := http.NewRequestWithContext(t.Context(), "GET", f.url+"/v1/cache/1", nil)
	resp, err := f.client.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Fatal("the client took a part for the whole")
	}
	f.waitForLog(1, `"cause":"broken_off"`)
}

func TestAnOpenServerAnswersToItsOwnNamesOnly(t *testing.T) {
	f := newFixture(t)
	for host, ok := range map[string]bool{
		"127.0.0.1:8099": true, "localhost": true, "LOCALHOST:1": true, "[::1]:8099": true, "bezoar.localhost": true,
		"evil.example.com": false, "localhost.evil.com": false, "192.168.0.7": false, "evillocalhost": false,
	} {
		f.auth.mustBeOpen(true)
		resp, err := f.raw("GET", "GET /v1/cache/1 HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		denied := strings.Contains(f.log.String(), `"cause":"foreign_host"`)
		if resp.StatusCode != 404 || denied == ok {
			t.Errorf("Host %s: %d, denied: %v", host, resp.StatusCode, denied)
		}
		f.log.Reset()
		f.auth.mustBeOpen(false)
		f.raw("GET", "GET /v1/cache/1 HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		if strings.Contains(f.log.String(), "foreign_host") {
			t.Errorf("Host %s is denied although credentials are asked for", host)
		}
		f.log.Reset()
	}
}

func TestEachRequestHasItsLine(t *testing.T) {
	f := newFixture(t)
	body := artifacttest.Typical(1)
	f.want(200, "PUT", "/v1/cache/77", body)
	f.want(200, "GET", "/v1/cache/77", nil, "Authorization", "Bearer secret-of-mine")
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/"} {
		f.want(200, "GET", path, nil)
	}
	f.waitForLog(2, `"msg":"request"`)
	log := f.log.String()
	for _, want := range []string{`"result":"stored"`, `"result":"hit"`, `"workspace":"default"`, `"scope":"trusted"`, `"hash":"77"`, fmt.Sprintf(`"bytes":%d`, len(body))} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
	if n := strings.Count(log, `"msg":"request"`); n != 2 {
		t.Errorf("%d lines for 2 requests for artifacts", n)
	}
	for line := range strings.Lines(log) {
		if n := strings.Count(line, `"time":`); n != 1 {
			t.Errorf("a line says %d times what time it is: %s", n, line)
		}
	}
	if strings.Contains(log, "secret-of-mine") {
		t.Error("the log holds a credential")
	}
}

func TestHealth(t *testing.T) {
	f := newFixture(t)
	f.store.set(func(string) error { return errors.New("down") })
	f.want(200, "GET", "/livez", nil)
	f.want(200, "GET", "/readyz", nil)
	f.server.Stop()
	f.want(200, "GET", "/livez", nil)
	f.want(503, "GET", "/readyz", nil)
}

func TestMetricsCanBeGuarded(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MetricsToken = "s3cret" })
	f.want(401, "GET", "/metrics", nil)
	f.want(401, "GET", "/metrics", nil, "Authorization", "Bearer s3cre")
	f.want(200, "GET", "/metrics", nil, "Authorization", "Bearer s3cret")
	f = newFixture(t, func(o *Options) { o.ServeMetrics = false })
	f.want(404, "GET", "/metrics", nil)
}

func TestMetricsCountByResult(t *testing.T) {
	f := newFixture(t)
	body := artifacttest.Typical(1)
	f.want(404, "GET", "/v1/cache/1", nil)
	f.want(200, "PUT", "/v1/cache/1", body)
	f.want(200, "GET", "/v1/cache/1", nil)
	f.want(409, "PUT", "/v1/cache/1", body)
	f.want(403, "PUT", "/v1/cache/2", []byte("no gzip"))
	f.auth.set(&trust.DeniedError{Err: trust.ErrExpired, Reason: "expired"})
	f.want(404, "GET", "/v1/cache/1", nil)
	f.waitForLog(6, `"msg":"request"`)
	got := string(f.want(200, "GET", "/metrics", nil))
	for _, want := range []string{
		`bezoar_requests_total{cause="",method="GET",result="hit"} 1`,
		`bezoar_requests_total{cause="",method="GET",result="miss"} 1`,
		`bezoar_requests_total{cause="",method="PUT",result="stored"} 1`,
		`bezoar_requests_total{cause="",method="PUT",result="exists"} 1`,
		`bezoar_requests_total{cause="artifact",method="PUT",result="refused"} 1`,
		`bezoar_requests_total{cause="expired",method="GET",result="denied"} 1`,
		fmt.Sprintf(`bezoar_artifact_bytes_total{direction="out"} %d`, len(body)),
		`bezoar_requests_in_flight{method="GET"} 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// TestFiftyWritersOneWins races different bodies under one key. Every reader sees a miss or the winner.
func TestFiftyWritersOneWins(t *testing.T) {
	f := newFixture(t)
	const writers = 50
	bodies := make([][]byte, writers)
	for i := range bodies {
		bodies[i] = artifacttest.Typical(uint64(i))
	}
	var wg sync.WaitGroup
	statuses := make([]int, writers)
	seen := make(chan []byte, writers)
	for i := range writers {
		wg.Go(func() {
			resp, _ := f.do("PUT", "/v1/cache/race", bodies[i])
			statuses[i] = resp.StatusCode
		})
		wg.Go(func() {
			if resp, got := f.do("GET", "/v1/cache/race", nil); resp.StatusCode == 200 {
				seen <- got
			} else if resp.StatusCode != 404 {
				t.Errorf("GET: %d", resp.StatusCode)
			}
		})
	}
	wg.Wait()
	close(seen)
	winner := -1
	for i, status := range statuses {
		switch {
		case status == 200 && winner < 0:
			winner = i
		case status == 200:
			t.Fatalf("writers %d and %d both won", winner, i)
		case status != 409:
			t.Errorf("writer %d: %d", i, status)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	for got := range seen {
		if !bytes.Equal(got, bodies[winner]) {
			t.Error("a reader saw something else than the winner's bytes")
		}
	}
	if got := f.want(200, "GET", "/v1/cache/race", nil); !bytes.Equal(got, bodies[winner]) {
		t.Error("the entry is not the winner's")
	}
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
}

func (a *fakeAuth) set(err error)        { a.mu.Lock(); defer a.mu.Unlock(); a.denial = err }
func (a *fakeAuth) invalidate(err error) { a.mu.Lock(); defer a.mu.Unlock(); a.invalid = err }
func (a *fakeAuth) mustBeOpen(open bool) { a.mu.Lock(); defer a.mu.Unlock(); a.open = open }

func (a *fakeAuth) Grant(context.Context, string, cache.Workspace) (cache.Grant, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return cache.Grant{
		Workspace: cache.DefaultWorkspace, Read: []cache.Scope{cache.Trusted}, Write: cache.Trusted,
	}, a.denial
}
func (a *fakeAuth) Valid(cache.Grant) error      { a.mu.Lock(); defer a.mu.Unlock(); return a.invalid }
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
