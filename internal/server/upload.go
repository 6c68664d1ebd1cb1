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

// body is the body of an upload under a deadline that measures progress: what MinRate asks of a StallTimeout earns
// the next one.
type body struct {
	x        *exchange
	deadline time.Time
	control  *http.ResponseController
	read     int64
	earned   int64 // of read, when the deadline was set
	err      error // how reading ended: io.EOF, or trouble with the client
}

func newBody(x *exchange) *body {
	return &body{x: x, control: http.NewResponseController(x.w)}
}

func (b *body) Read(p []byte) (int, error) {
	b.extend(time.Now(), b.x.server.opts.StallTimeout, b.x.server.opts.MinRate)
	n, err := b.x.r.Body.Read(p)
	b.read += int64(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: %w", errStalled, err)
	}
	if err != nil {
		b.err = err
	}
	if errors.Is(err, io.EOF) {
		// net/http goes on reading, to notice when the client leaves. Under our deadline it would
		// take a slow commit for a client that left.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// extend moves the deadline, but not for each of many small reads, and not for a client who drips.
func (b *body) extend(now time.Time, stall time.Duration, rate int64) {
	if stall <= 0 || b.deadline.Sub(now) > stall*3/4 || !b.deadline.IsZero() && b.read-b.earned < due(rate, stall) {
		return
	}
	b.deadline, b.earned = now.Add(stall), b.read
	_ = b.control.SetReadDeadline(b.deadline) // not supported by a test's recorder, which does not stall
}

// drain reads what is left of an upload that is refused, within bounds.
func (x *exchange) drain() {
	var read int64
	if x.body != nil {
		if errors.Is(x.body.err, io.EOF) {
			return
		}
		if x.body.err != nil { // it broke or stalled: no more is to be had
			closeBy(x.w, time.Now())
			return
		}
		read = x.body.read
	}
	if read == 0 && strings.EqualFold(x.r.Header.Get("Expect"), "100-continue") {
		// The client waits for our word before it sends. One that is tired of waiting sends all the same.
		closeBy(x.w, time.Now().Add(x.server.opts.StallTimeout))
		return
	}
	x.server.readRest(x.w, x.r.Body, x.server.opts.DrainLimit)
}

// maxStray is what is read of a body that has no business in its request, such as that of a GET. It is as much as
// net/http would read by itself, but without a deadline.
const maxStray = 256 << 10

// dropBody reads the body of a request that should have none.
func (s *Server) dropBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		s.readRest(w, r.Body, maxStray)
	}
}

// readRest reads the rest of a body: as much as the limit, as long as the drain timeout, and only while it moves. Beyond them the
// connection ends after the answer. A large upload over a slow line is no reason to cut a client off.
func (s *Server) readRest(w http.ResponseWriter, r io.Reader, limit int64) {
	rest := &restReader{r: r, control: http.NewResponseController(w), stall: s.opts.StallTimeout, end: time.Now().Add(s.opts.DrainTimeout)}
	if _, err := io.CopyN(io.Discard, rest, limit); !errors.Is(err, io.EOF) {
		closeBy(w, time.Now())
		return
	}
	_ = rest.control.SetReadDeadline(time.Time{})
}

// restReader gives each read of a body that nobody wants its deadline.
type restReader struct {
	r       io.Reader
	control *http.ResponseController
	stall   time.Duration
	end     time.Time
}

func (r *restReader) Read(p []byte) (int, error) {
	deadline := r.end
	if r.stall > 0 {
		if next := time.Now().Add(r.stall); next.Before(deadline) {
			deadline = next
		}
	}
	_ = r.control.SetReadDeadline(deadline) // not supported by a test's recorder, which does not stall
	return r.r.Read(p)
}

// closeBy ends the connection after the answer. Behind that, net/http reads on in a body that has not ended, and would
// wait for a client that sends no more as long as that likes.
func closeBy(w http.ResponseWriter, deadline time.Time) {
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(deadline)
}

// panicError is the error of a request whose handler panicked.
type panicError struct{ value any }

func (e *panicError) Error() string { return "the server panicked" }

func (e *panicError) stack() string { return string(debug.Stack()) }
