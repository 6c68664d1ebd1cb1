package trust

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
	"github.com/bezoar-cache/bezoar/internal/trust/session"
)

// heldSession is a session whose token was verified. The keys that verify are the same as long as the process lives.
type heldSession struct {
	session.Session
	verdict atomic.Pointer[sessionVerdict]
}

// sessionVerdict is what a session is worth under the rules of one policy. Under others it is judged anew.
type sessionVerdict struct {
	rules   rules
	grant   cache.Grant
	expires time.Time
	reason  string // why there is no grant, else empty
}

// sessionGrant is the grant of a session token. It asks nobody: a server that shares the keys knows the session although it never saw it,
// and although the ledger is gone.
func (a *Authenticator) sessionGrant(s *snapshot, credential string, named cache.Workspace) (cache.Grant, error) {
	key := keyOf(credential)
	held, ok := a.sessions.get(key)
	if !ok {
		parsed, err := session.Parse(a.keys, credential)
		if err != nil {
			return cache.Grant{}, unreadable(err)
		}
		held = &heldSession{Session: *parsed}
		a.sessions.put(key, held)
	}
	who := held.Grant.Producer
	if r := s.revocations.of(who, held.Grant.Workspace); r != nil {
		return cache.Grant{}, revokedIdentity(r, who)
	}
	verdict := held.under(s.rules)
	switch {
	case !a.now().Before(verdict.expires):
		return cache.Grant{}, denied(ErrExpired, who, fmt.Sprintf("the session %s expired on %s: exchange a new identity token of the CI for another one",
			held.ID, verdict.expires.Format(time.RFC3339)))
	case named != "" && named != held.Grant.Workspace:
		return cache.Grant{}, denied(ErrOtherWorkspace, who, fmt.Sprintf("the session %s is for workspace %s, not for %s, which the address names",
			held.ID, held.Grant.Workspace, named))
	case verdict.reason != "":
		return cache.Grant{}, denied(ErrNotAllowed, who, verdict.reason)
	}
	return verdict.grant, nil
}

// under judges the session by r, once for all requests under r.
func (h *heldSession) under(r rules) *sessionVerdict {
	if v := h.verdict.Load(); v != nil && v.rules == r {
		return v
	}
	v := rejudge(&h.Session, r)
	v.rules = r
	h.verdict.Store(v)
	return v
}

// rejudge says what a session may do under r: what was granted when it was issued, or, under another policy than that one, what both
// policies grant. A narrower policy narrows sessions that run; a wider one is for new sessions.
func rejudge(s *session.Session, r rules) *sessionVerdict {
	v := &sessionVerdict{grant: s.Grant, expires: s.Expires}
	if r == nil {
		v.reason = "this server has no policy any more, by which a session could be judged"
		return v
	}
	if r.Fingerprint() == s.Policy {
		return v
	}
	if s.Claims[audienceClaim] != any(r.Audience()) {
		v.reason = "the policy changed since the session was issued: identities are to have another audience now"
		return v
	}
	d := decide(r, policy.Identity{Issuer: s.Issuer, Claims: s.Claims}, s.Grant.Workspace)
	if !d.Allowed {
		v.reason = "the policy changed since the session was issued and gives it nothing now: " + d.Reason
		return v
	}
	v.grant = intersect(s.Grant, d.Grant)
	settings, _ := r.Settings(s.Grant.Workspace)
	if longest := s.Issued.Add(settings.SessionMax); longest.Before(v.expires) {
		v.expires = longest
	}
	return v
}

// audienceClaim is that of the token which a session was given for.
const audienceClaim = "aud"

// unreadable says why a session token cannot be read.
func unreadable(err error) *DeniedError {
	switch {
	case errors.Is(err, session.ErrUnknownKey):
		// It may be authentic: a key that is replaced in a hurry must not turn every running build red.
		return &DeniedError{Err: ErrNotAllowed, Reason: "the session token was signed with a key that this server does not have: it comes from another server, " +
			"or replicas were started with different --seal-key-file, or the key was removed before its sessions had ended"}
	case errors.Is(err, session.ErrForged):
		return &DeniedError{Err: ErrForged, Reason: "the session token was changed or is forged: its signature does not fit"}
	case errors.Is(err, session.ErrVersion):
		// Authentic: a build must not break because replicas are upgraded one after the other.
		return &DeniedError{Err: ErrNotAllowed, Reason: "the session was issued by another release of bezoar, which this one does not understand: " +
			"run the same release everywhere, or exchange a new identity token"}
	}
	return malformed("the session token is not whole: it was cut, or something was pasted to it")
}
