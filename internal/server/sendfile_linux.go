package server

import (
	"errors"
	"net"
	"os"
	"runtime"
	"syscall"
)

const hasSendRange = true

// sendRange lets the kernel move n bytes of a file, from off on, to a connection. It sends fewer if the file has no more.
func sendRange(to syscall.RawConn, f *os.File, off, n int64) (sent int64, err error) {
	from := int(f.Fd())
	defer runtime.KeepAlive(f)
	waited := to.Write(func(fd uintptr) bool {
		for sent < n {
			var k int
			k, err = syscall.Sendfile(int(fd), from, &off, int(n-sent))
			if k > 0 {
				sent += int64(k)
			}
			switch {
			case errors.Is(err, syscall.EINTR):
				continue
			case errors.Is(err, syscall.EAGAIN):
				err = nil
				return false
			case err != nil || k == 0:
				return true
			}
		}
		return true
	})
	return sent, errors.Join(waited, ofPeer("sendfile", err))
}

// sendMore sends bytes that are to travel together with those that come next.
func sendMore(to syscall.RawConn, p []byte) (sent int, err error) {
	waited := to.Write(func(fd uintptr) bool {
		for sent < len(p) {
			var n int
			n, err = syscall.SendmsgN(int(fd), p[sent:], nil, nil, syscall.MSG_MORE|syscall.MSG_NOSIGNAL)
			sent += max(n, 0)
			switch {
			case errors.Is(err, syscall.EINTR):
				continue
			case errors.Is(err, syscall.EAGAIN):
				err = nil
				return false
			case err != nil:
				return true
			}
		}
		return true
	})
	return sent, errors.Join(waited, ofPeer("send", err))
}

// ofPeer makes those errors of the network that are of the connection, as the net package does: others are of the file.
func ofPeer(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EOVERFLOW), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOMEM):
		return os.NewSyscallError(op, err)
	}
	return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, err)}
}
