package server

import (
	"net"
	"syscall"
)

// What Go sets for each connection that it accepts, unless told otherwise.
const (
	keepAliveIdle     = 15 // seconds
	keepAliveInterval = 15 // seconds
	keepAliveCount    = 9
)

// tcpConfig has the kernel probe silent peers as Go does by default. But the options are the listener's, from which Linux gives them to each connection:
// four system calls fewer where each request comes over a connection of its own. It listens for TCP alone: Multipath TCP, Go's default, makes connections
// dearer, and its sockets do not know all of these options in every kernel. A client that speaks it falls back by itself.
func tcpConfig() *net.ListenConfig {
	config := &net.ListenConfig{
		KeepAlive: -1, // none that Go would set
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			if failed := c.Control(func(fd uintptr) { err = setKeepAlive(int(fd)) }); failed != nil {
				return failed
			}
			return err
		},
	}
	config.SetMultipathTCP(false)
	return config
}

func setKeepAlive(fd int) error {
	for _, option := range []struct{ level, name, value int }{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, keepAliveIdle},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, keepAliveInterval},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, keepAliveCount},
	} {
		if err := syscall.SetsockoptInt(fd, option.level, option.name, option.value); err != nil {
			return err
		}
	}
	return nil
}
