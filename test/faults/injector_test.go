//go:build faults || e2e

package faults_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ill is a way in which a bucket answers.
type ill string

// The ways. A status, such as "503", is one as well.
const (
	well    ill = ""
	garbage ill = "garbage" // 200 with a page of something else; in the middle of a body, other bytes than it has
	half    ill = "half"    // half of a body, then the end of the connection; an upload is taken, and its answer is lost
	resets  ill = "reset"   // the connection is reset
	stalls  ill = "stall"   // nothing more comes, and the connection stays
	slow    ill = "slow"    // 100 bytes now and then
)

// illness is one, for a time.
type illness struct {
	kind ill
	left atomic.Int64 // requests that it still lasts for
}

// injector lies in front of a bucket, passes requests on, and answers in its place when it is told to.
type injector struct {
	trigger
	addr   string
	proxy  *httputil.ReverseProxy
	target *url.URL

	mu        sync.Mutex
	now       *illness
	recovered chan struct{} // closed when it is well again
	felt      atomic.Int64
}

func newInjector(tb testing.TB, endpoint string) *injector {
	tb.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		tb.Fatal(err)
	}
	in := &injector{target: target, recovered: make(chan struct{})}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32}
	tb.Cleanup(transport.CloseIdleConnections)
	in.proxy = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is part of what is signed
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			sick, _ := in.state()
			switch {
			case sick == nil || sick.kind == stalls || sick.kind == half:
				panic(http.ErrAbortHandler)
			case sick.kind == resets:
				in.cut(w)
			}
			refuse(w, r, string(sick.kind))
		},
	}
	server := httptest.NewUnstartedServer(in)
	server.Config.ErrorLog = nil
	server.Start()
	in.addr = server.Listener.Addr().String()
	tb.Cleanup(func() {
		in.mend()
		server.CloseClientConnections()
		server.Close()
	})
	return in
}

// fall makes the bucket ill, for so many requests; 0: until it is mended.
func (in *injector) fall(kind ill, requests int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.now = &illness{kind: kind}
	if requests == 0 {
		requests = 1 << 40
	}
	in.now.left.Store(requests)
}

// mend makes it well again, and lets go what stalls.
func (in *injector) mend() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.now = nil
	close(in.recovered)
	in.recovered = make(chan struct{})
}

func (in *injector) state() (*illness, <-chan struct{}) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.now, in.recovered
}

// entry reports whether a request is about an entry, and not about what else a server keeps in a bucket.
func entry(r *http.Request) bool { return strings.Contains(r.URL.Path, "/entries/") }

func (in *injector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if entry(r) && r.Method == http.MethodGet {
		in.come(beforeHit)
	}
	sick, _ := in.state()
	if sick != nil && sick.left.Add(-1) >= 0 {
		in.felt.Add(1)
		if in.instead(sick.kind, w, r) {
			return
		}
	}
	body := &upload{in: in, inner: r.Body, length: r.ContentLength, w: w, large: entry(r) && r.Method == http.MethodPut && r.ContentLength > largeBody}
	r.Body = body
	in.proxy.ServeHTTP(&answer{ResponseWriter: w, in: in, request: r}, r)
}

// instead answers in place of the bucket, if that is how it is ill.
func (in *injector) instead(kind ill, w http.ResponseWriter, r *http.Request) bool {
	switch kind {
	case resets:
		in.cut(w)
	case stalls:
		in.hold(r)
		panic(http.ErrAbortHandler)
	case garbage:
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><title>Sign in to the guest network</title></html>")
	case half, slow, well:
		return false
	default: // a status
		_, _ = io.Copy(io.Discard, r.Body)
		refuse(w, r, string(kind))
	}
	return true
}

