package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// serveArtifact answers a request for an artifact, logs it and counts it.
func (s *Server) serveArtifact(w http.ResponseWriter, r *http.Request, t target) {
	// What is under a hash depends on who asks. A cache in between that keeps answers by path would hand a pull request's to main.
	w.Header().Set("Cache-Control", "no-store")
	switch r.Method {
	case http.MethodPut:
	case http.MethodGet, http.MethodHead:
		s.dropBody(w, r)
	default:
		s.dropBody(w, r)
		w.Header().Set("Allow", "GET, HEAD, PUT")
		writeText(w, http.StatusMethodNotAllowed, "an artifact can be read (GET, HEAD) and uploaded (PUT), nothing else")
		return
	}
	s.running.begin()
	defer s.running.end()
	r, span := s.startSpan(r)
	x := &exchange{server: s, w: w, r: r, started: time.Now(), target: t, span: span}
	done := s.metrics.begin(r.Method)
	defer func() {
		if p := recover(); p != nil {
			x.fail(p)
		}
		done(x)
		x.log()
		x.audit()
		x.endSpan()
		if x.aborted {
			panic(http.ErrAbortHandler) // net/http's way to break a connection
		}
	}()
	x.serve()
}

// exchange is one request for an artifact and what becomes of it.
type exchange struct {
	server  *Server
	w       http.ResponseWriter
	r       *http.Request
	started time.Time
	target  target
	span    trace.Span // nil without one

	// Known as the request is worked on:
	workspace cache.Workspace
	scope     cache.Scope
	hash      cache.Hash
	producer  cache.Producer // whose credential it is, as far as it is authentic
	body      *body          // of an upload that was let in
	bytes     int64          // of the artifact that moved
	outcome   outcome
	err       error // what the outcome comes from
	answered  bool
	aborted   bool // the answer broke off: the connection must not look healthy
}

func (x *exchange) serve() {
	if x.server.crowd.beyond(x.r.Context()) {
		x.w.Header().Set("Connection", "close")
	}
	hash, err := cache.ParseHash(x.target.hash)
	if err != nil {
		x.answer(errBadName)
		return
	}
	x.hash = hash
	if x.server.opts.Auth.Open() && !isOwnHost(x.r) {
		x.answer(errForeignHost)
		return
	}
	named := x.target.workspace(x.server.opts.Auth.Known)
	grant, err := x.server.opts.Auth.Grant(x.r.Context(), authorization(x.r), named)
	if err != nil {
		x.workspace, x.producer = named, denied(err)
		x.answer(err)
		return
	}
	x.workspace, x.producer = grant.Workspace, grant.Producer
	if x.server.crowd.beyond(x.r.Context()) && grant.Write != cache.Trusted {
		x.answer(errTooManyConnections)
		return
	}
	if x.r.Method == http.MethodPut {
		x.put(grant)
	} else {
		x.get(grant)
	}
}

// authorization is the value of the Authorization header. Several are one list (RFC 9110, section 5.3), which is no credential: a proxy
// may look at another of them than we would.
func authorization(r *http.Request) string { return strings.Join(r.Header["Authorization"], ", ") }

func (x *exchange) get(grant cache.Grant) {
	release, err := acquire(x.r.Context(), x.server.opts.Downloads, grant)
	if err != nil {
		x.answer(err)
		return
	}
	defer release()
	obj, err := x.server.opts.Cache.Get(x.r.Context(), grant, x.hash)
	if err != nil {
		x.answer(err)
		return
	}
	defer obj.Close()
	x.scope = obj.Key.Scope
	x.outcome = outcomeOf(x.r.Context(), x.r.Method, nil)
	if obj.URL != "" && x.r.Method == http.MethodGet {
		x.redirect(obj.URL)
		return
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(obj.Record.Size, 10))
	h.Set("X-Content-Type-Options", "nosniff")
	x.answered = true
	if x.r.Method == http.MethodHead {
		x.w.WriteHeader(http.StatusOK)
		return
	}
	// The length is announced and nothing wraps the writer, so the kernel can move the bytes of a plain file by itself.
	stop := func() {}
	if !obj.InMemory {
		stop = whileItMoves(x.r.Context(), func(after time.Duration) {
			x.server.opts.Log.Error("a download is cut off: what it reads hangs, in the operating system", "hash", x.hash, "scope", x.scope, "after", after)
		})
	}
	x.bytes, err = io.Copy(x.w, obj.Body)
	stop()
	if err == nil && x.bytes != obj.Record.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		// The status is out. All that is left is to break the connection, so that the client cannot take a part for the whole.
		x.err, x.aborted = err, true
		x.outcome.result, x.outcome.cause = resultError, brokenBy(x.r.Context(), err)
	}
}

