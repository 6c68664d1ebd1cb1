// Package session makes and reads session tokens: what a CI's job presents after its identity was judged once. Any server that has the
// same keys reads them, without asking anybody.
package session

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// The form of a token: the prefix, by which people and scanners recognise it, and a JWS in its compact form (RFC 7515, section 7.1).
const (
	// Prefix begins every session token.
	Prefix = "bzs_"
	// Pattern is the regular expression for secret scanners.
	Pattern = `\bbzs_eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{43}`
	// MaxSize bounds a session token, in bytes.
	MaxSize = 8 << 10
)

// Why a session token is not made or not read. The errors repeat nothing of the token.
var (
	// ErrMalformed is for what has not the form of a session token: it was cut, or something was pasted to it.
	ErrMalformed = errors.New("malformed session token")
	// ErrForged is for a token that was changed, or signed with another key than the one it names.
	ErrForged = errors.New("the session token was not signed by this server")
	// ErrUnknownKey is for a token that names a key that is not among the given ones, so that nothing can be said of it.
	ErrUnknownKey = errors.New("the session token names a key that this server does not have")
	// ErrVersion is for an authentic token of another release.
	ErrVersion = errors.New("the session token is of another release")
	// ErrNoKeys says that there is no key to sign with.
	ErrNoKeys = errors.New("there is no key to sign session tokens with")
	// ErrTooLarge says that a token would be larger than [MaxSize].
	ErrTooLarge = errors.New("the identity has too many or too long claims for a session token")
)

// Session is what a token says.
type Session struct {
	// ID names the session in lists, logs and revocations. It is no secret.
	ID string
	// Grant is what was granted when it was issued. Its Producer.Session is ID.
	Grant cache.Grant
	// Issuer vouched for the identity; Claims are those by which it is judged again, numbers as [encoding/json.Number].
	Issuer string
	Claims map[string]any
	// Policy is the fingerprint of the policy that granted, Rule the name of its rule.
	Policy, Rule string
	// Issued and Expires are kept to the second, in UTC. From the very instant of Expires on the session is over.
	Issued, Expires time.Time
}

// NewID makes the id of a session: 128 random bits as 32 hexadecimal digits.
func NewID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails: it ends the process instead
	return hex.EncodeToString(id[:])
}

// IsID says whether s has the form of a session's id.
func IsID(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 16 && hex.EncodeToString(b) == s
}
