package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// pipes is a listener whose connections are in memory, so that time can be simulated.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.closed); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

const (
	testHeader = 10 * time.Second
	testIdle   = 2 * time.Minute
	testStall  = 30 * time.Second
	testRate   = 1024
	testDrain  = 5 * time.Minute
)

// inBubble runs a test with a server over pipes; dial connects to it.
func inBubble(t *testing.T, test func(t *testing.T, store cache.Store, dial func() net.Conn)) {
	inBubbleOver(t, func() cache.Store { return mem.New() }, test)
}

func inBubbleOver(t *testing.T, open func() cache.Store, test func(t *testing.T, store cache.Store, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		store := open()
		s := newTimed(store)
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		served := make(chan error)
		go func() { served <- s.Serve(l, nil) }()
		test(t, store, func() net.Conn {
			mine, theirs := net.Pipe()
			l.conns <- theirs
			return mine
		})
		if err := s.Shutdown(context.Background(), 0, time.Minute); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// newTimed makes a server with waits as they are.
func newTimed(store cache.Store) *Server {
	return New(Options{
		Cache: cache.New(store, cache.Options{MaxSize: 8 << 20, Limits: artifact.DefaultLimits(), Now: time.Now}),
		Auth:  &fakeAuth{}, Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
		HeaderTimeout: testHeader, IdleTimeout: testIdle, StallTimeout: testStall, MinRate: testRate,
		DrainTimeout: testDrain, DrainLimit: 1 << 30, MaxConnections: 100,
	})
}

// ends waits until the server closes a connection, and returns how long that took.
func ends(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	begun := time.Now()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the connection ends with %v", err)
	}
	conn.Close()
	return time.Since(begun)
}

func TestHeadersThatDoNotEnd(t *testing.T) {
	for name, sent := range map[string]string{"nothing": "", "a part": "GET /v1/cache/1 HTTP/1.1\r\nHost: localhost\r\n"} {
		inBubble(t, func(t *testing.T, _ cache.Store, dial func() net.Conn) {
			conn := dial()
			io.WriteString(conn, sent)
			if took := ends(t, conn); took != testHeader {
				t.Errorf("%s was sent: the connection ends after %s, want %s", name, took, testHeader)
			}
			// A byte now and then earns no time.
			conn = dial()
			begun := time.Now()
			go io.Copy(io.Discard, conn)
			for i := 0; ; i++ {
				if _, err := io.WriteString(conn, "GET /v1/cache/1 HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyyyyyy"[i:i+1]); err != nil {
					break
				}
				<-time.After(time.Second)
			}
			if took := time.Since(begun); took > testHeader+time.Second {
				t.Errorf("headers that drip are read for %s", took)
			}
			conn.Close()
		})
	}
}

func TestAnIdleConnectionEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, _ cache.Store, dial func() net.Conn) {
		conn := dial()
		r := bufio.NewReader(conn)
		fmt.Fprint(conn, "GET /v1/cache/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 404 {
			t.Fatal(resp, err)
		}
		io.Copy(io.Discard, resp.Body)
		if took := ends(t, conn); took != testIdle {
			t.Errorf("an idle connection ends after %s, want %s", took, testIdle)
		}
	})
}

// TestUploadsHaveToMove: one that stalls or drips is refused, one that is slow is stored, however long it takes.
func TestUploadsHaveToMove(t *testing.T) {
	body := artifacttest.Random(400_000, 1)
	for _, c := range []struct {
		name string
		rate int // bytes per second
		want int
	}{{"stalls", 0, 403}, {"drips", testRate / 4, 403}, {"is slow", 2 * testRate, 200}} {
		inBubble(t, func(t *testing.T, _ cache.Store, dial func() net.Conn) {
			conn := dial()
			begun := time.Now()
			var sender sync.WaitGroup
			sender.Go(func() {
				fmt.Fprintf(conn, "PUT /v1/cache/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", len(body))
				for rest := body; len(rest) > 0 && c.rate > 0; rest = rest[min(c.rate, len(rest)):] {
					if _, err := conn.Write(rest[:min(c.rate, len(rest))]); err != nil {
						return
					}
					<-time.After(time.Second)
				}
			})
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != c.want {
				t.Fatalf("an upload that %s: %v %v, want %d", c.name, resp, err, c.want)
			}
			if took := time.Since(begun); c.want == 403 && took > 2*testStall {
				t.Errorf("an upload that %s is refused after %s", c.name, took)
			}
			conn.Close()
			sender.Wait()
		})
	}
}

