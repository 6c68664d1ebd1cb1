package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// laneConn is a connection. net/http calls Read for its first request, and that does not return before there is one that is not plain.
type laneConn struct {
	net.Conn
	lane *lane
	base func() context.Context // what net/http gives to the requests of the connection
	over bool                   // it is net/http's alone; only its own goroutine knows

	mu     sync.Mutex
	busy   bool               // a request is being answered
	used   bool               // a request was answered
	cancel context.CancelFunc // ends an upload that is being answered
	ended  bool               // nothing is to be waited for any more
	closed bool               // Close was called while a request was being answered
}

// Read gives net/http the bytes of requests that are not plain.
func (c *laneConn) Read(p []byte) (int, error) {
	if c.over {
		return c.Conn.Read(p)
	}
	c.over = true
	defer c.leave()
	if tlsConn, ok := c.Conn.(*tls.Conn); ok && !c.shakeHands(tlsConn) {
		return 0, io.EOF
	}
	n, err := c.serve(p)
	if err == nil {
		// As if the connection were new.
		err = c.SetReadDeadline(after(time.Now(), c.lane.server.opts.HeaderTimeout))
	}
	return n, err
}

func (c *laneConn) leave() {
	c.lane.mu.Lock()
	defer c.lane.mu.Unlock()
	delete(c.lane.conns, c)
}

// shakeHands does what net/http does with a connection that it knows to be of TLS.
func (c *laneConn) shakeHands(conn *tls.Conn) bool {
	_ = conn.SetDeadline(after(time.Now(), c.lane.server.opts.HeaderTimeout))
	err := conn.HandshakeContext(context.Background()) // within the deadline
	if err == nil {
		return conn.SetWriteDeadline(time.Time{}) == nil
	}
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && isHTTP(plain.RecordHeader) {
		_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nThis server speaks HTTPS: the address begins with https://\n")
	}
	return false
}

func isHTTP(begin [5]byte) bool {
	switch string(begin[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// serve answers plain requests. It returns the first bytes of one that is not plain, or [io.EOF] if there is none.
func (c *laneConn) serve(p []byte) (int, error) {
	opts := &c.lane.server.opts
	wait := opts.HeaderTimeout
	q := laneRequest{conn: c}
	for begun := 0; begun > 0 || c.mayWait(wait); {
		n := begun
		if begun == 0 {
			var err error
			if n, err = c.Conn.Read(p); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					err = io.EOF
				}
				return n, err
			}
		}
		if q.r == nil {
			growStack()
		}
		if !q.parse(p[:n]) {
			return n, nil
		}
		if !c.answer(&q) {
			break
		}
		begun = copy(p, q.next)
		wait = opts.IdleTimeout
	}
	return 0, io.EOF
}

// growStack makes room for a request on the stack in one go. By itself the stack would grow in steps, deep within the request, and moving it was a
// tenth of the time of a connection that has one request. A connection that sends nothing needs no such room.
//
//go:noinline
func growStack() byte {
	var room [12 << 10]byte
	return room[len(os.Args)%len(room)]
}

// mayWait sets the time within which a request has to come.
func (c *laneConn) mayWait(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended && c.used {
		return false
	}
	switch {
	case c.ended:
		d = least(d, firstGrace)
	case c.lane.server.crowd.full():
		d = least(d, crowdedHeader)
	}
	return c.SetReadDeadline(after(time.Now(), d)) == nil
}

// least is the shorter one; d is none if it is not positive.
func least(d, other time.Duration) time.Duration {
	if d <= 0 {
		return other
	}
	return min(d, other)
}

// answer answers a request. It returns whether another one may come. What was read is answered, also when the server ends: a client whose request is
// dropped fails its build.
func (c *laneConn) answer(q *laneRequest) (again bool) {
	r := q.r
	var cancel context.CancelFunc
	if r.Method == http.MethodPut {
		var ctx context.Context
		ctx, cancel = context.WithCancel(r.Context())
		defer cancel()
		r = r.WithContext(ctx)
		r.Body, r.ContentLength = &q.body, q.body.left
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.busy, c.used, c.cancel = true, true, cancel
	// From here on until the answer is sent, which is after the handler is done: net/http takes the connection for one that rests.
	running := &c.lane.server.running
	running.begin()
	c.mu.Unlock()
	defer running.end()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.busy, c.cancel = false, nil
		if c.closed {
			_ = c.Conn.Close()
		}
		again = again && !c.closed && !c.ended
	}()
	return c.handle(q, r)
}

func (c *laneConn) handle(q *laneRequest, r *http.Request) (again bool) {
	w := &q.writer
	w.reset(q)
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			again = false // what was sent is only a part
		}
	}()
	if c.lane.server.opts.StallTimeout <= 0 && q.body.left > 0 {
		_ = c.SetReadDeadline(time.Time{}) // that of the head
	}
	c.lane.server.serveArtifact(w, r, q.target)
	again = w.finish()
	if w.status == http.StatusOK {
		q.keepHead()
	}
	if !again && w.err == nil && q.body.left > 0 {
		c.linger()
	}
	return again
}

// lingerTime is how long a connection is still read from that ends with bytes on the way to it.
const lingerTime = 500 * time.Millisecond

// linger lets a client that is still sending read the answer. Closing at once would send a reset, which may overtake the answer.
func (c *laneConn) linger() {
	if c.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, struct{ io.Reader }{c.Conn})
}

// Close closes the connection, or has it closed when the request is answered that is under way: only the end of the server does that, and it
// waits for these.
func (c *laneConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy && !c.closed {
		c.closed = true
		return nil
	}
	return c.Conn.Close()
}

// writeMore is Write for what comes right before a file.
func (c *laneConn) writeMore(p []byte) (int, error) {
	if lower, ok := c.Conn.(*stallConn); ok {
		return lower.writeMore(p)
	}
	return c.Write(p)
}

// ReadFrom keeps the way open for sendfile.
func (c *laneConn) ReadFrom(r io.Reader) (int64, error) {
	if lower, ok := c.Conn.(io.ReaderFrom); ok {
		return lower.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// CloseWrite lets net/http end a connection so that the peer still reads the answer.
func (c *laneConn) CloseWrite() error {
	if lower, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return lower.CloseWrite()
	}
	return nil
}
