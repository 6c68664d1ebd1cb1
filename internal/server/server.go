// Package server speaks HTTP: the Nx API, health and metrics.
package server

import (
	"context"
	"crypto/tls"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/bezoar-cache/bezoar/internal/admit"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// maxHeaderBytes bounds a request's line and headers. A session token is the longest that is sent in earnest.
const maxHeaderBytes = 32 << 10

// Authenticator says what a request's credential allows. See [trust.Authenticator].
type Authenticator interface {
	// Grant judges the value of the Authorization header for the workspace that the path names, or "" if it names none.
	Grant(ctx context.Context, authorization string, named cache.Workspace) (cache.Grant, error)
	// Valid judges again what Grant was asked, and says whether the same workspace and scope to write would still be granted.
	Valid(ctx context.Context, authorization string, named cache.Workspace, grant cache.Grant) error
	// Exchange gives a session for a CI's identity token, by itself and not in a header. A ttl of 0 is the default.
	Exchange(ctx context.Context, credential string, named cache.Workspace, ttl time.Duration) (trust.Issued, error)
	// Known reports whether there is a workspace of that name.
	Known(cache.Workspace) bool
	// Open reports whether anyone may do anything, because no token was ever made.
	Open() bool
}

// Options configure a [Server].
type Options struct {
	Cache    *cache.Cache
	Auth     Authenticator
	Log      *slog.Logger
	Registry *prometheus.Registry
	// Audit is told of what has to be on record. Nil: nobody is.
	Audit Auditor
	// API answers what is below /api/v1, but for artifacts and sessions, whose paths may have anything before them. Nil: nothing is there.
	API http.Handler
	// Tracer makes a span of each request for an artifact or a session. Nil: none.
	Tracer trace.Tracer
	// Audience is what identity tokens must be made for, and the only target that a request for a session may name. Nil or "": none may
	// be named.
	Audience func() string
	// Causes are the parts that can be in trouble, each with what is wrong in one line, or "". They are told at /readyz?verbose. Nil: none.
	Causes iter.Seq2[string, string]
	// MetricsToken, if set, is asked for as a bearer token at /metrics, by profiles, and for what /readyz?verbose tells.
	MetricsToken string
	// ServeMetrics puts /metrics beside the API. Without it, it is on the other listener alone; see [Server.Telemetry].
	ServeMetrics bool

	// Strict answers 503 where the cache itself is ill, which fails a build, in place of the miss or the refusal that does not.
	Strict bool

	// MaxConnections bounds the connections of clients. Beyond it, as many as a quarter more are taken, on which only trusted requests are served, and
	// others answered at once; then none until one ends. Zero: no bound.
	MaxConnections int
	// Uploads and Downloads bound what is done at once. Nil: no bound.
	Uploads, Downloads *admit.Slots

	// HeaderTimeout bounds the time for a request's headers, from its first byte on.
	HeaderTimeout time.Duration
	// IdleTimeout bounds the time that a connection may rest between requests.
	IdleTimeout time.Duration
	// StallTimeout bounds the time in which at least a byte of a body has to move, in either direction.
	StallTimeout time.Duration
	// MinRate is how many bytes of a body have to move per second, on average over a StallTimeout. Zero: one byte in it will do.
	MinRate int64
	// DrainTimeout and DrainLimit bound what is read of a refused upload before it is answered, as long as it does not stall.
	DrainTimeout time.Duration
	DrainLimit   int64
}

// Server answers requests. It is ready until [Server.Shutdown] begins.
type Server struct {
	opts     Options
	metrics  *metrics
	api      *http.Server
	stopping atomic.Bool
	running  flights // requests for artifacts and sessions, and to the API
	crowd    *crowd
	lane     lane
}

// cutGrace bounds how long requests whose connections were cut may take to clean up.
const cutGrace = 5 * time.Second

// flights counts what is under way. More may come while somebody waits, which a [sync.WaitGroup] does not allow.
type flights struct{ n atomic.Int64 }

// flightPoll is how often somebody who waits for the end of all looks, as net/http does.
const flightPoll = 10 * time.Millisecond

func (f *flights) begin() { f.n.Add(1) }
func (f *flights) end()   { f.n.Add(-1) }

// wait returns when nothing is under way, or the error of ctx.
func (f *flights) wait(ctx context.Context) error {
	for f.n.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(flightPoll):
		}
	}
	return nil
}

