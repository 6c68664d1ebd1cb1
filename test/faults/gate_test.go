//go:build faults || e2e

package faults_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// chunk is how much the gate passes on at once; largeBody is from where on a body counts as one that can break in the middle.
	chunk     = 32 << 10
	largeBody = 1 << 20
)

// gate lies between Nx and the server and sees requests come and bodies flow. It passes every byte on as it is, and the end of a connection as it
// came: it is there to know when.
type gate struct {
	trigger
	url      string
	listener net.Listener
	server   atomic.Pointer[string]
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool
	closed   bool
}

func newGate(tb testing.TB) *gate {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	g := &gate{url: "http://" + l.Addr().String(), listener: l, conns: make(map[net.Conn]bool)}
	g.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			g.wg.Go(func() { g.serve(conn.(*net.TCPConn)) })
		}
	})
	tb.Cleanup(func() {
		l.Close()
		g.mu.Lock()
		g.closed = true
		for c := range g.conns {
			c.Close()
		}
		g.mu.Unlock()
		g.wg.Wait()
	})
	return g
}

// leadTo sets where connections lead from now on: a URL without a path.
func (g *gate) leadTo(url string) {
	addr := strings.TrimPrefix(url, "http://")
	g.server.Store(&addr)
}

// own closes a connection when the gate ends.
func (g *gate) own(c net.Conn) (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		c.Close()
	}
	g.conns[c] = true
	return func() {
		c.Close()
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.conns, c)
	}
}

func (g *gate) serve(client *net.TCPConn) {
	defer g.own(client)()
	conn, err := net.DialTimeout("tcp", *g.server.Load(), time.Minute)
	if err != nil {
		reset(client)
		return
	}
	server := conn.(*net.TCPConn)
	defer g.own(server)()
	// What lies in the kernel's buffers when something breaks has got through: let it be little.
	_ = server.SetReadBuffer(chunk)
	_ = client.SetWriteBuffer(chunk)
	var reading atomic.Bool    // a GET is being answered
	var answered atomic.Uint64 // bytes of the answer
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	context.AfterFunc(ctx, func() { client.Close(); server.Close() })
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		buffer := make([]byte, chunk)
		for {
			n, err := server.Read(buffer)
			if n > 0 {
				if _, err := client.Write(buffer[:n]); err != nil {
					return
				}
				if total := answered.Add(uint64(n)); reading.Load() && total > largeBody {
					g.come(midBody)
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					reset(client) // as the client would have seen it
				}
				return
			}
		}
	}()
	g.requests(bufio.NewReaderSize(client, chunk), server, &reading, &answered)
	_ = server.CloseWrite() // the answer may still be on its way
	<-done
}

// requests passes requests on, one after the other.
func (g *gate) requests(client *bufio.Reader, server net.Conn, reading *atomic.Bool, answered *atomic.Uint64) {
	for {
		head, length, err := readHead(client)
		if err != nil {
			return
		}
		get := bytes.HasPrefix(head, []byte("GET "))
		answered.Store(0)
		reading.Store(get)
		if get {
			g.come(beforeHit)
		}
		if _, err := server.Write(head); err != nil {
			return
		}
		for left := length; left > 0; {
			n, err := io.CopyN(server, client, min(left, chunk))
			left -= n
			if err != nil {
				return
			}
			if length > largeBody && left < length/2 {
				g.come(midUpload)
			}
		}
	}
}

// readHead reads a request up to its body, and says how long that is.
func readHead(r *bufio.Reader) (head []byte, length int64, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, 0, err
		}
		head = append(head, line...)
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.EqualFold(name, "Content-Length") {
			if length, err = strconv.ParseInt(strings.TrimSpace(value), 10, 64); err != nil {
				return nil, 0, err
			}
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return head, length, nil
		}
	}
}

// reset ends a connection with a reset.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.Close()
}
