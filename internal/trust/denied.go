package trust

import (
	"errors"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Why a request gets no grant. The first group leaves a build alone: it is told that there is nothing to read and that nothing was
// stored. The second is surely wrong and has to be seen. The third is for exchanges alone.
var (
	// ErrNoCredential is for no Authorization header at all, or one that says Bearer and nothing more: Nx sends that if the variable
	// for the token is set but empty, as it is in the pull request of a fork.
	ErrNoCredential = errors.New("no credential")
	// ErrExpired is for a credential that is authentic but has had its time.
	ErrExpired = errors.New("expired credential")
	// ErrOtherWorkspace is for a credential that is authentic but not for the workspace that the request names.
	ErrOtherWorkspace = errors.New("credential of another workspace")
	// ErrNotAllowed is for an identity that the policy gives nothing. It is authentic, or of an issuer that the policy does not name, so that nobody can say.
	ErrNotAllowed = errors.New("not allowed by the policy")
	// ErrAudience is for an identity token that is authentic but meant for somebody else.
	ErrAudience = errors.New("identity token for another audience")
	// ErrUnverifiable is for an identity token of which nothing can be said, because its issuer's keys cannot be had now.
	ErrUnverifiable = errors.New("identity token that cannot be verified now")
	// ErrNeedsExchange is for an identity token that is authentic and allowed, but lives too short to be the credential of a job.
	ErrNeedsExchange = errors.New("identity token that must be exchanged for a session")

	// ErrMalformed is for what is no credential: another scheme, another secret, a cut or mistyped token.
	ErrMalformed = errors.New("malformed credential")
	// ErrForged is for what has the form of a session or an identity token and was not signed by whom it names.
	ErrForged = errors.New("forged credential")
	// ErrUnknown is for what looks like a token but is none that this server knows.
	ErrUnknown = errors.New("unknown credential")
	// ErrRevoked is for a credential that was revoked, or whose session, run, actor, repository or subject was.
	ErrRevoked = errors.New("revoked credential")

	// ErrReplayed is for an identity token that was exchanged before.
	ErrReplayed = errors.New("identity token that was exchanged before")
	// ErrLedger says that the ledger could not tell whether an identity token was exchanged before.
	ErrLedger = errors.New("the ledger cannot say whether the identity token was exchanged before")
)

// DeniedError is the error of [Authenticator.Grant], [Authenticator.Valid] and [Authenticator.Exchange]. It wraps one of the sentinels
// above.
type DeniedError struct {
	// Err is the sentinel.
	Err error
	// Reason tells the client what happened and what to do. It holds nothing of what was presented but names and ids.
	Reason string
	// TokenID and TokenName are those of the static token if it is authentic, else empty.
	TokenID, TokenName string
	// Session is the id of the session if its token is authentic, else empty.
	Session string
	// Producer is who presented the credential, as far as it is authentic and known; else its Kind is empty.
	Producer cache.Producer
}

func (d *DeniedError) Error() string { return d.Reason }

// Unwrap gives the sentinel.
func (d *DeniedError) Unwrap() error { return d.Err }

func noCredential() *DeniedError {
	return &DeniedError{Err: ErrNoCredential,
		Reason: "no token was sent: set NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN to a token of this server"}
}

// denied is a refusal of somebody who is known.
func denied(err error, who cache.Producer, reason string) *DeniedError {
	return &DeniedError{Err: err, Reason: reason, TokenID: who.TokenID, TokenName: who.TokenName, Session: who.Session, Producer: who}
}

func malformed(reason string) *DeniedError {
	return &DeniedError{Err: ErrMalformed, Reason: reason}
}

func unknown() *DeniedError {
	return &DeniedError{Err: ErrUnknown,
		Reason: "this server does not know the token: it belongs to another server, or its records were lost. Create a new one"}
}

func expired(t *Token) *DeniedError {
	return denied(ErrExpired, t.producer(),
		fmt.Sprintf("the token %s expired on %s: create a new one", t.ID, t.Expires.UTC().Format(time.RFC3339)))
}

func revoked(t *Token) *DeniedError {
	return denied(ErrRevoked, t.producer(),
		fmt.Sprintf("the token %s was revoked on %s: use another one", t.ID, t.Revoked.UTC().Format(time.RFC3339)))
}

func otherWorkspace(t *Token, named cache.Workspace) *DeniedError {
	return denied(ErrOtherWorkspace, t.producer(),
		fmt.Sprintf("the token %s is for workspace %s, not for %s, which the address names", t.ID, t.Workspace, named))
}

// revokedIdentity does not say which of the values was revoked: the revocation's id tells it to the operator.
func revokedIdentity(r *Revocation, who cache.Producer) *DeniedError {
	return denied(ErrRevoked, who,
		fmt.Sprintf("the %s was revoked on %s (revocation %s): ask the server's operator", r.Kind, r.Created.UTC().Format(time.RFC3339), r.ID))
}