// TestDownloadsHaveToMove: a client who takes nothing, or as good as nothing, is let go; a slow one gets all.
func TestDownloadsHaveToMove(t *testing.T) {
	body := artifacttest.Random(400_000, 1)
	for _, c := range []struct {
		name  string
		rate  int64
		whole bool
	}{{"stalls", 0, false}, {"drips", testRate / 4, false}, {"is slow", 20 * testRate, true}} {
		inBubble(t, func(t *testing.T, store cache.Store, dial func() net.Conn) {
			if err := storetest.Put(t.Context(), store, storetest.Key("1"), body); err != nil {
				t.Fatal(err)
			}
			conn := dial()
			fmt.Fprint(conn, "GET /v1/cache/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			var got strings.Builder
			begun := time.Now()
			for {
				n, err := io.CopyN(&got, conn, c.rate)
				if err != nil || n == 0 && time.Since(begun) > 2*testStall {
					break
				}
				<-time.After(time.Second)
			}
			took := time.Since(begun)
			if c.rate == 0 { // the server has cut it off
				io.Copy(&got, conn)
			}
			if whole := strings.HasSuffix(got.String(), string(body)); whole != c.whole {
				t.Errorf("a client who %s has it all: %v (%d bytes in %s)", c.name, whole, got.Len(), took)
			}
			conn.Close()
		})
	}
}

// TestARefusedUploadIsTakenForSomeTime: its rest is read while it moves, and then no longer than drain-timeout.
func TestARefusedUploadIsTakenForSomeTime(t *testing.T) {
	for _, c := range []struct {
		name string
		rate int // bytes per second
		most time.Duration
	}{{"stalls", 0, 2 * testStall}, {"goes on", 2 * testRate, testDrain + testStall}} {
		inBubble(t, func(t *testing.T, _ cache.Store, dial func() net.Conn) {
			conn := dial()
			begun := time.Now()
			var sender sync.WaitGroup
			sender.Go(func() {
				fmt.Fprint(conn, "PUT /v1/cache/not.a.hash HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
				for c.rate > 0 {
					if _, err := conn.Write(make([]byte, c.rate)); err != nil {
						return
					}
					<-time.After(time.Second)
				}
			})
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != http.StatusForbidden || !resp.Close {
				t.Fatalf("a refused upload that %s: %v %v", c.name, resp, err)
			}
			if took := time.Since(begun); took > c.most || c.rate > 0 && took < testDrain {
				t.Errorf("a refused upload that %s is answered after %s", c.name, took)
			}
			conn.Close()
			sender.Wait()
		})
	}
}

// TestTheEndHasItsTimes: new clients are let in for shutdown-delay, transfers under way have shutdown-timeout, and one that does not end even when it is cut off has
// a moment more.
func TestTheEndHasItsTimes(t *testing.T) {
	const delay, timeout = 10 * time.Second, 30 * time.Second
	body := artifacttest.Random(300_000, 1)
	for name, c := range map[string]struct {
		pause time.Duration // of the one download under way, in the middle
		want  time.Duration
		late  bool
	}{
		"none":            {0, delay, false},
		"ends in time":    {5 * time.Second, delay + 5*time.Second, false},
		"hangs for good":  {1000 * time.Hour, delay + timeout + cutGrace, true},
		"ends when asked": {timeout + time.Second, delay + timeout + time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mend := make(chan struct{})
				defer close(mend)
				store := hanging{mem.New(), 200_000, mend, c.pause}
				key := cache.Key{Workspace: cache.DefaultWorkspace, Scope: cache.Trusted, Hash: "1"}
				if err := storetest.Put(t.Context(), store, key, body); err != nil {
					t.Fatal(err)
				}
				s := newTimed(store)
				l := &pipes{make(chan net.Conn), make(chan struct{})}
				served := make(chan error)
				go func() { served <- s.Serve(l, nil) }()
				get := func() (err error) {
					mine, theirs := net.Pipe()
					defer mine.Close()
					select {
					case l.conns <- theirs:
					case <-l.closed:
						theirs.Close()
						return net.ErrClosed
					}
					fmt.Fprint(mine, "GET /v1/cache/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
					resp, err := http.ReadResponse(bufio.NewReader(mine), nil)
					if err != nil {
						return err
					}
					_, err = io.Copy(io.Discard, resp.Body)
					return err
				}
				var clients sync.WaitGroup
				ended := make(chan time.Duration)
				begun := time.Now()
				go func() {
					_ = s.Shutdown(t.Context(), delay, timeout)
					ended <- time.Since(begun)
				}()
				<-time.After(delay - time.Nanosecond)
				if c.pause > 0 { // right before the listener is closed
					clients.Go(func() {
						if err := get(); (err != nil) != c.late {
							t.Errorf("the download under way: %v", err)
						}
					})
				}
				took := <-ended
				if took < c.want-time.Second || took > c.want+time.Second {
					t.Errorf("the end took %s, want %s", took, c.want)
				}
				if err := get(); err == nil {
					t.Error("somebody was let in afterwards")
				}
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
				clients.Wait()
			})
		})
	}
}
