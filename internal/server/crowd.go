package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admit"
)

// crowd counts the connections of the API's listeners and bounds them.
type crowd struct {
	most  int64         // of connections; 0: no bound
	slots chan struct{} // one for each connection that may be open, with those beyond most
	open  atomic.Int64
	last  atomic.Int64 // when there were more than most, in nanoseconds since 1970
	shed  atomic.Int64
}

func newCrowd(most int) *crowd {
	c := &crowd{most: int64(most)}
	if most > 0 {
		c.slots = make(chan struct{}, most+max(4, most/4))
	}
	return c
}

type beyondKey struct{}

// connContext is called for each connection before it is served.
func (c *crowd) connContext(ctx context.Context, _ net.Conn) context.Context {
	if n := c.open.Add(1); c.most > 0 && n > c.most {
		c.last.Store(time.Now().UnixNano())
		c.shed.Add(1)
		return context.WithValue(ctx, beyondKey{}, true)
	}
	return ctx
}

// connState is called as the last of each connection.
func (c *crowd) connState(_ net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	c.open.Add(-1)
	if c.slots != nil {
		<-c.slots
	}
}

// full reports whether all places are taken. Connections end with their next answer then, and new ones have to say something soon: clients wait for
// their turn with the operating system, and whoever keeps a place between his requests, or says nothing, would let them wait for ever.
func (c *crowd) full() bool { return c.slots != nil && c.open.Load() >= int64(cap(c.slots)) }

// crowdedHeader is how long a connection may take for its first request while all places are taken.
const crowdedHeader = time.Second

// beyond reports whether a request came over a connection that is one too many. Until somebody has judged its credential, nobody can tell whether
// it is trusted: so it is read, and answered at once if it is not.
func (c *crowd) beyond(ctx context.Context) bool { return ctx.Value(beyondKey{}) != nil }

// Crowded says that there were too many connections a moment ago, or is nil.
func (s *Server) Crowded() error {
	c := s.crowd
	if last := c.last.Load(); last == 0 || time.Since(time.Unix(0, last)) >= crowdedFor {
		return nil
	}
	return fmt.Errorf("%w: %d connections are open, at most %d are to be", admit.ErrFull, c.open.Load(), c.most)
}

const crowdedFor = 30 * time.Second

// over bounds what l accepts. When all places are taken, connections wait with the operating system until one ends, or l is closed.
func (c *crowd) over(l net.Listener) net.Listener {
	if c.slots == nil {
		return l
	}
	return &crowdListener{Listener: l, crowd: c, closed: make(chan struct{})}
}

type crowdListener struct {
	net.Listener
	crowd  *crowd
	once   sync.Once
	closed chan struct{}
}

// Accept takes a place before a connection, so that none is taken that has no place.
func (l *crowdListener) Accept() (net.Conn, error) {
	select {
	case l.crowd.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.crowd.slots
	}
	return conn, err
}

func (l *crowdListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
