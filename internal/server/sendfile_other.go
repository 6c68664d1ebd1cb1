//go:build !linux

package server

import (
	"errors"
	"os"
	"syscall"
)

// Only Linux is asked to send a part of a file by its offset; elsewhere its bytes are read and written.

const hasSendRange = false

func sendRange(syscall.RawConn, *os.File, int64, int64) (int64, error) {
	return 0, errors.ErrUnsupported
}

func sendMore(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }
