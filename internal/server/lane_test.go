package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
)

// beside serves the fixture's handler on another port by net/http alone.
func (f *fixture) beside() (addr string) {
	f.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	alone := f.server.httpServer(f.server.Handler())
	done := make(chan error, 1)
	go func() { done <- alone.Serve(l) }()
	f.t.Cleanup(func() {
		_ = alone.Close()
		<-done
	})
	return l.Addr().String()
}

// talk sends pieces, each when the one before was answered, and returns all that comes.
func talk(t *testing.T, addr string, pieces ...string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	var all strings.Builder
	for i, piece := range pieces {
		if _, err := io.WriteString(conn, piece); err != nil {
			t.Fatal(err)
		}
		if i == len(pieces)-1 {
			break
		}
		method, _, _ := strings.Cut(piece, " ")
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		fmt.Fprintf(&all, "%s\r\n", resp.Status)
		for name, values := range resp.Header {
			fmt.Fprintf(&all, "%s: %s\r\n", name, values)
		}
		_, _ = io.Copy(&all, resp.Body)
		_ = resp.Body.Close()
	}
	if _, err := io.Copy(&all, r); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

var dates = regexp.MustCompile(`(?i)date: [^\r]*`)

// lines are those of answers, in no order: that of headers means nothing.
func lines(answers string) []string {
	all := strings.Split(dates.ReplaceAllString(answers, "date"), "\r\n")
	slices.Sort(all)
	return all
}

const (
	plainHead = " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n"
	lastHead  = " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
)

// bodyHead is behind the path of an upload of n bytes.
func bodyHead(n int) string {
	return fmt.Sprintf(" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nContent-Length: %d\r\n\r\n", n)
}

// TestAnswersAreThoseOfNetHTTP to whatever a client sends, the last request of each being its end.
func TestAnswersAreThoseOfNetHTTP(t *testing.T) {
	f := newFixture(t)
	small, large := artifacttest.Typical(1), artifacttest.Nx(artifacttest.File("a", string(artifacttest.Random(300<<10, 1))))
	f.want(http.StatusOK, http.MethodPut, "/v1/cache/small", small)
	f.want(http.StatusOK, http.MethodPut, "/v1/cache/large", large)
	alone := f.beside()
	last := "GET /v1/cache/none" + lastHead
	for name, pieces := range map[string][]string{
		"hits":                {"GET /v1/cache/small" + plainHead, "GET /v1/cache/large" + plainHead, "GET /v1/cache/small" + plainHead, last},
		"misses":              {"GET /v1/cache/1" + plainHead, "GET /v1/cache/2" + plainHead, last},
		"heads":               {"HEAD /v1/cache/small" + plainHead, "HEAD /v1/cache/1" + plainHead, "GET /v1/cache/large" + plainHead, last},
		"other headers":       {"GET /v1/cache/small" + plainHead, "GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n", last},
		"another host":        {"GET /v1/cache/small" + plainHead, "GET /v1/cache/small HTTP/1.1\r\nHost: example.com\r\n\r\n", last},
		"forwarded":           {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", last},
		"two credentials":     {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nAuthorization: Bearer y\r\n\r\n", last},
		"doubled slashes":     {"GET //v1/cache/small" + plainHead, last},
		"other paths":         {"GET /v1/cache/small" + plainHead, "GET /healthz" + plainHead, "GET /v1/cache/small" + plainHead, last},
		"no hash":             {"GET /v1/cache/" + plainHead, "GET /v1/cache/a.b" + plainHead, last},
		"a query":             {"GET /v1/cache/small?a=b" + plainHead, last},
		"an encoded path":     {"GET /v1/cache/sm%61ll" + plainHead, last},
		"pipelined":           {"GET /v1/cache/small" + plainHead + "GET /v1/cache/1" + plainHead + last},
		"an upload between":   {"GET /v1/cache/1" + plainHead, "PUT /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", "GET /v1/cache/small" + plainHead, last},
		"a body":              {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc" + last},
		"a chunked body":      {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + last},
		"both lengths":        {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + last},
		"two lengths":         {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 3\r\n\r\n"},
		"a folded line":       {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n" + last},
		"a bare line feed":    {"GET /v1/cache/small HTTP/1.1\nHost: localhost\n\n" + last},
		"a hidden line":       {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nA: b\nContent-Length: 3\r\n\r\nabc" + last},
		"a space to colon":    {"GET /v1/cache/small HTTP/1.1\r\nHost : localhost\r\n\r\n"},
		"no name":             {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\n: a\r\n\r\n"},
		"no colon":            {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nabc\r\n\r\n"},
		"two hosts":           {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"},
		"no host":             {"GET /v1/cache/small HTTP/1.1\r\nA: b\r\n\r\n"},
		"HTTP/1.0":            {"GET /v1/cache/small HTTP/1.0\r\nHost: localhost\r\n\r\n"},
		"another version":     {"GET /v1/cache/small HTTP/1.2\r\nHost: localhost\r\n\r\n"},
		"an absolute form":    {"GET http://localhost/v1/cache/small" + plainHead, last},
		"a wait for 100":      {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n", last},
		"uploads":             {"PUT /v1/cache/small" + bodyHead(3) + "abc", "PUT /v1/cache/a.b" + bodyHead(5000) + strings.Repeat("x", 5000), "GET /v1/cache/small" + plainHead, last},
		"pipelined uploads":   {"PUT /v1/cache/small" + bodyHead(3) + "abcPUT /v1/cache/a.b" + bodyHead(9000) + strings.Repeat("x", 9000) + "GET /v1/cache/small" + plainHead + last},
		"half a request":      {"PUT /v1/cache/small" + bodyHead(3) + "abcGET /v1/cache/sm", "all" + plainHead, last},
		"nonsense behind":     {"PUT /v1/cache/small" + bodyHead(3) + "abcd\r\n\r\n"},
		"a last upload":       {"PUT /v1/cache/small" + bodyHead(3)[:len(bodyHead(3))-2] + "Connection: close\r\n\r\nabc"},
		"no length":           {"PUT /v1/cache/small" + plainHead},
		"length zero":         {"PUT /v1/cache/small" + bodyHead(0), last},
		"a zero before":       {"PUT /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 03\r\n\r\nabc" + last},
		"a sign":              {"PUT /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: +3\r\n\r\nabc"},
		"a length folded":     {"PUT /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n 0\r\n\r\nabc"},
		"tabs and spaces":     {"PUT /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nCONTENT-LENGTH:\t 3 \r\n\r\nabc" + last},
		"two same lengths":    {"PUT /v1/cache/small HTTP/1.1\r\nContent-Length: 3\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc" + last},
		"two other lengths":   {"PUT /v1/cache/small HTTP/1.1\r\nContent-Length: 3\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nabcd"},
		"length and chunks":   {"PUT /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + last},
		"a huge length":       {"PUT /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999999999999\r\n\r\nabc"},
		"an upload elsewhere": {"PUT /elsewhere" + bodyHead(3) + "abc", last},
		"a HTTP/1.0 upload":   {"PUT /v1/cache/small HTTP/1.0\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"},
		"one last GET":        {"GET /v1/cache/small" + lastHead},
		"a GET of two words":  {"GET /v1/cache/small HTTP/1.1\r\nHost: localhost\r\nConnection: close, keep-alive\r\n\r\n"},
		"nonsense":            {"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			want, got := talk(t, alone, pieces...), talk(t, f.addr, pieces...)
			if want, got := lines(want), lines(got); !slices.Equal(want, got) {
				t.Errorf("answers differ:\n%.2000q\nnet/http alone:\n%.2000q", got, want)
			}
		})
	}
}

// TestPlainRequestsStayOnTheLane, or this would all be for nothing.
func TestPlainRequestsStayOnTheLane(t *testing.T) {
	f := newFixture(t)
	body := artifacttest.Typical(1)
	f.want(http.StatusOK, http.MethodPut, "/v1/cache/1", body)
	f.client.CloseIdleConnections()
	onLane := func() int {
		f.server.lane.mu.Lock()
		defer f.server.lane.mu.Unlock()
		return len(f.server.lane.conns)
	}
	for deadline := time.After(10 * time.Second); onLane() > 0; {
		select {
		case <-deadline:
			t.Fatal("the connection of the upload does not end")
		case <-time.After(time.Millisecond):
		}
	}
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for i := range 20 {
		fmt.Fprintf(conn, "GET /v1/cache/%d HTTP/1.1\r\nHost: localhost\r\nUser-Agent: %d\r\n\r\n", 1+i%2, i/4)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil || (i%2 == 0) != bytes.Equal(got, body) {
			t.Errorf("request %d: %d, %d bytes, %v", i, resp.StatusCode, len(got), err)
		}
		if onLane() != 1 {
			t.Fatalf("request %d has left the lane", i)
		}
	}
	f.waitForLog(10, `"result":"hit"`)
	f.waitForLog(10, `"result":"miss"`)
}

func TestTheEndOfTheServerFindsConnectionsAtRest(t *testing.T) {
	f := newFixture(t)
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	_, _ = io.WriteString(conn, "GET /v1/cache/1"+plainHead)
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	fresh, err := net.Dial("tcp", f.addr) // sends nothing at all
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if err := f.server.Shutdown(t.Context(), 0, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Peek(64); err == nil {
		t.Error("there is more")
	}
}

// TestTheEndOfTheServerWaitsForAnAnswer that is under way.
func TestTheEndOfTheServerWaitsForAnAnswer(t *testing.T) {
	f := newFixture(t)
	f.want(http.StatusOK, http.MethodPut, "/v1/cache/1", artifacttest.Typical(1))
	asked, proceed := make(chan struct{}), make(chan struct{})
	f.store.set(func(op string) error {
		if op == "open" {
			close(asked)
			<-proceed
		}
		return nil
	})
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /v1/cache/1"+plainHead)
	<-asked
	ended := make(chan error, 1)
	go func() { ended <- f.server.Shutdown(context.Background(), 0, time.Hour) }()
	for deadline := time.After(10 * time.Second); !f.server.stopping.Load(); {
		select {
		case <-deadline:
			t.Fatal("the server does not stop")
		case <-time.After(time.Millisecond):
		}
	}
	close(proceed)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("%v, %v", resp, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// pipeListener gives out the ends of pipes.
type pipeListener chan net.Conn

func (l pipeListener) Accept() (net.Conn, error) {
	conn, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (l pipeListener) Close() error   { return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// TestAConnectionRestsForItsTime and no longer: before its first request, within one, and between two.
func TestAConnectionRestsForItsTime(t *testing.T) {
	for name, c := range map[string]struct {
		send []string
		rest time.Duration
	}{
		"nothing":       {nil, 10 * time.Second},
		"half a head":   {[]string{"GET /v1/cache/1 HTTP/1.1\r\n"}, 10 * time.Second},
		"between two":   {[]string{"GET /v1/cache/1" + plainHead}, time.Minute},
		"half a second": {[]string{"GET /v1/cache/1" + plainHead, "GET /v1"}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(Options{
					Cache: cache.New(mem.New(), cache.Options{Now: time.Now}), Auth: &fakeAuth{open: true}, Log: discardLog(),
					Registry: newTestRegistry(), HeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, StallTimeout: time.Hour,
				})
				l := make(pipeListener, 1)
				done := make(chan error, 1)
				go func() { done <- s.Serve(l, nil) }()
				client, end := net.Pipe()
				l <- end
				r := bufio.NewReader(client)
				for i, text := range c.send {
					if _, err := io.WriteString(client, text); err != nil {
						t.Fatal(err)
					}
					if strings.HasSuffix(text, "\r\n\r\n") {
						resp, err := http.ReadResponse(r, nil)
						if err != nil {
							t.Fatalf("answer %d: %v", i, err)
						}
						_, _ = io.Copy(io.Discard, resp.Body)
					}
				}
				began := time.Now()
				_, _ = io.Copy(io.Discard, r) // net/http may say 408 or nothing
				if rested := time.Since(began); rested != c.rest {
					t.Errorf("it rested for %s, want %s", rested, c.rest)
				}
				close(l)
				<-done
				_ = s.Shutdown(context.Background(), 0, time.Second)
			})
		})
	}
}

// TestAllocations is the guard of the way that most requests go: nobody adds to it unseen.
func TestAllocations(t *testing.T) {
	s := New(Options{
		Cache: cache.New(mem.New(), cache.Options{Now: time.Now, Limits: artifact.DefaultLimits()}), Auth: &fakeAuth{open: true}, Log: discardLog(), Registry: newTestRegistry(),
	})
	conn := &memoryConn{request: []byte("GET /v1/cache/1" + plainHead)}
	c := &laneConn{Conn: conn, lane: &s.lane, base: t.Context}
	q := laneRequest{conn: c}
	got := testing.AllocsPerRun(1000, func() {
		if !q.parse(conn.request) || !c.answer(&q) {
			t.Fatal("the request is not plain")
		}
	})
	t.Logf("%.0f allocations for a miss", got)
	if most := 15.0; got > most {
		t.Errorf("%.0f allocations, at most %.0f", got, most)
	}
	if !bytes.HasPrefix(conn.answer, []byte("HTTP/1.1 404 Not Found\r\n")) {
		t.Errorf("%q", conn.answer)
	}
}

// memoryConn keeps what was written last.
type memoryConn struct {
	net.Conn
	request, answer []byte
}

func (c *memoryConn) Write(p []byte) (int, error) {
	c.answer = append(c.answer[:0], p...)
	return len(p), nil
}
func (c *memoryConn) RemoteAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }
func (c *memoryConn) LocalAddr() net.Addr  { return &net.UnixAddr{Net: "unix"} }

// FuzzPlain says of whatever is taken for a plain request: net/http reads the same in it, the same body, and the same behind it.
func FuzzPlain(f *testing.F) {
	f.Add([]byte("GET /v1/cache/1" + plainHead))
	f.Add([]byte("HEAD /v1/cache/1 HTTP/1.1\r\nHost: [::1]:80\r\nA-b_1:\r\nB:  c \r\n\r\n"))
	f.Add([]byte("GET /v1/cache/1 HTTP/1.1\r\nhost: a\r\nContent-length: 0\r\n\r\n"))
	f.Add([]byte("PUT /v1/cache/1" + bodyHead(3) + "abcGET"))
	f.Add([]byte("PUT /v1/cache/1 HTTP/1.1\r\ncontent-length:12\r\nhost: a\r\nConnection: close\r\n\r\nab"))
	f.Add([]byte("PUT /v1/cache/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"))
	f.Fuzz(func(t *testing.T, read []byte) {
		l := new(lane)
		q := laneRequest{conn: &laneConn{Conn: &memoryConn{}, lane: l, base: t.Context}}
		if !q.parse(read) {
			return
		}
		checkPlain(t, &q, read)
		q.keepHead() // another connection gets the same of what is kept
		again := laneRequest{conn: q.conn}
		if !again.parse(read) || !again.known {
			t.Fatalf("%q is not plain any more", read)
		}
		checkPlain(t, &again, read)
	})
}

// TestTheEndOfTheServerAnswersWhatIsOnItsWay: a request that arrives after the server was told to end, on a connection that was there before, is answered.
func TestTheEndOfTheServerAnswersWhatIsOnItsWay(t *testing.T) {
	for name, before := range map[string][]string{
		"a new connection":             nil,
		"one that rests":               {"GET /v1/cache/1" + plainHead},
		"one that rests with net/http": {"GET /v1/cache/1" + plainHead, "GET /livez" + plainHead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.want(http.StatusOK, http.MethodPut, "/v1/cache/1", artifacttest.Typical(1))
			conn, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			r := bufio.NewReader(conn)
			ask := func(request string) *http.Response {
				t.Helper()
				_, _ = io.WriteString(conn, request)
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					t.Fatal(err)
				}
				return resp
			}
			for _, request := range before {
				ask(request)
			}
			for deadline := time.After(10 * time.Second); f.server.crowd.open.Load() == 0; {
				select {
				case <-deadline:
					t.Fatal("the connection was not taken")
				case <-time.After(time.Millisecond):
				}
			}
			ended := make(chan error, 1)
			go func() { ended <- f.server.Shutdown(context.Background(), 0, time.Hour) }()
			for !f.server.stopping.Load() {
				<-time.After(time.Millisecond)
			}
			if resp := ask("GET /v1/cache/1" + plainHead); resp.StatusCode != http.StatusOK || !resp.Close {
				t.Errorf("%v", resp)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTheEndOfTheServerWaitsForAFirstRequest whose client connected just before the listener was closed.
func TestTheEndOfTheServerWaitsForAFirstRequest(t *testing.T) {
	f := newFixture(t)
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for f.server.crowd.open.Load() == 0 {
		<-time.After(time.Millisecond)
	}
	f.server.stopping.Store(true)
	f.server.lane.stop()
	_, _ = io.WriteString(conn, "GET /v1/cache/1"+plainHead)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusNotFound || !resp.Close {
		t.Errorf("%v, %v", resp, err)
	}
}

func checkPlain(t *testing.T, q *laneRequest, read []byte) {
	t.Helper()
	from := bufio.NewReader(bytes.NewReader(read))
	r, err := http.ReadRequest(from)
	if err != nil {
		t.Fatal(err)
	}
	if r.Method != q.r.Method || r.URL.EscapedPath() != q.r.URL.EscapedPath() || r.Host != q.r.Host || !r.ProtoAtLeast(1, 1) || r.Close != q.r.Close ||
		r.ContentLength != q.body.left || len(r.TransferEncoding) != 0 {
		t.Errorf("%q: %+v, want %+v", read, q.r, r)
	}
	if (r.Method == http.MethodPut) != (r.ContentLength > 0) {
		t.Errorf("%q: a body of %d bytes", read, r.ContentLength)
	}
	lengths := r.Header["Content-Length"]
	if len(lengths) != min(1, int(r.ContentLength)) {
		t.Errorf("%q: lengths %q", read, lengths)
	}
	delete(r.Header, "Content-Length")
	if len(r.Header) != len(q.r.Header) {
		t.Errorf("%q: headers %q, want %q", read, q.r.Header, r.Header)
	}
	for name, values := range r.Header {
		if !slices.Equal(values, q.r.Header[name]) {
			t.Errorf("%s: %q, want %q", name, q.r.Header[name], values)
		}
	}
	body, bodyErr := io.ReadAll(r.Body)
	rest, _ := io.ReadAll(from)
	if !bytes.Equal(body, q.body.ahead) || (bodyErr == nil) != (int64(len(q.body.ahead)) == q.body.left) || !bytes.Equal(rest, q.next) {
		t.Errorf("%q: body %q and %q behind it, want %q (%v) and %q", read, q.body.ahead, q.next, body, bodyErr, rest)
	}
}
