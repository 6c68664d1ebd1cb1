package trust

import (
	"fmt"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/trust/session"
)

// Bounds of what is presented, in bytes. What is longer is malformed and not looked at.
const (
	MaxCredential = 8 << 10
	// MaxAuthorization bounds an Authorization header: a credential, the scheme and some blanks.
	MaxAuthorization = MaxCredential + 64
)

// SessionPrefix begins every session token.
const SessionPrefix = session.Prefix

// HoldsToken says that a text that should be something else has a token of bezoar in it, and must be shown nowhere.
func HoldsToken(text string) bool {
	return strings.Contains(text, TokenPrefix) || strings.Contains(text, AdminPrefix) || strings.Contains(text, SessionPrefix)
}

// credentialKind tells credentials apart by their form alone.
type credentialKind int

const (
	unknownForm   credentialKind = iota
	staticToken                  // bzr_…, see [ParseToken]
	adminToken                   // bza_…, the same for the API of operators
	sessionToken                 // bzs_…, see [session.Parse]
	identityToken                // a JWT (RFC 7519, section 3): the CI's own
)

func kindOf(credential string) credentialKind {
	switch {
	case strings.HasPrefix(credential, TokenPrefix):
		return staticToken
	case strings.HasPrefix(credential, AdminPrefix):
		return adminToken
	case strings.HasPrefix(credential, session.Prefix):
		return sessionToken
	case strings.HasPrefix(credential, "eyJ") && strings.Count(credential, ".") == 2: // base64 of an object's beginning
		return identityToken
	}
	return unknownForm
}

// ParseAuthorization finds the credential in an Authorization header (RFC 9110, section 11.6.2; RFC 6750, section 2.1). The scheme's case does
// not matter, nor do blanks around the credential, which is empty if there is none. Its errors are [*DeniedError] for [ErrMalformed].
func ParseAuthorization(header string) (credential string, err error) {
	if len(header) > MaxAuthorization {
		return "", malformed(fmt.Sprintf("the Authorization header is longer than %d bytes", MaxAuthorization))
	}
	const blanks = " \t"
	scheme := strings.Trim(header, blanks)
	if i := strings.IndexAny(scheme, blanks); i >= 0 {
		scheme, credential = scheme[:i], strings.TrimLeft(scheme[i:], blanks)
	}
	if scheme != "" && !strings.EqualFold(scheme, "Bearer") {
		return "", malformed("the Authorization header must be the word Bearer, a blank and a token")
	}
	return credential, nil
}

func tooLong() *DeniedError {
	return malformed(fmt.Sprintf("the token is longer than %d bytes", MaxCredential))
}
