package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// TestAConnectionThatRestsHoldsLittle, whatever it was answered before.
func TestAConnectionThatRestsHoldsLittle(t *testing.T) {
	const conns, most = 400, 24 << 10
	f := newFixture(t)
	body := artifacttest.Nx(artifacttest.File("a", string(artifacttest.Random(50_000, 1))))
	if len(body) > together-1000 {
		t.Fatalf("%d bytes are not sent in one go", len(body))
	}
	f.want(http.StatusOK, http.MethodPut, "/v1/cache/1", body)
	var open []net.Conn
	readers := make([]*bufio.Reader, conns)
	for i := range conns {
		conn, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		open, readers[i] = append(open, conn), bufio.NewReaderSize(conn, 16)
	}
	ask := func(path string) {
		for i, conn := range open {
			fmt.Fprint(conn, "GET "+path+plainHead)
			resp, err := http.ReadResponse(readers[i], nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
		}
	}
	held := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	ask("/v1/cache/none")
	before := held()
	ask("/v1/cache/1")
	if each := (held() - before) / conns; each > most {
		t.Errorf("each connection holds %d bytes more than before its download, at most %d are due", each, most)
	}
}
