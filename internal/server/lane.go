package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

// lane answers plain requests for artifacts on a connection before net/http sees them. Thousands of small artifacts are asked for at once by clients
// that send the same headers each time, and most of the time of such a request goes into reading these again, and into what only other
// requests need. What is answered, logged and counted is the same: the same handler does it.
//
// A request is plain if it is a GET or HEAD for an artifact without a body, and if its head came in one piece, in the one form that nobody reads
// in two ways. Its headers are those of the request before, byte by byte, or were read by net/http. With the first request that is
// not plain the connection is net/http's for good, with every byte from the beginning of that request.
type lane struct {
	server *Server
	date   date

	mu    sync.Mutex
	conns map[*laneConn]struct{} // those on which plain requests are answered
}

// over makes a lane of each connection of l.
func (n *lane) over(l net.Listener) net.Listener { return &laneListener{l, n} }

type laneListener struct {
	net.Listener
	lane *lane
}

func (l *laneListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &laneConn{Conn: conn, lane: l.lane, base: context.Background}
	l.lane.mu.Lock()
	defer l.lane.mu.Unlock()
	l.lane.conns[c] = struct{}{}
	return c, nil
}

// connContext is called for each connection before it is served, and may give its requests more.
func (n *lane) connContext(ctx context.Context, conn net.Conn) context.Context {
	ctx = withStall(n.server.crowd.connContext(ctx, conn), conn)
	if c, ok := conn.(*laneConn); ok {
		c.base = func() context.Context { return ctx }
	}
	return ctx
}

// firstGrace is how long a new connection may take for its first request when the server ends: its client has it on the way, or it would not have
// connected. It is what net/http gives to its own.
const firstGrace = 5 * time.Second

// stop ends the connections that rest. Those that are at work end with their answer, since the server is stopping, and new ones with that to their
// first request.
func (n *lane) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		c.mu.Lock()
		c.ended = true
		switch {
		case c.busy:
		case c.used:
			_ = c.SetReadDeadline(time.Unix(1, 0))
		default:
			_ = c.SetReadDeadline(time.Now().Add(firstGrace))
		}
		c.mu.Unlock()
	}
}

// cut breaks the connections that are still at work.
func (n *lane) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.Conn.Close()
	}
}

// laneConn is a connection. net/http calls Read for its first request, and that does not return before there is one that is not plain.
type laneConn struct {
	net.Conn
	lane *lane
	base func() context.Context // what net/http gives to the requests of the connection
	over bool                   // it is net/http's alone; only its own goroutine knows

	mu     sync.Mutex
	busy   bool // a request is being answered
	used   bool // a request was answered
	ended  bool // nothing is to be waited for any more
	closed bool // Close was called while a request was being answered
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
	for c.mayWait(wait) {
		n, err := c.Conn.Read(p)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = io.EOF
			}
			return n, err
		}
		if !q.parse(p[:n]) {
			return n, nil
		}
		if !c.answer(&q) {
			break
		}
		wait = opts.IdleTimeout
	}
	return 0, io.EOF
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
func (c *laneConn) answer(q *laneRequest) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.busy, c.used = true, true
	c.mu.Unlock()
	again := c.handle(q)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	if c.closed {
		_ = c.Conn.Close()
	}
	return again && !c.closed && !c.ended
}

func (c *laneConn) handle(q *laneRequest) (again bool) {
	w := &q.writer
	w.reset(c, q.r.Method)
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			again = false // what was sent is only a part
		}
	}()
	c.lane.server.serveArtifact(w, q.r, q.target)
	return w.finish()
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

// after is a deadline; none without a timeout.
func after(now time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return now.Add(d)
}

// laneRequest is the request that is being answered. All that it holds is used again for the next one of the connection.
type laneRequest struct {
	conn    *laneConn
	r       *http.Request
	headers []byte // what r.Header and r.Host were made of
	target  target
	writer  laneWriter
}

// parse makes a request of a head. It returns false for one that is not plain.
func (q *laneRequest) parse(head []byte) bool {
	method, path, headers, ok := cutRequest(head)
	if !ok {
		return false
	}
	if q.r == nil || !bytes.Equal(headers, q.headers) {
		if !q.read(head, headers) {
			return false
		}
	}
	q.r.Method = method
	q.r.URL.Path = path
	q.r.RequestURI = path
	q.target, ok = parseTarget(path)
	return ok
}

// read has net/http read the headers, and accepts what no part of it or of us would take for something else.
func (q *laneRequest) read(head, headers []byte) bool {
	if !isPlain(headers) {
		return false
	}
	r, err := http.ReadRequest(newHeadReader(head))
	if err != nil || r.ContentLength != 0 || len(r.TransferEncoding) > 0 || r.Close || r.URL.RawQuery != "" {
		return false
	}
	for _, name := range []string{"Connection", "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Expect", "Upgrade", "Http2-Settings", "Proxy-Connection", "Range"} {
		if values, ok := r.Header[name]; ok && (name != "Connection" || len(values) != 1 || values[0] != "keep-alive") {
			return false
		}
	}
	r.Body = http.NoBody
	r.RemoteAddr = q.conn.RemoteAddr().String()
	r.URL = &url.URL{}
	q.r = r.WithContext(context.WithValue(q.conn.base(), http.LocalAddrContextKey, q.conn.LocalAddr()))
	q.headers = append(q.headers[:0], headers...)
	return true
}