func refuse(w http.ResponseWriter, r *http.Request, status string) {
	code, err := strconv.Atoi(status)
	if err != nil {
		panic(http.ErrAbortHandler) // no status, another illness
	}
	name := map[string]string{"500": "InternalError", "503": "SlowDown", "403": "AccessDenied", "404": "NoSuchBucket"}[status]
	text := fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>injected</Message></Error>`, name)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, text)
	}
}

// cut ends the connection with a reset.
func (in *injector) cut(w http.ResponseWriter) {
	for {
		if inner, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
			w = inner.Unwrap()
			continue
		}
		break
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	reset(conn)
	panic(http.ErrAbortHandler)
}

// hold waits until the bucket is well, or the server has given up.
func (in *injector) hold(r *http.Request) {
	_, recovered := in.state()
	select {
	case <-recovered:
	case <-r.Context().Done():
	}
}

// trickle is how slow a bucket is that is slow: a hundred bytes in 200 ms.
const trickle = 200 * time.Millisecond

// upload is the body of a request on its way to the bucket.
type upload struct {
	in     *injector
	inner  io.ReadCloser
	w      http.ResponseWriter
	length int64
	read   int64
	large  bool
}

var errCut = errors.New("cut by the injector")

func (u *upload) Read(p []byte) (int, error) {
	if len(p) > chunk {
		p = p[:chunk]
	}
	if u.large && u.read > u.length/2 {
		u.in.come(midUpload)
	}
	if u.length > 0 {
		sick, recovered := u.in.state()
		if sick != nil {
			switch sick.kind {
			case slow:
				p = p[:min(len(p), 100)]
				select {
				case <-recovered:
				case <-time.After(trickle):
				}
			case well, half, garbage:
			case stalls:
				select {
				case <-recovered:
				case <-time.After(time.Minute):
				}
				return 0, errCut
			default:
				u.in.felt.Add(1)
				return 0, errCut // the request is given up; what answers that ends the connection
			}
		}
	}
	n, err := u.inner.Read(p)
	u.read += int64(n)
	return n, err
}

func (u *upload) Close() error { return u.inner.Close() }

// answer is the bucket's, on its way to the server.
type answer struct {
	http.ResponseWriter
	in      *injector
	request *http.Request
	status  int
	length  int64
	written int64
	by      *illness // that it met
	spared  bool
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if status < http.StatusOK { // 100 Continue, told by another goroutine
		a.ResponseWriter.WriteHeader(status)
		return
	}
	sick, _ := a.in.state()
	if sick != nil && sick.kind == half && a.request.Method != http.MethodGet && entry(a.request) {
		a.in.felt.Add(1)
		panic(http.ErrAbortHandler) // done, and nobody hears of it
	}
	a.status = status
	_, _ = fmt.Sscan(a.Header().Get("Content-Length"), &a.length)
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		n, err := a.write(p[:min(len(p), chunk)])
		total += n
		if err != nil {
			return total, err
		}
		p = p[n:]
	}
	return total, nil
}

func (a *answer) write(p []byte) (int, error) {
	body := a.request.Method == http.MethodGet && entry(a.request) && a.status/100 == 2
	if body && a.length > largeBody && a.written > a.length/2 {
		a.flush()
		a.in.come(midBody)
	}
	sick, recovered := a.in.state()
	if body && sick != nil && a.struck(sick) {
		a.in.felt.Add(1)
		switch sick.kind {
		case well:
		case slow:
			p = p[:min(len(p), 100)]
			a.flush()
			select {
			case <-recovered:
			case <-a.request.Context().Done():
			case <-time.After(trickle):
			}
		case garbage:
			p = bytes.Repeat([]byte("garbage "), len(p)/8+1)[:len(p)]
		case stalls:
			a.flush()
			a.in.hold(a.request)
			panic(http.ErrAbortHandler)
		case resets:
			a.flush()
			a.in.cut(a.ResponseWriter)
		default:
			if a.written >= a.length/2 {
				a.flush()
				panic(http.ErrAbortHandler)
			}
			p = p[:min(int64(len(p)), max(1, a.length/2-a.written))]
		}
	}
	n, err := a.ResponseWriter.Write(p)
	a.written += int64(n)
	return n, err
}

// struck counts a body among the requests that an illness lasts for, and reports whether it is one of them.
func (a *answer) struck(by *illness) bool {
	if a.by != by {
		a.by, a.spared = by, by.left.Add(-1) < 0
	}
	return !a.spared
}

func (a *answer) flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }

// freeListener is a socket of its own, which outlives the servers on it.
func freeListener(tb testing.TB) *net.TCPListener {
	tb.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}
