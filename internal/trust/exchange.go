package trust

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
	"github.com/bezoar-cache/bezoar/internal/trust/session"
)

const (
	// usedSkew is how much longer than an identity token lives it is remembered that it was exchanged: more than any clock may be wrong.
	usedSkew = 5 * time.Minute
	// useTimeout bounds the wait for the ledger.
	useTimeout = 5 * time.Second
	// othersAtOnce bounds the exchanges that ask the ledger at a time, but for those of trusted identities, which wait for none of them: whoever
	// has a pull request can ask for sessions without end. It is less than the ledger's connections, so that revocations are read meanwhile.
	othersAtOnce = 2
)

// Uses remembers which identity tokens were exchanged, for all processes that share it.
type Uses interface {
	// UseOnce notes that the token with that id is used up, until the given time, after which the token is worth nothing anyway. An id that
	// was noted before is an error that wraps [ErrReplayed]; any other error says that it is not known.
	UseOnce(ctx context.Context, id string, until time.Time) error
}

// Issued is a new session.
type Issued struct {
	// Token is the session token: a secret.
	Token string
	// ID names the session in lists and logs.
	ID      string
	Expires time.Time
	// Workspace, Read and Write are what the session may do, as long as the policy stays as it is.
	Workspace cache.Workspace
	Read      []cache.Scope
	Write     cache.Scope
	// Rule names what the policy decided by.
	Rule string
	// Producer is whose session it is.
	Producer cache.Producer
}

// Exchange takes a CI's identity token and gives a session for what the policy grants to it, in the named workspace or, if none is named,
// in the only one that has rules for it. A token is exchanged once. The session lasts for ttl, or for the workspace's default if ttl is not
// positive, and never longer than the workspace's maximum. It may outlive the identity token, which a CI gives for minutes.
//
// Its errors are [*DeniedError].
func (a *Authenticator) Exchange(ctx context.Context, credential string, named cache.Workspace, ttl time.Duration) (Issued, error) {
	switch kind := kindOf(credential); {
	case credential == "":
		return Issued{}, &DeniedError{Err: ErrNoCredential, Reason: "no identity token was sent: send the CI's as the bearer"}
	case len(credential) > MaxCredential:
		return Issued{}, tooLong()
	case kind == staticToken || kind == adminToken || kind == sessionToken:
		return Issued{}, malformed("only the identity token of a CI is exchanged: a token of bezoar is a credential as it is")
	case kind != identityToken:
		return Issued{}, malformed("this is no identity token of a CI: those are JWTs, which begin with eyJ")
	}
	s := a.current.Load()
	if s.rules == nil {
		return Issued{}, noPolicy()
	}
	token, err := a.verify(ctx, credential)
	if err != nil {
		return Issued{}, err
	}
	d := decide(s.rules, policy.Identity{Issuer: token.Issuer, Claims: token.Claims}, named)
	if err := s.allowed(&d); err != nil {
		return Issued{}, err
	}
	now := a.now()
	if !now.Before(token.Expires) {
		return Issued{}, denied(ErrExpired, d.Grant.Producer, "the identity token has expired: ask the CI for a new one")
	}
	fresh := newSession(s.rules, token.Issuer, &d, now, ttl)
	// The token is signed before the identity is used up, and given out only after that: what fails here can be tried again.
	text, err := session.Mint(a.keys, fresh)
	if err != nil {
		return Issued{}, unmintable(err, d.Grant.Producer)
	}
	if err := a.useUp(ctx, token.ID, token.Expires.Add(usedSkew), d.Grant); err != nil {
		return Issued{}, err
	}
	return Issued{
		Token: text, ID: fresh.ID, Expires: fresh.Expires,
		Workspace: fresh.Grant.Workspace, Read: fresh.Grant.Read, Write: fresh.Grant.Write, Rule: fresh.Rule, Producer: fresh.Grant.Producer,
	}, nil
}

func newSession(r rules, issuer string, d *policy.Decision, now time.Time, ttl time.Duration) *session.Session {
	settings, _ := r.Settings(d.Grant.Workspace)
	if ttl <= 0 {
		ttl = settings.SessionTTL
	}
	issued := now.UTC().Truncate(time.Second) // as the token keeps it
	s := &session.Session{
		ID: session.NewID(), Grant: d.Grant, Issuer: issuer, Claims: maps.Clone(d.Claims), Policy: r.Fingerprint(), Rule: d.Rule,
		Issued: issued, Expires: issued.Add(min(ttl, settings.SessionMax)).Truncate(time.Second),
	}
	s.Grant.Producer.Session = s.ID
	if s.Claims == nil {
		s.Claims = map[string]any{}
	}
	s.Claims[audienceClaim] = r.Audience() // the one that the token was verified for, and no claim that a policy looks at
	return s
}

// useUp notes in the ledger that an identity token was exchanged. A ledger that cannot say so lets nobody in.
func (a *Authenticator) useUp(ctx context.Context, id string, until time.Time, grant cache.Grant) error {
	who := grant.Producer
	if a.uses == nil {
		return denied(ErrLedger, who, "this server issues no sessions: it has no ledger to note the exchange in")
	}
	ctx, cancel := context.WithTimeout(ctx, useTimeout)
	defer cancel()
	if grant.Write != cache.Trusted {
		select {
		case a.others <- struct{}{}:
			defer func() { <-a.others }()
		case <-ctx.Done():
			return denied(ErrLedger, who, "no session can be issued now, since too many are asked for at once: try again")
		}
	}
	err := a.uses.UseOnce(ctx, id, until)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrReplayed):
		return denied(ErrReplayed, who, "the identity token was exchanged before, which can be done once: ask the CI for a new one. "+
			"If nobody of yours did it, somebody has read the token")
	}
	a.log.Warn("a session was refused: the ledger could not note the exchange", "error", err)
	return denied(ErrLedger, who, "no session can be issued now, since the server's ledger is in trouble: its operator finds the cause in its log")
}

func unmintable(err error, who cache.Producer) *DeniedError {
	switch {
	case errors.Is(err, session.ErrNoKeys):
		return denied(ErrNotAllowed, who, "this server issues no sessions: it has no key to sign them with (--seal-key-file)")
	case errors.Is(err, session.ErrTooLarge):
		return denied(ErrNotAllowed, who, fmt.Sprintf("no session: %v", err))
	}
	return denied(ErrNotAllowed, who, "no session can be made of what the policy grants: "+err.Error())
}
