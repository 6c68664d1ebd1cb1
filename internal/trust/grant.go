package trust

import (
	"context"
	"fmt"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Grant judges a request by its Authorization header, empty if it has none, and by the workspace that its path names, empty if it
// names none. The credential and the policy alone decide the scopes: the named workspace can but choose among those that the credential
// is for. A header that is sent to an open server is ignored. What the grant refers to may be kept but not changed.
//
// Its errors are [*DeniedError]. It waits for nothing but, for a well-formed static token that is not known, up to [UnknownWait] for the next
// look at the source, so that a token that was made a moment ago works at once; and for an identity token, as long as [Verifier] does.
func (a *Authenticator) Grant(ctx context.Context, authorization string, named cache.Workspace) (cache.Grant, error) {
	return a.judge(ctx, authorization, named, true)
}

// Valid judges again what [Authenticator.Grant] was asked, and says whether the same workspace and the same scope to write would still be
// granted: not revoked or expired meanwhile, not narrowed by another policy, and no longer open if it was anonymous. An upload asks right before
// it is committed. Its errors are [*DeniedError].
func (a *Authenticator) Valid(ctx context.Context, authorization string, named cache.Workspace, grant cache.Grant) error {
	now, err := a.judge(ctx, authorization, named, false)
	switch {
	case err != nil:
		return err
	case grant.Producer.Kind == ProducerAnonymous && now.Write != grant.Write:
		return noCredential()
	case now.Workspace != grant.Workspace || now.Write != grant.Write:
		return denied(ErrNotAllowed, now.Producer, "the policy changed while the upload was under way and no longer allows it")
	}
	return nil
}

// judge looks at one request. A patient one waits for a token that may have been made a moment ago.
func (a *Authenticator) judge(ctx context.Context, authorization string, named cache.Workspace, patient bool) (cache.Grant, error) {
	s := a.current.Load()
	if !s.closed {
		return openGrant(named)
	}
	credential, err := ParseAuthorization(authorization)
	if err != nil {
		return cache.Grant{}, err
	}
	if credential == "" {
		return s.publicGrant(named)
	}
	if len(credential) > MaxCredential {
		return cache.Grant{}, tooLong()
	}
	switch kindOf(credential) {
	case staticToken:
		return a.staticGrant(ctx, credential, named, patient)
	case adminToken:
		return cache.Grant{}, malformed("this is a token of the API of operators, and no credential for the cache: " +
			"give builds one of their own, and revoke this one if others could read it here")
	case sessionToken:
		return a.sessionGrant(s, credential, named)
	case identityToken:
		return a.identityGrant(ctx, s, credential, named)
	}
	return cache.Grant{}, malformed("this is no token of bezoar: those begin with " + TokenPrefix + ", or for sessions with " + SessionPrefix)
}

// openGrant is the grant of an open server.
func openGrant(named cache.Workspace) (cache.Grant, error) {
	if named != "" && named != cache.DefaultWorkspace {
		return cache.Grant{}, &DeniedError{Err: ErrOtherWorkspace, Reason: fmt.Sprintf(
			"without a token there is only the workspace %s, not %s, which the address names", cache.DefaultWorkspace, named)}
	}
	return cache.Grant{
		Workspace: cache.DefaultWorkspace,
		Read:      []cache.Scope{cache.Trusted},
		Write:     cache.Trusted,
		Producer:  cache.Producer{Kind: ProducerAnonymous},
	}, nil
}

// publicGrant is the grant of a request without a credential: it reads, where the policy opens the named workspace to everybody.
func (s *snapshot) publicGrant(named cache.Workspace) (cache.Grant, error) {
	if s.rules != nil && named != "" {
		if settings, ok := s.rules.Settings(named); ok && settings.PublicRead {
			return cache.Grant{
				Workspace: named,
				Read:      []cache.Scope{cache.Trusted},
				Producer:  cache.Producer{Kind: ProducerAnonymous},
			}, nil
		}
	}
	return cache.Grant{}, noCredential()
}

// staticGrant is the grant of a static token.
func (a *Authenticator) staticGrant(ctx context.Context, credential string, named cache.Workspace, patient bool) (cache.Grant, error) {
	hash, err := ParseToken(credential)
	if err != nil {
		return cache.Grant{}, err
	}
	s, t := a.findPatiently(ctx, hash, patient)
	if t == nil || t.Role != "" {
		return cache.Grant{}, unknown()
	}
	if err := judge(t, named, a.now()); err != nil {
		return cache.Grant{}, err
	}
	return s.grantOf(t), nil
}

// findPatiently looks a token up, and if it is patient, once more after the next look at the source.
func (a *Authenticator) findPatiently(ctx context.Context, hash TokenHash, patient bool) (*snapshot, *Token) {
	s := a.current.Load()
	t := s.find(hash)
	if t == nil && patient {
		a.refresher.wait(ctx)
		s = a.current.Load()
		t = s.find(hash)
	}
	return s, t
}
