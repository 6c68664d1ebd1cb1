package server

import (
	"context"
	"net"
	"sync"
	"time"
)

// lane answers plain requests for artifacts on a connection before net/http sees them. Thousands of small artifacts are asked for at once by clients
// that send the same headers each time, and most of the time of such a request goes into reading these again, and into what only other
// requests need. What is answered, logged and counted is the same: the same handler does it.
//
// A request is plain if it is a GET or HEAD for an artifact without a body, or a PUT with one whose length is told once, in digits, and if its head came
// in one piece, in the one form that nobody reads in two ways. Its headers, but for that length, are those of the request before or of another that was
// answered well, byte by byte, or were read by net/http. With the first request that is not plain the connection is net/http's for good, with
// every byte from the beginning of that request.
type lane struct {
	server *Server
	date   date
	heads  heads

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

// cut breaks the connections that are still at work. It does not wait for any: who is sending a file may hang, in the operating system.
func (n *lane) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		go c.Conn.Close()
		c.mu.Lock()
		if c.cancel != nil {
			c.cancel()
		}
		c.mu.Unlock()
	}
}

// after is a deadline; none without a timeout.
func after(now time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return now.Add(d)
}
