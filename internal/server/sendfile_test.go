package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/hot"
)

// onFiles makes a server over files that are kept open.
func onFiles(t *testing.T, stall time.Duration) *fixture {
	inner, err := fs.Open(t.TempDir(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inner.Close() })
	return newFixture(t, func(o *Options) {
		o.Cache = cache.New(hot.New(inner, hot.Options{Files: 64}), cache.Options{Limits: artifact.DefaultLimits(), Now: time.Now})
		o.StallTimeout = stall
	})
}

// TestOpenFilesAreSentWhole over connections of each kind, one after the other and at once.
func TestOpenFilesAreSentWhole(t *testing.T) {
	f := onFiles(t, 10*time.Second)
	body := artifacttest.Nx(artifacttest.File("a", string(artifacttest.Random(3<<20, 1))))
	f.want(http.StatusOK, http.MethodPut, "/v1/cache/1", body)
	for name, head := range map[string]string{
		"plain":         "GET /v1/cache/1" + plainHead,
		"left the lane": "GET /v1/cache/1?a HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(conn)
			for i := range 4 {
				if _, err := io.WriteString(conn, head); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				if err != nil || !bytes.Equal(got, body) {
					t.Fatalf("answer %d: %s, %d bytes, %v", i, resp.Status, len(got), err)
				}
			}
		})
	}
}

// TestAStalledDownloadOfAFileEnds like any other, and the next one is whole.
func TestAStalledDownloadOfAFileEnds(t *testing.T) {
	f := onFiles(t, time.Second)
	body := artifacttest.Nx(artifacttest.File("a", string(artifacttest.Random(7<<20, 1))))
	f.want(http.StatusOK, http.MethodPut, "/v1/cache/1", body)
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /v1/cache/1"+plainHead)
	f.waitForLog(1, `"cause":"client_stalled"`)
	if _, got := f.do(http.MethodGet, "/v1/cache/1", nil); !bytes.Equal(got, body) {
		t.Errorf("the next client got %d bytes", len(got))
	}
}

// TestAClientThatLeavesAFile is told from trouble of ours.
func TestAClientThatLeavesAFile(t *testing.T) {
	f := onFiles(t, 10*time.Second)
	body := artifacttest.Nx(artifacttest.File("a", string(artifacttest.Random(7<<20, 1))))
	f.want(http.StatusOK, http.MethodPut, "/v1/cache/1", body)
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /v1/cache/1"+plainHead)
	if _, err := io.CopyN(io.Discard, conn, 1000); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	f.waitForLog(1, `"cause":"client_gone"`)
}

// TestPartsOfFiles of all sizes, with what is sent before them, arrive as they are.
func TestPartsOfFiles(t *testing.T) {
	text := artifacttest.Random(600_000, 1)[:600_000]
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, c := range []struct{ off, n, sent int64 }{
		{0, 0, 0}, {0, 1, 1}, {5, 1000, 1000}, {0, stallChunk, stallChunk}, {1, stallChunk + 1, stallChunk + 1}, {0, 600_000, 600_000}, {599_000, 2000, 1000}, {700_000, 5, 0},
	} {
		t.Run(strconv.FormatInt(c.off, 10)+"+"+strconv.FormatInt(c.n, 10), func(t *testing.T) {
			client, conn := connected(t)
			s := newStallConn(conn, 10*time.Second, 1)
			go func() {
				defer conn.Close()
				if _, err := s.writeMore([]byte("head")); err != nil {
					t.Error(err)
				}
				if n, err := s.ReadFrom(&cache.FileRange{File: file, Off: c.off, N: c.n}); n != c.sent || err != nil {
					t.Errorf("%d bytes were sent, %v", n, err)
				}
			}()
			got, err := io.ReadAll(client)
			from := min(c.off, int64(len(text)))
			if want := append([]byte("head"), text[from:from+c.sent]...); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
			}
		})
	}
	if at, err := file.Seek(0, io.SeekCurrent); at != 0 || err != nil {
		t.Errorf("the file's offset has moved to %d, %v", at, err)
	}
}

// connected returns both ends of a connection over the loopback. The test ends the client's.
func connected(t *testing.T) (client, conn net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	conn, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, conn
}
