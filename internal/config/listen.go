package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// Address is a TCP address, host:port. An empty host means all of the machine's addresses, port 0 any free one.
type Address string

// Networks of a [Listener].
const (
	TCP     = "tcp"
	Unix    = "unix"
	Systemd = "systemd"
)

// Listener says where to listen.
type Listener struct {
	// Network is [TCP], [Unix] or [Systemd].
	Network string
	// Address is host:port for TCP, the absolute path of a socket for Unix, and empty for Systemd: all
	// sockets that systemd hands over.
	Address string
}

// maxSocketPath is what Linux takes as the path of a socket, in bytes.
const maxSocketPath = 107

// String returns the listener as it is written in a configuration.
func (l Listener) String() string {
	switch l.Network {
	case Unix:
		return "unix:" + l.Address
	case Systemd:
		return Systemd
	}
	return l.Address
}

func parseListener(text string) (any, error) {
	if text == Systemd {
		return Listener{Network: Systemd}, nil
	}
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		// unix:///run/x.sock is what other programs call it, and means the same.
		path = strings.TrimPrefix(path, "//")
		switch {
		case !filepath.IsAbs(path):
			return nil, &flaw{quoted(text) + " is not an absolute path", "write for example unix:/run/bezoar/bezoar.sock"}
		case len(path) > maxSocketPath:
			return nil, &flaw{quoted(text) + " is too long for the path of a socket", "write at most " + strconv.Itoa(maxSocketPath) + " bytes"}
		}
		return Listener{Network: Unix, Address: filepath.Clean(path)}, nil
	}
	a, f := splitAddress(text)
	if f != nil {
		f.hint += ", unix:/path.sock or systemd"
		return nil, f
	}
	return Listener{Network: TCP, Address: string(a)}, nil
}

func parseAddress(text string) (any, error) {
	a, f := splitAddress(text)
	if f != nil {
		return nil, f
	}
	return a, nil
}

func splitAddress(text string) (Address, *flaw) {
	const hint = "write host:port, for example 127.0.0.1:8099"
	if strings.Contains(text, "://") {
		return "", &flaw{quoted(text) + " is a URL", hint}
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", &flaw{quoted(text) + " is not an address", hint}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", &flaw{quoted(text) + " has no port from 0 to 65535", hint}
	}
	if _, err := netip.ParseAddr(host); err != nil && !hostname(host) {
		return "", &flaw{quoted(text) + " has no valid host", hint}
	}
	return Address(net.JoinHostPort(host, strconv.FormatUint(n, 10))), nil
}

// hostname says whether all characters of host can be in the name of a host. It may be empty.
func hostname(host string) bool {
	return len(host) <= 253 && !strings.ContainsFunc(host, func(r rune) bool {
		return !alphanumeric(r) && r != '-' && r != '.' && r != '_'
	})
}

// anyPort says whether the address leaves the port to the system.
func anyPort(address string) bool { return strings.HasSuffix(address, ":0") }
