package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

// body is the body of an upload under a deadline that measures progress: each byte that arrives earns
// the next StallTimeout.
type body struct {
	x        *exchange
	deadline time.Time
	control  *http.ResponseController
	read     int64
	err      error // how reading ended: io.EOF, or trouble with the client
}

func newBody(x *exchange) *body {
	return &body{x: x, control: http.NewResponseController(x.w)}
}

func (b *body) Read(p []byte) (int, error) {
	b.extend(time.Now(), b.x.server.opts.StallTimeout)
	n, err := b.x.r.Body.Read(p)
	b.read += int64(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: %w", errStalled, err)
	}
	if err != nil {
		b.err = err
		// net/http goes on reading, to notice when the client leaves. Under our deadline it would
		// take a slow commit for a client that left.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// extend moves the deadline, but not for each of many small reads.
func (b *body) extend(now time.Time, stall time.Duration) {
	if stall <= 0 || b.deadline.Sub(now) > stall*3/4 {
		return
	}
	b.deadline = now.Add(stall)
	_ = b.control.SetReadDeadline(b.deadline) // not supported by a test's recorder, which does not stall
}

// drain reads what is left of an upload that is refused, within bounds. Beyond them the connection ends
// after the answer, by net/http's own care.
func (x *exchange) drain() {
	var read int64
	if x.body != nil {
		if errors.Is(x.body.err, io.EOF) {
			return
		}
		if x.body.err != nil {
			x.w.Header().Set("Connection", "close") // it broke or stalled: no more is to be had
			return
		}
		read = x.body.read
	}
	if read == 0 && strings.EqualFold(x.r.Header.Get("Expect"), "100-continue") {
		return // the client waits for our word before it sends
	}
	opts := &x.server.opts
	control := http.NewResponseController(x.w)
	started := time.Now()
	_ = control.SetReadDeadline(started.Add(opts.DrainTimeout))
	_, err := io.CopyN(io.Discard, x.r.Body, opts.DrainLimit)
	_ = control.SetReadDeadline(time.Time{})
	if !errors.Is(err, io.EOF) {
		x.w.Header().Set("Connection", "close")
	}
}

// panicError is the error of a request whose handler panicked.
type panicError struct{ value any }

func (e *panicError) Error() string { return "the server panicked" }

func (e *panicError) stack() string { return string(debug.Stack()) }
