package server

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// slowConn is a connection whose peer takes some bytes each time before the deadline strikes, and from some byte on none.
type slowConn struct {
	net.Conn
	step, most int
	deadlines  int
	got        bytes.Buffer
}

func (c *slowConn) SetWriteDeadline(time.Time) error { c.deadlines++; return nil }

func (c *slowConn) Write(p []byte) (int, error) {
	n := min(len(p), c.step, c.most-c.got.Len())
	c.got.Write(p[:n])
	if n < len(p) {
		return n, &net.OpError{Op: "write", Err: os.ErrDeadlineExceeded}
	}
	return n, nil
}

func (c *slowConn) ReadFrom(r io.Reader) (int64, error) {
	p := make([]byte, min(c.step, c.most-c.got.Len()))
	n, _ := io.ReadFull(r, p)
	c.got.Write(p[:n])
	if r.(*io.LimitedReader).N > 0 {
		return int64(n), &net.OpError{Op: "sendfile", Err: os.ErrDeadlineExceeded}
	}
	return int64(n), nil
}

// TestASlowPeerIsNoStall: as long as bytes move, each deadline is followed by another one; when none moves, it is over.
func TestASlowPeerIsNoStall(t *testing.T) {
	body := artifacttest.Random(stallChunk+1000, 1)
	name := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(name, body, 0o600); err != nil {
		t.Fatal(err)
	}
	for way, send := range map[string]func(*stallConn) (int64, error){
		"Write": func(c *stallConn) (int64, error) { n, err := c.Write(body); return int64(n), err },
		"ReadFrom": func(c *stallConn) (int64, error) {
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			return c.ReadFrom(&io.LimitedReader{R: f, N: int64(len(body))})
		},
	} {
		slow := &slowConn{step: 7000, most: len(body)}
		if n, err := send(&stallConn{Conn: slow, timeout: time.Second, due: 7000}); err != nil || n != int64(len(body)) || !bytes.Equal(slow.got.Bytes(), body) {
			t.Errorf("%s to a slow peer: %d bytes, %v, want all %d", way, n, err, len(body))
		}
		if least := len(body) / slow.step; slow.deadlines < least {
			t.Errorf("%s: %d deadlines, want one for each of %d steps", way, slow.deadlines, least)
		}
		stalled := &slowConn{step: 7000, most: 30_000}
		if n, err := send(&stallConn{Conn: stalled, timeout: time.Second, due: 7000}); !errors.Is(err, os.ErrDeadlineExceeded) || n != 30_000 {
			t.Errorf("%s to a peer that stops: %d bytes, %v, want 30000 and the deadline", way, n, err)
		}
	}
}

// TestAStalledDownloadEnds: a client that asks and takes nothing is let go.
func TestAStalledDownloadEnds(t *testing.T) {
	// The upload before it must not stall, however slow this machine is.
	f := newFixture(t, func(o *Options) { o.StallTimeout = time.Second })
	// More than the sockets' buffers hold.
	f.want(http.StatusOK, "PUT", "/v1/cache/1", artifacttest.Random(7<<20, 1))
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /v1/cache/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	f.waitForLog(1, `"cause":"client_stalled"`)
}

// TestTroubleInAcceptIsLoggedOnce: nobody is answered while it lasts, so nothing else would tell.
func TestTroubleInAcceptIsLoggedOnce(t *testing.T) {
	log := &lockedBuffer{}
	reasons := []error{syscall.EMFILE, syscall.EMFILE, net.ErrClosed}
	l := &stallListener{Listener: &failingListener{reasons}, timeout: time.Second, log: slog.New(slog.NewJSONHandler(log, nil))}
	for _, want := range reasons {
		if _, err := l.Accept(); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	if n := strings.Count(log.String(), "no connection can be taken"); n != 1 || strings.Contains(log.String(), net.ErrClosed.Error()) {
		t.Errorf("the log speaks of it %d times, want once, and not of the end: %s", n, log)
	}
}

// failingListener accepts nothing, for one reason after the other.
type failingListener struct{ reasons []error }

func (l *failingListener) Accept() (net.Conn, error) {
	err := l.reasons[0]
	l.reasons = l.reasons[1:]
	return nil, err
}

func (l *failingListener) Addr() net.Addr { return &net.TCPAddr{} }
func (l *failingListener) Close() error   { return nil }
