package trust

import (
	"context"
	"errors"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// ErrWrongKind is for a credential of another kind than the API of operators takes: a token of the cache, or one of a CI.
var ErrWrongKind = errors.New("credential of another kind")

// Administrator is who uses the API of operators.
type Administrator struct {
	Role Role
	// Workspace is the only one that may be seen; empty: all may.
	Workspace cache.Workspace
	// TokenID and TokenName are those of the token.
	TokenID, TokenName string
}

// Administrator judges a request to the API of operators by its Authorization header. A token of the cache is none of that API's, and one of that API is none
// of the cache's: they differ in their form, and in what is recorded of them. Like [Authenticator.Grant], it asks nothing but what is in memory, and
// waits for a token that may have been made a moment ago. Its errors are [*DeniedError].
func (a *Authenticator) Administrator(ctx context.Context, authorization string) (Administrator, error) {
	credential, err := ParseAuthorization(authorization)
	switch {
	case err != nil:
		return Administrator{}, err
	case credential == "":
		return Administrator{}, &DeniedError{Err: ErrNoCredential,
			Reason: `no token was sent: put one into the header, "Authorization: Bearer TOKEN"; 'bezoar token create --role' makes them`}
	case len(credential) > MaxCredential:
		return Administrator{}, tooLong()
	}
	switch kindOf(credential) {
	case adminToken:
	case staticToken, sessionToken, identityToken:
		return Administrator{}, &DeniedError{Err: ErrWrongKind, Reason: "this is a credential for the cache, and none for the API of operators, whose tokens begin with " + AdminPrefix}
	default:
		return Administrator{}, malformed("this is no token of the API of operators: those begin with " + AdminPrefix)
	}
	hash, err := ParseToken(credential)
	if err != nil {
		return Administrator{}, err
	}
	_, t := a.findPatiently(ctx, hash, true)
	if t == nil || t.Role.rank() == 0 {
		return Administrator{}, unknown()
	}
	if err := judge(t, "", a.now()); err != nil {
		return Administrator{}, err
	}
	return Administrator{Role: t.Role, Workspace: t.Workspace, TokenID: t.ID, TokenName: t.Name}, nil
}
