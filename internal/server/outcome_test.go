package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

func TestOutcomes(t *testing.T) {
	refused := &artifact.RefusedError{Member: "../x", Reason: "leaves the archive"}
	for _, c := range []struct {
		err           error
		get, put      int
		result, cause string
	}{
		{cache.ErrNotExist, 404, 403, resultMiss, ""},
		{cache.ErrExist, 404, 409, resultExists, ""},
		{cache.ErrDamaged, 404, 403, resultError, "damaged"},
		{cache.ErrStore, 404, 403, resultError, "store"},
		{cache.ErrBreaker, 404, 403, resultError, "breaker"},
		{fmt.Errorf("%w: no answer", cache.ErrTimeout), 404, 403, resultError, "timeout"},
		{fmt.Errorf("%w: %w", cache.ErrStore, cache.ErrNotExist), 404, 403, resultError, "store"},
		{cache.ErrUpload, 404, 403, resultError, "upload_broken"},
		{cache.ErrTooLarge, 404, 403, resultRefused, "too_large"},
		{errAnonymous, 404, 403, resultDenied, "no_credential"},
		{cache.ErrDenied, 404, 403, resultDenied, "read_only"},
		{fmt.Errorf("wrapped: %w", refused), 404, 403, resultRefused, "artifact"},
		{artifact.ErrBusy, 404, 403, resultError, "overload"},
		{errBadName, 404, 403, resultRefused, "bad_hash"},
		{errLengthRequired, 404, 403, resultRefused, "length_required"},
		{errForeignHost, 404, 403, resultDenied, "foreign_host"},
		{&trust.DeniedError{Err: trust.ErrNoCredential}, 404, 403, resultDenied, "no_credential"},
		{&trust.DeniedError{Err: trust.ErrExpired}, 404, 403, resultDenied, "expired"},
		{&trust.DeniedError{Err: trust.ErrOtherWorkspace}, 404, 403, resultDenied, "other_workspace"},
		{&trust.DeniedError{Err: trust.ErrMalformed}, 401, 401, resultDenied, "malformed_credential"},
		{&trust.DeniedError{Err: trust.ErrUnknown}, 401, 401, resultDenied, "unknown_credential"},
		{&trust.DeniedError{Err: trust.ErrRevoked}, 401, 401, resultDenied, "revoked"},
		{&trust.DeniedError{Err: trust.ErrForged}, 401, 401, resultDenied, "forged_credential"},
		{&trust.DeniedError{Err: trust.ErrNotAllowed}, 404, 403, resultDenied, "not_allowed"},
		{&trust.DeniedError{Err: trust.ErrAudience}, 404, 403, resultDenied, "audience"},
		{&trust.DeniedError{Err: trust.ErrNeedsExchange}, 404, 403, resultDenied, "needs_exchange"},
		{&trust.DeniedError{Err: trust.ErrReplayed}, 404, 403, resultDenied, "replayed"},
		{&trust.DeniedError{Err: trust.ErrUnverifiable}, 404, 403, resultError, "unverifiable"},
		{&trust.DeniedError{Err: trust.ErrLedger}, 404, 403, resultError, "ledger"},
		{&panicError{"boom"}, 404, 403, resultError, "internal"},
		{errors.New("anything"), 404, 403, resultError, "internal"},
	} {
		for method, status := range map[string]int{"GET": c.get, "HEAD": c.get, "PUT": c.put} {
			o := outcomeOf(t.Context(), method, c.err)
			if o.status != status || o.result != c.result || o.cause != c.cause {
				t.Errorf("%s %v: %d %s %s, want %d %s %s", method, c.err, o.status, o.result, o.cause, status, c.result, c.cause)
			}
		}
	}
}

// TestNoRuleBreaksABuild holds the whole table to what the client forgives.
func TestNoRuleBreaksABuild(t *testing.T) {
	mayBe401 := []string{"malformed_credential", "forged_credential", "unknown_credential", "revoked"}
	for _, r := range rules {
		// What asks for a session is no build yet. Whoever has no credential or a wrong one hears so there too.
		if wrong := slices.Contains(append(mayBe401, "no_credential"), r.cause); wrong != (r.session == 401) {
			t.Errorf("cause %q is answered %d at the exchange", r.cause, r.session)
		}
		if !slices.Contains([]int{0, 400, 401, 403, 408, 500}, r.session) || r.result == resultDenied && r.session == 400 {
			t.Errorf("cause %q is answered %d at the exchange", r.cause, r.session)
		}
		if r.get == 401 || r.put == 401 {
			if r.get != r.put || !slices.Contains(mayBe401, r.cause) {
				t.Errorf("cause %q is answered %d and %d; 401 is for credentials that are surely wrong", r.cause, r.get, r.put)
			}
			continue
		}
		if r.get != 404 {
			t.Errorf("cause %q answers a GET with %d", r.cause, r.get)
		}
		if r.put != 403 && r.put != 409 {
			t.Errorf("cause %q answers a PUT with %d", r.cause, r.put)
		}
		if r.result == resultMiss && r.cause != "" {
			t.Errorf("cause %q passes for a miss", r.cause)
		}
	}
}

// TestWhatIsOfArtifactsAloneIsNoneOfSessions: such an error there would be a bug of ours, and is counted as one.
func TestWhatIsOfArtifactsAloneIsNoneOfSessions(t *testing.T) {
	for _, err := range []error{cache.ErrExist, cache.ErrStore, cache.ErrNotExist, errBadName} {
		if o := outcomeOf(t.Context(), http.MethodPost, err); o.status != 500 || o.cause != "internal" {
			t.Errorf("%v: %+v", err, o)
		}
	}
	if o := outcomeOf(t.Context(), http.MethodPost, nil); o.status != 200 || o.result != resultIssued {
		t.Errorf("%+v", o)
	}
}

func TestInnerDetailStaysInside(t *testing.T) {
	inner := fmt.Errorf("%w: open /var/lib/secret: permission denied", cache.ErrStore)
	for _, err := range []error{inner, errors.New("open /var/lib/secret"), &panicError{"/var/lib/secret"}} {
		if o := outcomeOf(t.Context(), http.MethodPut, err); strings.Contains(o.text, "secret") {
			t.Errorf("the client is told %q", o.text)
		}
	}
}

func TestAClientThatLeftIsNobodysTrouble(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := outcomeOf(ctx, http.MethodGet, cache.ErrStore); o.cause != "client_gone" {
		t.Errorf("cause %q", o.cause)
	}
}
