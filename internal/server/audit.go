package server

import (
	"errors"
	"net"
	"net/http"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// Auditor is told of what has to be on record: uploads, sessions, and what was denied. A download that is answered is none of it. Its methods are called on
// the way of requests and wait for nothing.
type Auditor interface {
	// Stored is told of an upload that was committed.
	Stored(entry cache.Entry)
	// Issued is told of a session that was given.
	Issued(session trust.Issued)
	// Denied is told of a request that was denied.
	Denied(d Denial)
}

// Denial is a request that was denied.
type Denial struct {
	// Session says that it was for a session, else it was for an artifact.
	Session bool
	Method  string
	// Cause is that of the log and the metrics; Reason is what the client was told.
	Cause, Reason string
	// Producer is who asked, as far as it is verified: its Kind may be empty.
	Producer  cache.Producer
	Workspace cache.Workspace
	Scope     cache.Scope
	// Remote is the client's address without its port.
	Remote string
}

// isDenial says which outcomes are on record: who has no right to what he asked for, and who uploads what would harm others.
func isDenial(method string, o outcome, err error) bool {
	if o.result == resultDenied {
		return true
	}
	_, refused := errors.AsType[*artifact.RefusedError](err)
	return refused && method == http.MethodPut
}

// audit puts the request on record if it has to be.
func (x *exchange) audit() {
	if x.server.opts.Audit == nil || !isDenial(x.r.Method, x.outcome, x.err) {
		return
	}
	x.server.opts.Audit.Denied(Denial{
		Method: x.r.Method, Cause: x.outcome.cause, Reason: x.outcome.text, Producer: x.producer, Workspace: x.workspace, Scope: x.scope, Remote: remote(x.r),
	})
}

func (q *sessionRequest) audit() {
	switch {
	case q.server.opts.Audit == nil:
	case q.outcome.result == resultIssued:
		q.server.opts.Audit.Issued(q.issued)
	case isDenial(http.MethodPost, q.outcome, q.err):
		q.server.opts.Audit.Denied(Denial{
			Session: true, Method: http.MethodPost, Cause: q.outcome.cause, Reason: q.outcome.text, Producer: denied(q.err), Workspace: q.named, Remote: remote(q.r),
		})
	}
}

// remote is the client's address; that of a unix socket has none.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}
