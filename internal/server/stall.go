package server

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// stallListener hands out connections on which no write waits longer than timeout for the peer to take a byte. Reads
// have deadlines of their own: net/http sets those of headers and of idle connections, the upload handler those of bodies.
type stallListener struct {
	net.Listener
	timeout time.Duration
	rate    int64 // least bytes per second, over a timeout
	log     *slog.Logger
	warned  time.Time // when the log was last told of trouble; only the goroutine that accepts touches it
}

// acceptWarnings are that far apart. net/http tries again many times a second, and tells only its own log, which is for debugging.
const acceptWarnings = time.Minute

func (l *stallListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil && !errors.Is(err, net.ErrClosed) && time.Since(l.warned) >= acceptWarnings {
		l.warned = time.Now()
		l.log.Warn("no connection can be taken now, new clients wait; if too many files are open, raise the limit (ulimit -n, LimitNOFILE)",
			"address", l.Addr().String(), "error", err)
	}
	if err != nil || l.timeout <= 0 {
		return conn, err
	}
	return newStallConn(conn, l.timeout, due(l.rate, l.timeout)), nil
}

// due is how many bytes have to move in a time at a rate per second, but at least one.
func due(rate int64, in time.Duration) int64 {
	return max(1, int64(float64(rate)*in.Seconds()))
}

type stallConn struct {
	net.Conn
	timeout time.Duration
	due     int64 // bytes that the peer has to take in that time
	moved   atomic.Int64
	raw     syscall.RawConn // nil where the kernel cannot be asked to send a part of a file
}

func newStallConn(conn net.Conn, timeout time.Duration, due int64) *stallConn {
	c := &stallConn{Conn: conn, timeout: timeout, due: due}
	if below, ok := conn.(syscall.Conn); ok && hasSendRange {
		c.raw, _ = below.SyscallConn()
	}
	return c
}

// stallChunk is what one deadline is set for: little enough that a slow peer takes some of it in time, and enough for sendfile to be
// worth its call.
const stallChunk = 256 << 10

// slow reports whether a write whose time ended took enough bytes all the same: the peer is slow, and has not stalled. Of a chunk it need not take
// more than half: what the kernel holds for it comes and goes in large steps.
func (c *stallConn) slow(n, chunk int64, err error) bool {
	return n >= min(c.due, max(1, chunk/2)) && errors.Is(err, os.ErrDeadlineExceeded)
}

func (c *stallConn) Write(p []byte) (written int, err error) {
	for {
		chunk := p[:min(len(p), stallChunk)]
		if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(chunk)
		c.moved.Add(int64(n))
		written += n
		if p = p[n:]; err != nil && !c.slow(int64(n), int64(len(chunk)), err) || len(p) == 0 {
			return written, err
		}
	}
}

// ReadFrom keeps the way open for sendfile: net/http hands over a file here, and the connection below
// knows how to move it.
func (c *stallConn) ReadFrom(r io.Reader) (written int64, err error) {
	if part, ok := r.(*cache.FileRange); ok && c.raw != nil {
		return c.sendPart(part)
	}
	lower, ok := c.Conn.(io.ReaderFrom)
	limited, isLimited := r.(*io.LimitedReader)
	if !ok || !isLimited {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	if _, isFile := limited.R.(*os.File); !isFile {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	for limited.N > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return written, err
		}
		size := min(limited.N, stallChunk)
		chunk := io.LimitedReader{R: limited.R, N: size}
		n, err := lower.ReadFrom(&chunk)
		c.moved.Add(n)
		written += n
		limited.N -= n
		if err != nil && !c.slow(n, size, err) || n == 0 {
			return written, err
		}
	}
	return written, nil
}

// sendPart is ReadFrom for a file that others may be sending, too.
func (c *stallConn) sendPart(part *cache.FileRange) (written int64, err error) {
	for part.N > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return written, err
		}
		size := min(part.N, stallChunk)
		n, err := sendRange(c.raw, part.File, part.Off, size)
		c.moved.Add(n)
		written += n
		part.Off += n
		part.N -= n
		if n == 0 && isNotSent(err) {
			n, err := io.Copy(struct{ io.Writer }{c}, part)
			return written + n, err
		}
		if err != nil && !c.slow(n, size, err) || n == 0 {
			return written, err
		}
	}
	return written, nil
}

// isNotSent says that the kernel does not send a file of this kind, or no file at all.
func isNotSent(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL)
}

// writeMore is Write for what comes right before something else: the kernel may send them together.
func (c *stallConn) writeMore(p []byte) (int, error) {
	if c.raw == nil {
		return c.Write(p)
	}
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	n, err := sendMore(c.raw, p)
	c.moved.Add(int64(n))
	return n, err
}

// CloseWrite lets net/http end a connection so that the peer still reads the answer.
func (c *stallConn) CloseWrite() error {
	if lower, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return lower.CloseWrite()
	}
	return nil
}
