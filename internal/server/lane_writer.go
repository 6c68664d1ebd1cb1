package server

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// laneWriter writes the answer to a plain request: one that has a Content-Length, as all those of the handler have.
type laneWriter struct {
	conn    *laneConn
	body    *laneBody // of the request
	head    bool      // the request is a HEAD: the body is dropped
	header  http.Header
	buf     []byte  // the head, and what is sent with it, until that is done
	lent    *[]byte // what buf is of; nil between requests
	written bool    // the head was made
	status  int     // that is in it
	left    int64   // of the announced length
	end     bool    // the connection ends with this answer
	err     error
}

var (
	_ http.ResponseWriter = (*laneWriter)(nil)
	_ io.ReaderFrom       = (*laneWriter)(nil)
)

// together is the most that is copied to be sent with the head in one go.
const together = 64 << 10

// answers lends the room for an answer while it is made: a connection that rests holds none.
var answers = sync.Pool{New: func() any { return new([]byte) }}

func (w *laneWriter) reset(q *laneRequest) {
	header := w.header
	if header == nil {
		header = http.Header{}
	}
	clear(header)
	lent := answers.Get().(*[]byte)
	*w = laneWriter{conn: q.conn, body: &q.body, head: q.r.Method == http.MethodHead, end: q.r.Close, header: header, buf: (*lent)[:0], lent: lent}
}

// Header implements [http.ResponseWriter].
func (w *laneWriter) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *laneWriter) WriteHeader(status int) {
	if w.written {
		return
	}
	w.written, w.status = true, status
	var err error
	if w.left, err = strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err != nil {
		w.left, w.end = 0, true // a bug; the end of the connection ends the body
	}
	// Behind a body that was not read to its end, no request can be found.
	if w.header.Get("Connection") != "" || w.conn.lane.server.ending() || w.body.left > 0 {
		w.end = true
	}
	b := append(w.buf, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\nDate: "...)
	b = append(b, w.conn.lane.date.now()...)
	for name, values := range w.header {
		if name == "Connection" {
			continue
		}
		for _, v := range values {
			b = append(b, "\r\n"...)
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, oneLine(v)...)
		}
	}
	if w.end {
		b = append(b, "\r\nConnection: close"...)
	}
	w.buf = append(b, "\r\n\r\n"...)
}

// oneLine keeps a value from ending its line.
func oneLine(v string) string {
	if strings.ContainsAny(v, "\r\n") {
		return strings.NewReplacer("\r", " ", "\n", " ").Replace(v)
	}
	return v
}

// Write implements [io.Writer].
func (w *laneWriter) Write(p []byte) (int, error) {
	if !w.written {
		w.WriteHeader(http.StatusOK)
	}
	if w.head {
		return len(p), nil
	}
	if int64(len(p)) > w.left {
		return 0, http.ErrContentLength
	}
	w.left -= int64(len(p))
	if w.err == nil && len(w.buf)+len(p) <= together {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if w.flush(); w.err != nil {
		return 0, w.err
	}
	n, err := w.conn.Write(p)
	w.err = err
	return n, err
}

// ReadFrom hands the connection below a file, so that the kernel moves its bytes.
func (w *laneWriter) ReadFrom(r io.Reader) (int64, error) {
	if !w.written {
		w.WriteHeader(http.StatusOK)
	}
	size, ok := sizeOfFile(r)
	if !ok || w.head || size > w.left {
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	if len(w.buf) > 0 && w.err == nil {
		_, w.err = w.conn.writeMore(w.buf)
		w.buf = w.buf[:0]
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.conn.ReadFrom(r)
	w.left -= n
	w.err = err
	return n, err
}

// sizeOfFile is how many bytes of a file r has, if it is a part of one.
func sizeOfFile(r io.Reader) (int64, bool) {
	switch part := r.(type) {
	case *io.LimitedReader:
		return part.N, true
	case *cache.FileRange:
		return part.N, true
	}
	return 0, false
}

// SetReadDeadline is what [http.ResponseController] calls.
func (w *laneWriter) SetReadDeadline(deadline time.Time) error {
	return w.conn.SetReadDeadline(deadline)
}

func (w *laneWriter) flush() {
	if len(w.buf) == 0 || w.err != nil {
		return
	}
	_, w.err = w.conn.Write(w.buf)
	w.buf = w.buf[:0]
}

// finish sends what is left. It returns whether the connection may go on.
func (w *laneWriter) finish() bool {
	if !w.written {
		w.header.Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
	}
	w.flush()
	*w.lent = w.buf
	answers.Put(w.lent)
	w.buf, w.lent = nil, nil
	return w.err == nil && !w.end && (w.head || w.left == 0)
}

// date is the value of the header of that name. It is made once a second.
type date struct{ last atomic.Pointer[dateText] }

type dateText struct {
	second int64
	text   string
}

func (d *date) now() string {
	now := time.Now()
	if last := d.last.Load(); last != nil && last.second == now.Unix() {
		return last.text
	}
	next := &dateText{now.Unix(), now.UTC().Format(http.TimeFormat)}
	d.last.Store(next)
	return next.text
}
