//go:build e2e

package soak_test

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// proxy is on the way to a storage server, and spoils it as it is told.
type proxy struct {
	*httptest.Server
	through *httputil.ReverseProxy
	trouble atomic.Pointer[trouble]
}

// trouble is how a part of all requests goes wrong, until it is over.
type trouble struct {
	of   float64
	over chan struct{}
	do   func(p *proxy, over <-chan struct{}, w http.ResponseWriter, r *http.Request)
}

func newProxy(t *testing.T, to string) *proxy {
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{through: &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }, // which is signed
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	p.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	p.Start()
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

func (p *proxy) serve(w http.ResponseWriter, r *http.Request) {
	if now := p.trouble.Load(); now != nil && rand.Float64() < now.of {
		now.do(p, now.over, w, r)
		return
	}
	p.through.ServeHTTP(w, r)
}

// fault returns trouble as a fault.
func (p *proxy) fault(name string, of float64, do func(*proxy, <-chan struct{}, http.ResponseWriter, *http.Request)) fault {
	return fault{name, func() func() {
		now := &trouble{of, make(chan struct{}), do}
		p.trouble.Store(now)
		return func() {
			p.trouble.Store(nil)
			close(now.over)
		}
	}}
}

func answer500(_ *proxy, _ <-chan struct{}, w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>`)
}

// reset ends the connection as a crash does, at once, or after all was done but the answer.
func reset(p *proxy, _ <-chan struct{}, w http.ResponseWriter, r *http.Request) {
	if rand.IntN(2) == 0 {
		p.through.ServeHTTP(httptest.NewRecorder(), r)
	}
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		conn.Close()
	}
}

// stall answers nothing.
func stall(p *proxy, over <-chan struct{}, w http.ResponseWriter, r *http.Request) {
	select {
	case <-over:
	case <-r.Context().Done():
	}
	reset(p, over, w, r)
}

// tear ends answers in the middle.
func tear(p *proxy, _ <-chan struct{}, w http.ResponseWriter, r *http.Request) {
	p.through.ServeHTTP(&torn{ResponseWriter: w, left: rand.IntN(20_000)}, r)
}

type torn struct {
	http.ResponseWriter
	left int
}

func (t *torn) Write(p []byte) (int, error) {
	n, err := t.ResponseWriter.Write(p[:min(len(p), t.left)])
	if t.left -= n; t.left == 0 {
		_ = http.NewResponseController(t.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}
