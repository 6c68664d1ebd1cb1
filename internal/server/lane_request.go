package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
)

// laneRequest is the request that is being answered. All that it holds is used again for the next one of the connection.
type laneRequest struct {
	conn    *laneConn
	r       *http.Request
	headers []byte // what r.Header and r.Host were made of
	others  []byte // of an upload, its headers without its length
	known   bool   // the headers are among those that the lane keeps
	target  target
	body    laneBody
	next    []byte // what came behind the request
	writer  laneWriter
}

// parse makes a request of what was read. It returns false for one that is not plain.
func (q *laneRequest) parse(read []byte) bool {
	method, path, headers, rest, ok := cutRequest(read)
	if !ok {
		return false
	}
	var length int64
	if method == http.MethodPut {
		if length, q.others, ok = cutLength(headers, q.others[:0]); !ok {
			return false
		}
		headers = q.others
	}
	if q.r == nil || !bytes.Equal(headers, q.headers) {
		if !q.read(headers) {
			return false
		}
	}
	if q.target, ok = parseTarget(path); !ok {
		return false
	}
	q.r.Method = method
	q.r.URL.Path = path
	q.r.RequestURI = path
	ahead := min(int64(len(rest)), length)
	q.body = laneBody{conn: q.conn, ahead: rest[:ahead], left: length}
	q.next = rest[ahead:]
	return true
}

// read takes over the headers, if they are plain.
func (q *laneRequest) read(headers []byte) bool {
	head := q.conn.lane.heads.get(headers)
	if q.known = head != nil; !q.known {
		if head = readHead(headers); head == nil {
			return false
		}
	}
	if q.r == nil {
		r := &http.Request{
			URL: &url.URL{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, RemoteAddr: q.conn.RemoteAddr().String(),
		}
		q.r = r.WithContext(context.WithValue(q.conn.base(), http.LocalAddrContextKey, q.conn.LocalAddr()))
	}
	q.r.Header, q.r.Host, q.r.Close = head.header, head.host, head.close
	q.headers = append(q.headers[:0], headers...)
	return true
}

// keepHead has the headers kept for other connections: the request was answered well.
func (q *laneRequest) keepHead() {
	if !q.known {
		q.conn.lane.heads.add(q.headers, &head{q.r.Header, q.r.Host, q.r.Close})
		q.known = true
	}
}

// laneBody is the body of an upload: exactly as many bytes as were announced.
type laneBody struct {
	conn  *laneConn
	ahead []byte // what was read with the head
	left  int64  // bytes that were not taken yet, with those of ahead
	err   error
}

// Read implements [io.Reader]. The end comes with the last byte.
func (b *laneBody) Read(p []byte) (n int, err error) {
	switch {
	case b.left == 0:
		return 0, io.EOF
	case b.err != nil:
		return 0, b.err
	case len(b.ahead) > 0:
		n = copy(p, b.ahead)
		b.ahead = b.ahead[n:]
	default:
		n, err = b.conn.Conn.Read(p[:min(int64(len(p)), b.left)])
	}
	b.left -= int64(n)
	switch {
	case b.left == 0:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	b.err = err
	return n, err
}

// Close implements [io.Closer].
func (b *laneBody) Close() error { return nil }
