package server

import (
	"net"
	"syscall"
	"testing"
)

// TestConnectionsAreProbed: each has from its listener what would be four calls otherwise, and does not wait with small answers.
func TestConnectionsAreProbed(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", ":0"} {
		listeners, err := Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		l := listeners[0]
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		raw, err := conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name        string
			level, what int
			want        int
		}{
			{"SO_KEEPALIVE", syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
			{"TCP_KEEPIDLE", syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, keepAliveIdle},
			{"TCP_KEEPINTVL", syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, keepAliveInterval},
			{"TCP_KEEPCNT", syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, keepAliveCount},
			{"TCP_NODELAY", syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
		} {
			var got int
			if failed := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), c.level, c.what) }); failed != nil || err != nil || got != c.want {
				t.Errorf("%s of %s: %d, %v, want %d", c.name, address, got, err, c.want)
			}
		}
	}
}
