//go:build bench

package peers_test

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// piece is a part of a connection's bytes, and when it arrives.
type piece struct {
	bytes []byte
	due   time.Time
}

// line listens on an address from where all bytes go to target and back, each way in half of the time there and back. A new connection takes that time once more
// before anything goes over it, as a handshake does. It needs no rights and no module of the kernel, which network emulation does.
func line(tb testing.TB, target string, way time.Duration) (addr string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			opened := time.Now().Add(way)
			go func() {
				far, err := net.Dial("tcp", target)
				if err != nil {
					near.Close()
					return
				}
				go carry(far, near, way/2, opened)
				go carry(near, far, way/2, opened)
			}()
		}
	}()
	return l.Addr().String()
}

// carry takes bytes from one connection to another. What is on the way is bounded, as by the window of TCP: 4 MB.
func carry(to, from net.Conn, delay time.Duration, opened time.Time) {
	defer to.Close()
	defer from.Close()
	way := make(chan piece, 64)
	go func() {
		defer close(way)
		for {
			buf := make([]byte, 64<<10)
			n, err := from.Read(buf)
			if n > 0 {
				left := time.Now()
				if left.Before(opened) {
					left = opened
				}
				way <- piece{buf[:n], left.Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range way {
		wait(p.due)
		if _, err := to.Write(p.bytes); err != nil {
			from.Close()
			break
		}
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	for range way { // until the other side has noticed
	}
	_, _ = io.Copy(io.Discard, from)
}

// wait is exact to some 0.1 ms, where a timer of Go waits for whole milliseconds.
func wait(until time.Time) {
	for {
		left := time.Until(until)
		if left <= 0 {
			return
		}
		if left > 3*time.Millisecond {
			<-time.After(left - 2*time.Millisecond)
			continue
		}
		spec := unix.NsecToTimespec(left.Nanoseconds())
		_ = unix.Nanosleep(&spec, nil) // a signal makes it look again
	}
}
