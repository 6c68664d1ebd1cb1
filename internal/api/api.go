// Package api is the API of operators, /api/v1: JSON over HTTP, behind tokens with a role. openapi.json describes it. Who may do what is decided by package
// trust (whose token it is) and package admin (what its role and its workspace allow); here requests are read strictly, and errors become answers.
package api

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// Prefix is that of all paths of the API.
const Prefix = "/api/v1"

// Document describes the API, by OpenAPI 3.1.
//
//go:embed openapi.json
var Document []byte

// The bounds of requests. They are the API's own: no request for an artifact waits for one here, nor the other way around.
const (
	// maxBody bounds the body of a request in bytes, bodyTimeout the wait for it.
	maxBody     = 64 << 10
	bodyTimeout = 10 * time.Second
	// atOnce bounds the works at a time; a request waits for its turn no longer than maxWait. Those of CIs have turns of their own, so that no job keeps
	// operators from their work.
	atOnce    = 8
	ciAtOnce  = 4
	maxWait   = 2 * time.Second
	workBound = time.Minute
)

// Authenticator says who asks. See [trust.Authenticator].
type Authenticator interface {
	// Administrator judges a token of the API.
	Administrator(ctx context.Context, authorization string) (trust.Administrator, error)
	// Grant judges a credential of the cache.
	Grant(ctx context.Context, authorization string, named cache.Workspace) (cache.Grant, error)
	// Open reports whether anyone may do anything, because no token was ever made.
	Open() bool
}

// Options configure an [API].
type Options struct {
	Auth Authenticator
	// As is what an actor can do.
	As func(admin.Actor) admin.Service
	// Status is how the server is, told to whoever may see all of it.
	Status func() admin.Status
	// Policy is the one in force; nil if there is none.
	Policy     func() *policy.Policy
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// API answers requests below [Prefix]. It is safe for concurrent use.
type API struct {
	opts     Options
	routes   []route
	turns    chan struct{} // holds one for each work of an operator
	maxWait  time.Duration // for a turn
	ciTurns  chan struct{}
	requests *prometheus.CounterVec
}

// New makes an API.
func New(opts Options) *API {
	a := &API{
		opts: opts, turns: make(chan struct{}, atOnce), maxWait: maxWait, ciTurns: make(chan struct{}, ciAtOnce),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bezoar_api_requests_total",
			Help: "Requests to the API of operators by route (as the API's description has it, \"none\" for others) and status of the answer.",
		}, []string{"route", "status"}),
	}
	a.routes = a.table()
	opts.Registerer.MustRegister(a.requests)
	return a
}

// ServeHTTP answers one request, logs it and counts it.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{api: a, w: w, r: r, started: time.Now()}
	defer func() {
		if p := recover(); p != nil {
			a.opts.Log.Error("a request to the API panicked; please report this", "panic", p, "stack", string(debug.Stack()))
			if c.status != 0 {
				panic(http.ErrAbortHandler) // the answer is on its way: it must not look whole
			}
			c.refuse(&problem{code: codeInternal, detail: "the server failed; its operator finds the cause in its log", cause: fmt.Errorf("panic: %v", p)})
		}
		c.log()
	}()
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.ContentLength != 0 {
		c.boundBody()
	}
	c.serve()
}