// redirect sends the client to where the body is. The URL is a credential for a while: it is in no log. Every release of Nx follows
// a 307, and leaves its own credential behind when the host is another.
func (x *exchange) redirect(url string) {
	x.outcome.status = http.StatusTemporaryRedirect
	x.answered = true
	x.w.Header().Set("Location", url)
	x.w.Header().Set("Content-Length", "0")
	x.w.WriteHeader(x.outcome.status)
}

// brokenBy tells the causes apart that break off an answer: the client's leaving, its stalling, and trouble of ours.
func brokenBy(ctx context.Context, err error) string {
	_, network := errors.AsType[*net.OpError](err)
	switch {
	case network && errors.Is(err, os.ErrDeadlineExceeded):
		return causeClientStalled
	case network || ctx.Err() != nil:
		return causeClientGone
	}
	return "broken_off"
}

func (x *exchange) put(grant cache.Grant) {
	x.scope = grant.Write
	if grant.Write == "" && grant.Producer.Kind == trust.ProducerAnonymous {
		x.answer(errAnonymous)
		return
	}
	// net/http says -1 for a chunked body, and 0 also where there was no length at all.
	if n := x.r.ContentLength; n < 0 || n == 0 && x.r.Header.Get("Content-Length") == "" {
		// Whoever sends it another length than we read could go on with a request of his own (RFC 9112, section 6.1).
		x.w.Header().Set("Connection", "close")
		x.answer(errLengthRequired)
		return
	}
	release, err := acquire(x.r.Context(), x.server.opts.Uploads, grant)
	if err != nil {
		x.answer(err)
		return
	}
	defer release()
	x.body = newBody(x)
	entry, err := x.server.opts.Cache.Put(x.r.Context(), grant, cache.Upload{
		Hash: x.hash, Size: x.r.ContentLength, Body: x.body,
		Valid: func() error {
			return x.server.opts.Auth.Valid(x.r.Context(), authorization(x.r), x.target.workspace(x.server.opts.Auth.Known), grant)
		},
	})
	x.bytes = x.body.read
	if err != nil {
		x.answer(err)
		return
	}
	x.bytes = entry.Record.Size
	if x.server.opts.Audit != nil {
		x.server.opts.Audit.Stored(entry)
	}
	x.answer(nil)
}

// answer ends a request that sends no artifact. An upload is drained first: proxies and clients that are still sending
// would see a reset instead of the answer, and try again, body and all.
func (x *exchange) answer(err error) {
	x.err = err
	x.outcome = outcomeOf(x.r.Context(), x.r.Method, err)
	if x.outcome.ill && x.server.opts.Strict {
		x.outcome.status = http.StatusServiceUnavailable
	}
	if x.outcome.cause != "" { // a true miss has none
		x.w.Header().Set(causeHeader, x.outcome.cause)
	}
	if x.r.Method == http.MethodPut && err != nil {
		x.drain()
	}
	x.answered = true
	if x.outcome.status == http.StatusUnauthorized {
		x.w.Header().Set("WWW-Authenticate", `Bearer realm="bezoar"`)
	}
	writeText(x.w, x.outcome.status, x.outcome.text)
}

// fail turns a panic into an answer: a bug of ours breaks no build either.
func (x *exchange) fail(p any) {
	err := &panicError{p}
	x.server.opts.Log.Error("a request panicked; please report this", "panic", p, "stack", err.stack())
	if x.answered {
		x.err, x.aborted = err, true
		x.outcome = outcomeOf(x.r.Context(), x.r.Method, err)
		return
	}
	x.answer(err)
}

// writeText answers with one line of text. Nx shows the text of a 401 only if Content-Type is exactly text/plain.
func writeText(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain")
	h.Set("X-Content-Type-Options", "nosniff")
	if text != "" {
		text += "\n"
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	io.WriteString(w, text)
}
