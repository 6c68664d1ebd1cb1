package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admit"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// begin sends the head of a request and a part of its body, and leaves the connection so until the test ends.
func (f *fixture) begin(method, path, scope string, body []byte, part int) {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", method, path, scope, len(body), body[:part])
}

// waitForMetric waits until a line of the metrics begins so.
func (f *fixture) waitForMetric(line string) {
	f.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		page := string(f.want(http.StatusOK, "GET", "/metrics", nil))
		if strings.Contains("\n"+page, "\n"+line) {
			return
		}
		select {
		case <-deadline:
			f.t.Fatalf("the metrics never had %s:\n%s", line, page)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestAFloodOfUploadsTakesNoTrustedSlot: one scope has its share, whatever it sends; another one and trusted requests are served beside it.
func TestAFloodOfUploadsTakesNoTrustedSlot(t *testing.T) {
	for _, strict := range []bool{false, true} {
		f := newFixture(t, func(o *Options) {
			o.Uploads, o.Downloads, o.Strict = admit.New(admit.Options{Slots: 8}), admit.New(admit.Options{Slots: 8}), strict
		})
		body := artifacttest.Random(100_000, 1)
		f.begin("PUT", "/v1/cache/flood", "pr/1", body, 1000)
		f.waitForMetric(`bezoar_slots_used{class="other",kind="upload"} 1`)
		refused := 403
		if strict {
			refused = 503
		}
		resp, _ := f.do("PUT", "/v1/cache/2", body, "Authorization", "Bearer pr/1")
		if resp.StatusCode != refused || resp.Header.Get("Bezoar-Cause") != "overload" {
			t.Errorf("the flood is answered %d %q", resp.StatusCode, resp.Header.Get("Bezoar-Cause"))
		}
		f.want(http.StatusOK, "PUT", "/v1/cache/3", body, "Authorization", "Bearer pr/2")
		f.want(http.StatusOK, "PUT", "/v1/cache/3", body, "Authorization", "Bearer main")
		f.want(http.StatusOK, "GET", "/v1/cache/3", nil, "Authorization", "Bearer pr/1") // downloads are another matter
		f.waitForMetric(`bezoar_overload_total{class="other",kind="upload"} 1`)
	}
}

// TestTooManyConnections: beyond the bound trusted requests are served, others are answered at once, and the end of the server does not wait.
func TestTooManyConnections(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxConnections = 2 })
	f.client.Transport.(*http.Transport).DisableKeepAlives = true
	body := artifacttest.Typical(1)
	f.want(http.StatusOK, "PUT", "/v1/cache/1", body)
	f.begin("PUT", "/v1/cache/2", "pr/1", body, 1)
	f.waitForMetric("bezoar_connections 2\n") // with that of this very request
	f.begin("PUT", "/v1/cache/3", "pr/1", body, 1)
	f.waitForMetric("bezoar_connections 3\n")
	resp, _ := f.do("GET", "/v1/cache/1", nil, "Authorization", "Bearer pr/1")
	if resp.StatusCode != http.StatusNotFound || resp.Header.Get("Bezoar-Cause") != "overload" || !resp.Close {
		t.Errorf("GET: %d %q, the connection ends: %v", resp.StatusCode, resp.Header.Get("Bezoar-Cause"), resp.Close)
	}
	resp, _ = f.do("PUT", "/v1/cache/4", body, "Authorization", "Bearer pr/1")
	if resp.StatusCode != http.StatusForbidden || resp.Header.Get("Bezoar-Cause") != "overload" {
		t.Errorf("PUT: %d %q", resp.StatusCode, resp.Header.Get("Bezoar-Cause"))
	}
	f.want(http.StatusOK, "GET", "/v1/cache/1", nil, "Authorization", "Bearer main")
	if err := f.server.Crowded(); err == nil {
		t.Error("nobody is told")
	}
}

// TestConnectionsTakeTurns: when all places are taken by clients who ask again and again, or say nothing, one who waits is served all the same.
func TestConnectionsTakeTurns(t *testing.T) {
	for name, begin := range map[string]string{"they ask again and again": "GET /v1/cache/1" + plainHead, "they say nothing": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(o *Options) { o.MaxConnections = 2; o.HeaderTimeout = time.Hour; o.IdleTimeout = time.Hour })
			places := cap(f.server.crowd.slots)
			var conns []net.Conn
			for range places {
				conn, err := net.Dial("tcp", f.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conns = append(conns, conn)
			}
			for deadline := time.After(10 * time.Second); f.server.crowd.open.Load() < int64(places); {
				select {
				case <-deadline:
					t.Fatalf("%d connections were taken", f.server.crowd.open.Load())
				case <-time.After(time.Millisecond):
				}
			}
			if begin != "" {
				for _, conn := range conns {
					_, _ = io.WriteString(conn, begin)
				}
			}
			one, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer one.Close()
			_ = one.SetDeadline(time.Now().Add(time.Minute))
			_, _ = io.WriteString(one, "GET /v1/cache/1"+plainHead)
			if _, err := http.ReadResponse(bufio.NewReader(one), nil); err != nil {
				t.Errorf("who waits: %v", err)
			}
		})
	}
}

// TestAListenerThatWaitsCanBeClosed: with all places taken it accepts nothing, and goes on when one is free.
func TestAListenerThatWaitsCanBeClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		l := c.over(&failingListener{[]error{nil, nil, nil, nil, nil, nil}})
		for range cap(c.slots) {
			if _, err := l.Accept(); err != nil {
				t.Fatal(err)
			}
			c.connContext(t.Context(), nil)
		}
		accepted := make(chan error)
		accept := func() { _, err := l.Accept(); accepted <- err }
		go accept()
		synctest.Wait()
		c.connState(nil, http.StateClosed)
		if err := <-accepted; err != nil {
			t.Errorf("with a place that is free again: %v", err)
		}
		go accept()
		synctest.Wait()
		l.Close()
		if err := <-accepted; !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed while it waits: %v", err)
		}
	})
}
