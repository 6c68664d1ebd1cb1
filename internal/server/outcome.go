package server

import (
	"context"
	"errors"
	"net/http"

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
)

// Causes that are the client's alone: no trouble of the server's.
const (
	causeClientGone    = "client_gone"
	causeClientStalled = "client_stalled"
)

var (
	errBadName        = errors.New("not a hash that this server keeps")
	errLengthRequired = errors.New("an upload needs a Content-Length")
	errForeignHost    = errors.New("this server is open to anyone on its own machine, and so answers to no other name than localhost; create a token to use it under another name")
	errClientGone     = errors.New("the client went away")
	errStalled        = errors.New("the upload stalled, nothing was stored")
)

// outcome is how a request ends.
type outcome struct {
	status int
	result string
	// cause tells apart, in logs and metrics, what ends in the same result. Empty for the good ends.
	cause string
	// text is what the client is told.
	text string
}

// rule maps one kind of error to an outcome.
type rule struct {
	is     func(error) bool
	result string
	cause  string
	// get serves HEAD as well.
	get, put int
	// text replaces the error's own, which may speak of the server's inner parts.
	text string
}

// rules is the one table from errors to answers. The first rule that fits decides.
//
// The client knows few answers that do not break its build: 200 and 404 to a GET, 200, 403 and 409 to a PUT. So
// whatever goes wrong is a miss to a reader and "not stored" to a writer, and 401 is kept for a credential that is surely
// wrong, where a person must act. A stored upload is 200 although the older API document says 202: Nx fails the
// build on 202.
var rules = []rule{
	{is: isError(cache.ErrExist), result: resultExists, get: 404, put: 409},
	{is: isError(errBadName), result: resultRefused, cause: "bad_hash", get: 404, put: 403},
	{is: isError(errLengthRequired), result: resultRefused, cause: "length_required", get: 404, put: 403},
	{is: isRefusedArtifact, result: resultRefused, cause: "artifact", get: 404, put: 403},
	{is: isError(cache.ErrTooLarge), result: resultRefused, cause: "too_large", get: 404, put: 403},

	{is: isError(trust.ErrNoCredential), result: resultDenied, cause: "no_credential", get: 404, put: 403},
	{is: isError(trust.ErrExpired), result: resultDenied, cause: "expired", get: 404, put: 403},
	{is: isError(trust.ErrRevoked), result: resultDenied, cause: "revoked", get: 401, put: 401},
	{is: isError(trust.ErrMalformed), result: resultDenied, cause: "malformed_credential", get: 401, put: 401},
	{is: isError(trust.ErrUnknown), result: resultDenied, cause: "unknown_credential", get: 401, put: 401},
	{is: isError(trust.ErrOtherWorkspace), result: resultDenied, cause: "other_workspace", get: 404, put: 403},
	{is: isError(cache.ErrDenied), result: resultDenied, cause: "read_only", get: 404, put: 403},
	{is: isError(errForeignHost), result: resultDenied, cause: "foreign_host", get: 404, put: 403},

	{is: isError(errClientGone), result: resultError, cause: causeClientGone, get: 404, put: 403},
	{is: isError(artifact.ErrBusy), result: resultError, cause: "overload", get: 404, put: 403},
	{is: isError(errStalled), result: resultError, cause: causeClientStalled, get: 404, put: 403, text: errStalled.Error()},
	{is: isError(cache.ErrUpload), result: resultError, cause: "upload_broken", get: 404, put: 403, text: "the upload did not arrive whole, nothing was stored"},
	{is: isError(cache.ErrDamaged), result: resultError, cause: "damaged", get: 404, put: 403},
	{is: isError(cache.ErrStore), result: resultError, cause: "store", get: 404, put: 403, text: "the cache cannot reach its storage now; its operator finds the cause in its log"},
	// After the others: an error that is both says first what else it is.
	{is: isError(cache.ErrNotExist), result: resultMiss, get: 404, put: 403},
	{is: func(error) bool { return true }, result: resultError, cause: "internal", get: 404, put: 403, text: "the cache failed; its operator finds the cause in its log"},
}

func isError(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isRefusedArtifact(err error) bool {
	_, ok := errors.AsType[*artifact.RefusedError](err)
	return ok
}

// outcomeOf maps an error to the answer for a method. A nil error is the method's success.
func outcomeOf(ctx context.Context, method string, err error) outcome {
	upload := method == http.MethodPut
	if err == nil {
		if upload {
			return outcome{status: http.StatusOK, result: resultStored}
		}
		return outcome{status: http.StatusOK, result: resultHit}
	}
	// A request that ends because its client left makes every wait on its behalf fail. That is nobody's trouble. (net/http
	// takes our deadline on a stalled body for a client that left.)
	if errors.Is(context.Cause(ctx), context.Canceled) && !errors.Is(err, errStalled) {
		err = errClientGone
	}
	for _, r := range rules {
		if !r.is(err) {
			continue
		}
		o := outcome{status: r.get, result: r.result, cause: r.cause, text: r.text}
		if upload {
			o.status = r.put
		}
		if o.text == "" {
			o.text = err.Error()
		}
		return o
	}
	panic("the last rule fits everything")
}