// New makes a Server; call [Server.Serve] with each listener.
func New(opts Options) *Server {
	s := &Server{opts: opts, metrics: newMetrics(opts.Registry), crowd: newCrowd(opts.MaxConnections)}
	s.registerBounds(opts.Registry)
	s.api = s.httpServer(s.Handler())
	s.api.ConnContext, s.api.ConnState = s.lane.connContext, s.crowd.connState
	s.lane = lane{server: s, conns: map[*laneConn]struct{}{}}
	return s
}

// Handler is the whole of what the main listener serves.
func (s *Server) Handler() http.Handler {
	telemetry := s.telemetry(s.opts.ServeMetrics)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A proxy in front may have gone by a Content-Length beside it, which net/http drops: then what follows is no request of its own
		// (RFC 9112, section 6.1).
		if len(r.TransferEncoding) > 0 || s.ending() {
			w.Header().Set("Connection", "close")
		}
		// No ServeMux stands before the API: it would redirect doubled slashes.
		if t, ok := parseTarget(r.URL.EscapedPath()); ok {
			s.serveArtifact(w, r, t)
			return
		}
		if t, ok := parseSessionTarget(r.URL.EscapedPath()); ok {
			s.serveSession(w, r, t)
			return
		}
		if s.opts.API != nil && isAPI(r) {
			s.running.begin()
			defer s.running.end()
			s.opts.API.ServeHTTP(w, r)
			return
		}
		telemetry.ServeHTTP(w, r)
	})
}

// ending reports whether connections end with their next answers.
func (s *Server) ending() bool { return s.stopping.Load() || s.crowd.full() }

// isAPI reports whether a request is one to the API of operators. An upload never is: to a build whose address ends in /api it is an upload like any other.
func isAPI(r *http.Request) bool {
	return r.Method != http.MethodPut && strings.HasPrefix(r.URL.EscapedPath(), "/api/v1/")
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	// Nx speaks HTTP/1.1 only, and over one protocol there is one set of limits to get right.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           h,
		Protocols:         &protocols,
		ReadHeaderTimeout: s.opts.HeaderTimeout,
		IdleTimeout:       s.opts.IdleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug),
	}
}

// Serve answers the connections of l until [Server.Shutdown], after which it returns [http.ErrServerClosed]. It closes l. With
// a tlsConfig it speaks TLS.
func (s *Server) Serve(l net.Listener, tlsConfig *tls.Config) error {
	l = &stallListener{Listener: s.crowd.over(l), timeout: s.opts.StallTimeout, rate: s.opts.MinRate, log: s.opts.Log}
	if tlsConfig != nil {
		l = tls.NewListener(l, tlsConfig)
	}
	return s.api.Serve(s.lane.over(l))
}

// restGrace is how long connections that rest stay open when the server ends. Clients may have sent requests on them that have not arrived; who is
// answered from then on is told that his connection ends.
const restGrace = time.Second

// Shutdown makes /readyz fail and, after the delay, in which balancers may notice, closes the listeners. While there are connections, the delay is a second
// at least, for requests that are on their way. The end of ctx ends the delay. Running requests then have the timeout to end in; what still runs after it is cut off, uploads without a trace, and
// the error is [context.DeadlineExceeded].
func (s *Server) Shutdown(ctx context.Context, delay, timeout time.Duration) error {
	s.stopping.Store(true)
	if s.crowd.open.Load() > 0 {
		delay = max(delay, restGrace)
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
	s.api.SetKeepAlivesEnabled(false)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	s.lane.stop()
	err := s.api.Shutdown(ctx)
	if err == nil { // no connection is left, as far as net/http knows
		if err = s.running.wait(ctx); err == nil {
			return nil
		}
	}
	go s.api.Close() // it waits for who is sending a file that hangs
	s.lane.cut()
	// Their handlers still run, and have drafts to drop.
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), cutGrace)
	defer stop()
	_ = s.running.wait(grace)
	return err
}
