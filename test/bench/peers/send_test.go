//go:build bench

package peers_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// upload is a load of uploads: artifacts from the pool of a size, each under a name of its own. It is not for wrk, whose scripts would copy each body:
// this one writes from memory.
type upload struct {
	size        size
	connections int
	// first is the number of the first entry.
	first uint64
	// volume ends the turn too, in bytes: what is stored has to have room.
	volume int64
}

// send puts uploads on a server for a turn. Only those that are stored count.
func (s *server) send(tb testing.TB, u upload, long time.Duration) reading {
	tb.Helper()
	pool := bodies(u.size)
	most := max(u.volume/int64(len(pool[0])), int64(u.connections))
	var (
		wg     sync.WaitGroup
		number atomic.Int64
		mu     sync.Mutex
		times  []time.Duration // of those that were stored
		failed int
		last   error
	)
	before, began := s.cpu(tb), time.Now()
	for range u.connections {
		wg.Go(func() {
			line := wire{server: s}
			defer line.close()
			for {
				n := number.Add(1) - 1
				if n >= most || time.Since(began) >= long {
					return
				}
				start := time.Now()
				err := line.put(tb.Context(), u.first+uint64(n), pool[int(n)%len(pool)])
				mu.Lock()
				if err != nil {
					failed++
					last = err
				} else {
					times = append(times, time.Since(start))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	took, used := time.Since(began), s.cpu(tb)-before
	if failed > 0 {
		tb.Logf("%s: %d of %d uploads were not stored, such as: %v; its log:\n%s", s.name, failed, failed+len(times), last, s.lastRefusal())
	}
	s.forget()
	if len(times) == 0 {
		tb.Fatalf("%s stored nothing", s.name)
	}
	slices.Sort(times)
	n := float64(len(times))
	return reading{PerSecond: n / took.Seconds(), CPU: used / n, P99: times[len(times)*99/100].Seconds(), Failed: float64(failed) / (float64(failed) + n)}
}

// wire is a connection that is kept as long as the server keeps it.
type wire struct {
	server *server
	conn   net.Conn
	answer *bufio.Reader
}

// stallTimeout bounds a request with its answer; of 256 large ones at once on a slow disk each takes as long as all.
const stallTimeout = 10 * time.Minute

func (w *wire) dial(ctx context.Context) error {
	if w.conn != nil {
		return nil
	}
	var dialer interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	} = &net.Dialer{Timeout: stallTimeout}
	if w.server.tls {
		dialer = &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // it is this process's own server
	}
	conn, err := dialer.DialContext(ctx, "tcp", w.server.addr)
	if err != nil {
		return err
	}
	w.conn, w.answer = conn, bufio.NewReader(conn)
	return nil
}

func (w *wire) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// put stores one artifact.
func (w *wire) put(ctx context.Context, n uint64, body []byte) error {
	return w.ask(ctx, http.MethodPut, w.server.keys.path(n), body)
}

// ask sends a request and reads the answer to its end.
func (w *wire) ask(ctx context.Context, method, path string, body []byte) error {
	if err := w.dial(ctx); err != nil {
		return err
	}
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, w.server.addr)
	if w.server.token != "" {
		fmt.Fprintf(&head, "Authorization: Bearer %s\r\n", w.server.token)
	}
	if method == http.MethodPut {
		fmt.Fprintf(&head, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", len(body))
	}
	head.WriteString("\r\n")
	_ = w.conn.SetDeadline(time.Now().Add(stallTimeout))
	request := net.Buffers{[]byte(head.String()), body}
	if _, err := request.WriteTo(w.conn); err != nil {
		w.close()
		return err
	}
	resp, err := http.ReadResponse(w.answer, nil)
	if err != nil {
		w.close()
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		w.close()
		return err
	}
	if resp.Close {
		w.close()
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return nil
}
