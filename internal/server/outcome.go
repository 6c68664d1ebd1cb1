package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/bezoar-cache/bezoar/internal/admit"
	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// Results, as they stand in logs and metrics.
const (
	resultHit     = "hit"     // a download that found its entry
	resultMiss    = "miss"    // a download of what is not there
	resultStored  = "stored"  // an upload that was kept
	resultExists  = "exists"  // an upload of what is there already
	resultRefused = "refused" // a request that is at fault in itself
	resultDenied  = "denied"  // a request whose credential does not allow it
	resultError   = "error"   // a request that the server failed
	resultIssued  = "issued"  // a request for a session that got one
)

// Causes that are the client's alone: no trouble of the server's.
const (
	causeClientGone    = "client_gone"
	causeClientStalled = "client_stalled"
)

// causeHeader tells programs the cause of an answer that is not a plain one, in the word of logs and metrics.
const causeHeader = "Bezoar-Cause"

var (
	errBadName            = errors.New("not a hash that this server keeps")
	errLengthRequired     = errors.New("an upload needs a Content-Length")
	errForeignHost        = errors.New("this server is open to anyone on its own machine, and so answers to no other name than localhost; create a token to use it under another name")
	errAnonymous          = fmt.Errorf("%w: everybody may read here, but not write", trust.ErrNoCredential)
	errClientGone         = errors.New("the client went away")
	errStalled            = errors.New("the body of the request stalled, so nothing came of it")
	errTooManyConnections = fmt.Errorf("%w: there are more connections than max-connections", admit.ErrFull)

	errOpen = errors.New("this server is open: without tokens and without a policy there is nothing that an identity could be exchanged for, and nothing that needs it")
)

// outcome is how a request ends.
type outcome struct {
	status int
	result string
	// cause tells apart, in logs and metrics, what ends in the same result. Empty for the good ends.
	cause string
	// text is what the client is told.
	text string
	// ill says that the cache itself is at fault.
	ill bool
}

// rule maps one kind of error to an outcome.
type rule struct {
	is     func(error) bool
	result string
	cause  string
	// get serves HEAD as well. session is for what may happen on the way to a session, else 0.
	get, put, session int
	// text replaces the error's own, which may speak of the server's inner parts.
	text string
	// ill says that neither the client nor the policy is at fault but the cache itself; see [Options.Strict].
	ill bool
}

