package trust

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// Verifier verifies identity tokens. See [oidc.Verifier].
//
// A Verifier that has a method Epoch() uint64 as well is not asked again for a token that it took before, until the token ends or the epoch is another
// one: that says that a token which was taken may no longer be, since its key was withdrawn, or the issuers or the audience changed.
type Verifier interface {
	// Verify checks signature, issuer, audience and times, and fails with the errors of package oidc, whose texts are shown to clients.
	Verify(ctx context.Context, raw string) (*oidc.Token, error)
}

type epochs interface{ Epoch() uint64 }

var (
	_ Verifier = (*oidc.Verifier)(nil)
	_ epochs   = (*oidc.Verifier)(nil)
)

// heldIdentity is an identity token that was verified in an epoch of the verifier, while there were these rules.
type heldIdentity struct {
	token   *oidc.Token
	rules   rules
	epoch   uint64
	verdict atomic.Pointer[identityVerdict]
}

// identityVerdict is what the policy says to the token for a workspace that a request names.
type identityVerdict struct {
	named    cache.Workspace
	decision policy.Decision
	settings policy.Settings // of the workspace that is granted
}

// identityGrant is the grant of a CI's own token as the bearer.
func (a *Authenticator) identityGrant(ctx context.Context, s *snapshot, credential string, named cache.Workspace) (cache.Grant, error) {
	held, err := a.identify(ctx, s.rules, credential)
	if err != nil {
		return cache.Grant{}, err
	}
	v := held.judged(named)
	who := v.decision.Grant.Producer
	if err := s.allowed(&v.decision); err != nil {
		return cache.Grant{}, err
	}
	if !v.decision.Bearer {
		return cache.Grant{}, denied(ErrNeedsExchange, who,
			"the identity token itself is no credential for the cache, since it lives for minutes: exchange it for a session at /v1/session")
	}
	// It may live as long as its issuer likes; here it does so no longer than a session.
	if end := held.token.IssuedAt.Add(v.settings.SessionMax); !a.now().Before(end) {
		return cache.Grant{}, denied(ErrExpired, who, fmt.Sprintf("the identity token is older than %s, the longest that a session may last here", v.settings.SessionMax))
	}
	return v.decision.Grant, nil
}

// allowed says what speaks against a decision: itself, or a revocation.
func (s *snapshot) allowed(d *policy.Decision) error {
	if !d.Allowed {
		return denied(ErrNotAllowed, d.Grant.Producer, d.Reason)
	}
	if r := s.revocations.of(d.Grant.Producer, d.Grant.Workspace); r != nil {
		return revokedIdentity(r, d.Grant.Producer)
	}
	return nil
}

// identify verifies an identity token, or remembers that nothing happened since it was verified that could make it worth less.
func (a *Authenticator) identify(ctx context.Context, r rules, credential string) (*heldIdentity, error) {
	if r == nil {
		return nil, noPolicy()
	}
	epochs, memorable := a.verifier.(epochs)
	if !memorable {
		token, err := a.verify(ctx, credential)
		return &heldIdentity{token: token, rules: r}, err
	}
	key, epoch := keyOf(credential), epochs.Epoch()
	if held, ok := a.identities.get(key); ok && held.rules == r && held.epoch == epoch && a.now().Before(held.token.Expires) {
		return held, nil
	}
	token, err := a.verify(ctx, credential)
	if err != nil {
		a.identities.drop(key)
		return nil, err
	}
	// The epoch is that from before the verification: what changed in the midst of it is seen at the next request.
	held := &heldIdentity{token: token, rules: r, epoch: epoch}
	a.identities.put(key, held)
	return held, nil
}

// judged asks the policy, once for all requests that name the same workspace in a row.
func (h *heldIdentity) judged(named cache.Workspace) *identityVerdict {
	if v := h.verdict.Load(); v != nil && v.named == named {
		return v
	}
	v := &identityVerdict{named: named}
	v.decision = decide(h.rules, policy.Identity{Issuer: h.token.Issuer, Claims: h.token.Claims}, named)
	v.settings, _ = h.rules.Settings(v.decision.Grant.Workspace)
	h.verdict.Store(v)
	return v
}

// verify asks the verifier and puts its errors into ours.
func (a *Authenticator) verify(ctx context.Context, credential string) (*oidc.Token, error) {
	if a.verifier == nil {
		return nil, noPolicy()
	}
	token, err := a.verifier.Verify(ctx, credential)
	if err == nil {
		return token, nil
	}
	for _, known := range []struct{ is, sentinel error }{
		{oidc.ErrMalformed, ErrForged},
		{oidc.ErrIssuer, ErrNotAllowed},
		{oidc.ErrExpired, ErrExpired},
		{oidc.ErrAudience, ErrAudience},
		{oidc.ErrUnavailable, ErrUnverifiable},
	} {
		if errors.Is(err, known.is) {
			return nil, &DeniedError{Err: known.sentinel, Reason: err.Error()}
		}
	}
	// What else there is, such as a client that left, says nothing against the token: it must not turn a build red.
	return nil, &DeniedError{Err: ErrUnverifiable, Reason: "the identity token could not be verified: try again"}
}

// noPolicy says nothing against the token: a server that was restarted without its policy must not turn the builds of running jobs red.
func noPolicy() *DeniedError {
	return &DeniedError{Err: ErrNotAllowed, Reason: "this server takes no identity tokens of CIs: its operator names the CIs in a policy (--policy)"}
}
