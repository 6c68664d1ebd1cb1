package server

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// hangsAfter is how many times stall-timeout a download may be without a byte that moves. A peer that takes none has ended it well before, and a bucket that sends none is
// given up, too: then a file hangs, in the operating system, where no deadline reaches.
const hangsAfter = 3

type stallKey struct{}

// withStall gives requests of a connection access to what knows whether its bytes move.
func withStall(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*laneConn); ok {
		conn = c.Conn
	}
	if c, ok := conn.(*tls.Conn); ok {
		conn = c.NetConn()
	}
	if c, ok := conn.(*stallConn); ok {
		return context.WithValue(ctx, stallKey{}, c)
	}
	return ctx
}

// whileItMoves cuts the connection of a request off if none of its bytes moves for too long, so that the client waits no longer. Whoever copies them may hang all the same,
// until the operating system lets go. Hangs is called before, stop when the copying is over.
func whileItMoves(ctx context.Context, hangs func(after time.Duration)) (stop func()) {
	c, ok := ctx.Value(stallKey{}).(*stallConn)
	if !ok {
		return func() {}
	}
	w := &moveWatch{conn: c, after: hangsAfter * c.timeout, seen: c.moved.Load()}
	w.timer = time.AfterFunc(w.after, func() { w.look(hangs) })
	return w.stop
}

type moveWatch struct {
	conn  *stallConn
	after time.Duration

	mu    sync.Mutex // while it is held, stop has not returned
	timer *time.Timer
	seen  int64
	over  bool
}

func (w *moveWatch) look(hangs func(time.Duration)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	if now := w.conn.moved.Load(); now != w.seen {
		w.seen = now
		w.timer.Reset(w.after)
		return
	}
	w.over = true
	hangs(w.after)
	w.conn.cut()
}

func (w *moveWatch) stop() {
	w.timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

// cut ends what is sent, also while another goroutine is at it and hangs: to close the connection would wait for that one.
func (c *stallConn) cut() {
	if lower, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = lower.CloseWrite()
		return
	}
	_ = c.Close()
}
