package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
)

// socketMode lets a proxy that shares the server's group connect to a unix socket, and nobody else.
const socketMode = 0o660

// Listen opens what an address of the given network stands for: "tcp" with host:port, "unix" with a path, or "systemd" for
// all sockets that the service manager handed over. Those stay open while the server restarts: whoever connects meanwhile
// waits instead of being refused.
func Listen(ctx context.Context, network, address string) ([]net.Listener, error) {
	switch network {
	case "tcp":
		l, err := tcpConfig().Listen(ctx, "tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("cannot listen on %s: another process does. End it, or choose another address with --listen", address)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
		}
		return []net.Listener{l}, nil
	case "unix":
		l, err := listenUnix(ctx, address)
		if err != nil {
			return nil, fmt.Errorf("cannot listen on the unix socket %s: %w", address, err)
		}
		return []net.Listener{l}, nil
	case "systemd":
		ls, err := activation.Listeners()
		if err != nil {
			return nil, fmt.Errorf("cannot take the sockets that systemd handed over: %w", err)
		}
		ls = dropNil(ls)
		if len(ls) == 0 {
			return nil, errors.New("cannot listen on systemd's sockets: it handed none over. Start bezoar by its .socket unit, or give --listen an address")
		}
		return ls, nil
	}
	return nil, fmt.Errorf("cannot listen on a network %q", network)
}

// dropNil removes the places of descriptors that are no stream sockets.
func dropNil(ls []net.Listener) []net.Listener {
	kept := ls[:0]
	for _, l := range ls {
		if l != nil {
			kept = append(kept, l)
		}
	}
	return kept
}

// listenUnix takes the place of a socket that a killed server left, but not of one that is alive.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, errors.New("there is a file of that name, and it is no socket")
		}
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(ctx, "unix", path)
		if err == nil {
			conn.Close()
			return nil, errors.New("another process listens on it")
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	restore := tightUmask() // the socket must not be open to all until its mode is set
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	restore()
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// OnlyLocal reports whether no other machine can reach an address.
func OnlyLocal(addr net.Addr) bool {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.IP.IsLoopback()
	}
	return addr.Network() == "unix"
}
