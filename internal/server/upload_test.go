package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

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
	f = newFixture(t, func(o *Options) { o.StallTimeout = 20 * time.Millisecond })
	resp, err = f.raw("PUT", "PUT /v1/cache/a.b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\nxxx")
	if err != nil || resp.StatusCode != 403 || !resp.Close {
		t.Fatalf("stalled: %v %v, want 403 and a close", resp, err)
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
	f.waitForLog(1, `"cause":"client_stalled"`)
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