// rules is the one table from errors to answers. The first rule that fits decides.
//
// The client knows few answers that do not break its build: 200 and 404 to a GET, 200, 403 and 409 to a PUT. So
// whatever goes wrong is a miss to a reader and "not stored" to a writer, and 401 is kept for a credential that is surely
// wrong, where a person must act. A stored upload is 200 although the older API document says 202: Nx fails the
// build on 202.
//
// Sessions are asked for before Nx runs, by clients that can be told more: 401 for no credential and for one that is surely wrong, 403
// for an authentic one that gets none now, and what HTTP has for a bad request and for trouble.
var rules = []rule{
	{is: isError(cache.ErrExist), result: resultExists, get: 404, put: 409},
	{is: isError(errBadName), result: resultRefused, cause: "bad_hash", get: 404, put: 403},
	{is: isError(errLengthRequired), result: resultRefused, cause: "length_required", get: 404, put: 403},
	{is: isRefusedArtifact, result: resultRefused, cause: "artifact", get: 404, put: 403},
	{is: isError(cache.ErrTooLarge), result: resultRefused, cause: "too_large", get: 404, put: 403},

	{is: isBadForm, result: resultRefused, cause: "bad_request", get: 404, put: 403, session: 400},

	{is: isError(trust.ErrNoCredential), result: resultDenied, cause: "no_credential", get: 404, put: 403, session: 401},
	{is: isError(trust.ErrExpired), result: resultDenied, cause: "expired", get: 404, put: 403, session: 403},
	{is: isError(trust.ErrRevoked), result: resultDenied, cause: "revoked", get: 401, put: 401, session: 401},
	{is: isError(trust.ErrMalformed), result: resultDenied, cause: "malformed_credential", get: 401, put: 401, session: 401},
	{is: isError(trust.ErrForged), result: resultDenied, cause: "forged_credential", get: 401, put: 401, session: 401},
	{is: isError(trust.ErrUnknown), result: resultDenied, cause: "unknown_credential", get: 401, put: 401, session: 401},
	{is: isError(trust.ErrOtherWorkspace), result: resultDenied, cause: "other_workspace", get: 404, put: 403, session: 403},
	{is: isError(trust.ErrNotAllowed), result: resultDenied, cause: "not_allowed", get: 404, put: 403, session: 403},
	{is: isError(trust.ErrAudience), result: resultDenied, cause: "audience", get: 404, put: 403, session: 403},
	{is: isError(trust.ErrNeedsExchange), result: resultDenied, cause: "needs_exchange", get: 404, put: 403, session: 403},
	{is: isError(trust.ErrReplayed), result: resultDenied, cause: "replayed", get: 404, put: 403, session: 403},
	{is: isError(trust.ErrUnverifiable), result: resultError, cause: "unverifiable", ill: true, get: 404, put: 403, session: 403},
	{is: isError(trust.ErrLedger), result: resultError, cause: "ledger", ill: true, get: 404, put: 403, session: 403},
	{is: isError(cache.ErrDenied), result: resultDenied, cause: "read_only", get: 404, put: 403},
	{is: isError(errForeignHost), result: resultDenied, cause: "foreign_host", get: 404, put: 403},
	{is: isError(errOpen), result: resultDenied, cause: "open", get: 404, put: 403, session: 403},

	{is: isError(errClientGone), result: resultError, cause: causeClientGone, get: 404, put: 403, session: 400},
	{is: isError(admit.ErrFull), result: resultError, cause: "overload", ill: true, get: 404, put: 403, text: "the cache has too much to do now"},
	{is: isError(artifact.ErrBusy), result: resultError, cause: "overload", ill: true, get: 404, put: 403},
	{is: isError(errStalled), result: resultError, cause: causeClientStalled, get: 404, put: 403, session: 408, text: errStalled.Error()},
	{is: isError(cache.ErrUpload), result: resultError, cause: "upload_broken", get: 404, put: 403, text: "the upload did not arrive whole, nothing was stored"},
	{is: isError(cache.ErrDamaged), result: resultError, cause: "damaged", ill: true, get: 404, put: 403},
	{is: isError(cache.ErrBreaker), result: resultError, cause: "breaker", ill: true, get: 404, put: 403, text: "the cache's storage failed a moment ago and is left alone now; its operator finds the cause in its log"},
	{is: isError(cache.ErrTimeout), result: resultError, cause: "timeout", ill: true, get: 404, put: 403, text: "the cache's storage is too slow now; its operator finds the cause in its log"},
	{is: isError(cache.ErrStore), result: resultError, cause: "store", ill: true, get: 404, put: 403, text: "the cache cannot reach its storage now; its operator finds the cause in its log"},
	// After the others: an error that is both says first what else it is.
	{is: isError(cache.ErrNotExist), result: resultMiss, get: 404, put: 403},
	{is: func(error) bool { return true }, result: resultError, cause: "internal", ill: true, get: 404, put: 403, session: 500, text: "the cache failed; its operator finds the cause in its log"},
}

func isError(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isBadForm(err error) bool {
	_, ok := errors.AsType[*formError](err)
	return ok
}

func isRefusedArtifact(err error) bool {
	_, ok := errors.AsType[*artifact.RefusedError](err)
	return ok
}

// status is the answer to a method, 0 if the rule is none for it.
func (r *rule) status(method string) int {
	switch method {
	case http.MethodPut:
		return r.put
	case http.MethodPost:
		return r.session
	}
	return r.get
}

// success is the result of a method that went well.
func success(method string) string {
	switch method {
	case http.MethodPut:
		return resultStored
	case http.MethodPost:
		return resultIssued
	}
	return resultHit
}

// outcomeOf maps an error to the answer for a method; POST is a request for a session. A nil error is the method's success.
func outcomeOf(ctx context.Context, method string, err error) outcome {
	if err == nil {
		return outcome{status: http.StatusOK, result: success(method)}
	}
	// A request that ends because its client left makes every wait on its behalf fail. That is nobody's trouble. (net/http
	// takes our deadline on a stalled body for a client that left.)
	if errors.Is(context.Cause(ctx), context.Canceled) && !errors.Is(err, errStalled) {
		err = errClientGone
	}
	for _, r := range rules {
		if !r.is(err) || r.status(method) == 0 {
			continue
		}
		o := outcome{status: r.status(method), result: r.result, cause: r.cause, text: r.text, ill: r.ill}
		if o.text == "" {
			o.text = err.Error()
		}
		return o
	}
	panic("the last rule fits everything")
}
