//go:build bench

package bench_test

import (
	"net"
	"sync"
	"testing"
	"time"
)

// The line to a bucket that is not on the same machine: 1 Gbit/s each way, shared by all connections, and 2 ms one way.
const (
	lineSpeed = 125e6 // bytes per second
	lineDelay = 2 * time.Millisecond
	lineChunk = 64 << 10
)

// slowLine listens on an address from where all bytes go to target and back, as over a line.
func slowLine(b *testing.B, target string) (addr string) {
	b.Helper()
	var config net.ListenConfig
	l, err := config.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	there, back := new(pace), new(pace)
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				var dialer net.Dialer
				far, err := dialer.DialContext(b.Context(), "tcp", target)
				if err != nil {
					near.Close()
					return
				}
				go there.carry(far, near)
				go back.carry(near, far)
			}()
		}
	}()
	return l.Addr().String()
}

// pace is one direction of the line.
type pace struct {
	mu   sync.Mutex
	free time.Time // when the line has sent what it took so far
}

// take returns when n bytes more have left.
func (p *pace) take(n int) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(n) / lineSpeed * float64(time.Second)))
	return p.free
}

// carry takes bytes from one connection to another. What is on the way is bounded, as by the window of TCP.
func (p *pace) carry(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	type piece struct {
		bytes []byte
		due   time.Time
	}
	way := make(chan piece, 64)
	go func() {
		defer close(way)
		for {
			buf := make([]byte, lineChunk)
			n, err := from.Read(buf)
			if n > 0 {
				left := p.take(n)
				if ahead := time.Until(left); ahead > lineDelay { // timers are not exact enough for each piece
					<-time.After(ahead)
				}
				way <- piece{buf[:n], left.Add(lineDelay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for piece := range way {
		if early := time.Until(piece.due); early > 0 {
			<-time.After(early)
		}
		if _, err := to.Write(piece.bytes); err != nil {
			from.Close()
			break
		}
	}
	for range way { // until the other side has noticed
	}
}
