package trust

import (
	"errors"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Why a request gets no grant. The first three leave a build alone: it is told that there is nothing to read and that nothing was
// stored. The others are surely wrong and have to be seen.
var (
	// ErrNoCredential is for no Authorization header at all, or one that says Bearer and nothing more: Nx sends that if the variable
	// for the token is set but empty, as it is in the pull request of a fork.
	ErrNoCredential = errors.New("no credential")
	// ErrExpired is for a token that is authentic but has had its time.
	ErrExpired = errors.New("expired credential")
	// ErrOtherWorkspace is for a token that is authentic but not for the workspace that the request names.
	ErrOtherWorkspace = errors.New("credential of another workspace")
	// ErrMalformed is for what is no token: another scheme, another secret, a cut or mistyped token.
	ErrMalformed = errors.New("malformed credential")
	// ErrUnknown is for what looks like a token but is none that this server knows.
	ErrUnknown = errors.New("unknown credential")
	// ErrRevoked is for a token that was revoked.
	ErrRevoked = errors.New("revoked credential")
)

// DeniedError is the error of [Authenticator.Grant] and [Authenticator.Valid]. It wraps one of the sentinels above.
type DeniedError struct {
	// Err is the sentinel.
	Err error
	// Reason tells the client what happened and what to do. It holds nothing of what was presented.
	Reason string
	// TokenID and TokenName are those of the token if it is authentic, else empty.
	TokenID, TokenName string
}

func (d *DeniedError) Error() string { return d.Reason }

// Unwrap gives the sentinel.
func (d *DeniedError) Unwrap() error { return d.Err }

func noCredential() *DeniedError {
	return &DeniedError{Err: ErrNoCredential,
		Reason: "no token was sent: set NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN to a token of this server"}
}

func malformed(reason string) *DeniedError {
	return &DeniedError{Err: ErrMalformed, Reason: reason}
}

func unknown() *DeniedError {
	return &DeniedError{Err: ErrUnknown,
		Reason: "this server does not know the token: it belongs to another server, or its records were lost. Create a new one"}
}

func expired(t *Token) *DeniedError {
	return &DeniedError{Err: ErrExpired, TokenID: t.ID, TokenName: t.Name,
		Reason: fmt.Sprintf("the token %s expired on %s: create a new one", t.ID, t.Expires.UTC().Format(time.RFC3339))}
}

func revoked(t *Token) *DeniedError {
	return &DeniedError{Err: ErrRevoked, TokenID: t.ID, TokenName: t.Name,
		Reason: fmt.Sprintf("the token %s was revoked on %s: use another one", t.ID, t.Revoked.UTC().Format(time.RFC3339))}
}

func otherWorkspace(t *Token, named cache.Workspace) *DeniedError {
	return &DeniedError{Err: ErrOtherWorkspace, TokenID: t.ID, TokenName: t.Name,
		Reason: fmt.Sprintf("the token %s is for workspace %s, not for %s, which the address names", t.ID, t.Workspace, named)}
}
