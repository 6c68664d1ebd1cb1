package trust

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// MaxTokenName bounds the name of a token, in characters.
const MaxTokenName = 64

// Token is a static token, as it is kept: without its text.
type Token struct {
	// ID is Hash.ID().
	ID string
	// Name tells people what the token is for; see [ParseTokenName].
	Name string
	// Workspace is the only one that the token is good for. A token with a role may have none: it is good for the whole server.
	Workspace cache.Workspace
	// Access is what it may do there with the cache, nothing if it has a role.
	Access Access
	// Role is what it may do at the API of operators, nothing if it has an access.
	Role Role
	// Developer is whose token it is, if it is a person's; see [ParseDeveloper]. Such a token is isolated, and writes dev/<name>, which all
	// tokens of that person in the workspace share, instead of a scope of its own.
	Developer string
	// Hash is that of its text.
	Hash TokenHash
	// Created, Expires and Revoked are in UTC. The zero time is: not known, never, and not revoked.
	Created, Expires, Revoked time.Time
}

// State is what a token is worth at a time.
type State string

// The states of a token. Revoked outweighs expired: a build goes on without cache after an expiry, a revocation is meant to be seen.
const (
	Active  State = "active"
	Expired State = "expired"
	Revoked State = "revoked"
)

// State tells what the token is worth. It has expired from the very instant of Expires.
func (t *Token) State(now time.Time) State {
	switch {
	case !t.Revoked.IsZero():
		return Revoked
	case !t.Expires.IsZero() && !now.Before(t.Expires):
		return Expired
	}
	return Active
}

// Grant is what the bearer of the token may do while it is active.
func (t *Token) Grant() cache.Grant {
	own := cache.Scope("token/" + t.ID)
	if t.Developer != "" {
		own = cache.Scope("dev/" + t.Developer)
	}
	read, write := t.Access.scopes(own)
	return cache.Grant{Workspace: t.Workspace, Read: read, Write: write, Producer: t.producer()}
}

func (t *Token) producer() cache.Producer {
	return cache.Producer{Kind: ProducerToken, TokenID: t.ID, TokenName: t.Name, Developer: t.Developer}
}

// Validate checks what comes from a person or a file.
func (t *Token) Validate() error {
	if t.Hash == (TokenHash{}) {
		return errors.New("a token without a hash")
	}
	if t.ID != t.Hash.ID() {
		return fmt.Errorf("the token's id %q does not belong to its hash, whose id is %s", t.ID, t.Hash.ID())
	}
	if _, err := ParseTokenName(t.Name); err != nil {
		return err
	}
	if t.Role != "" {
		return t.validateRole()
	}
	if _, err := cache.ParseWorkspace(string(t.Workspace)); err != nil {
		return err
	}
	if _, err := ParseAccess(string(t.Access)); err != nil {
		return err
	}
	if t.Developer == "" {
		return nil
	}
	if _, err := ParseDeveloper(t.Developer); err != nil {
		return err
	}
	if t.Access != Isolated {
		return fmt.Errorf("the token of a developer has access %s, not %s: it writes what that person's machines alone read", Isolated, t.Access)
	}
	return nil
}

// ParseTokenName checks a token's name: 1 to [MaxTokenName] of A-Z, a-z, 0-9 and ". _ - @", the first a letter or a digit, not to be
// mistaken for a token's id and without a token in it.
func ParseTokenName(s string) (string, error) {
	if s == "" {
		return "", errors.New("a token needs a name that tells what it is for")
	}
	return parseName("token", s)
}

// ParseDeveloper checks the name of a developer, for which the rules of [ParseTokenName] hold.
func ParseDeveloper(s string) (string, error) {
	if s == "" {
		return "", errors.New("a developer needs a name")
	}
	return parseName("developer", s)
}

func parseName(of, s string) (string, error) {
	switch {
	case HoldsToken(s):
		// Somebody pasted a secret into the wrong place: it goes nowhere, this text included.
		return "", fmt.Errorf("the name of a %s must not contain %s, %s or %s: names are shown and logged", of, TokenPrefix, AdminPrefix, SessionPrefix)
	case len(s) > MaxTokenName:
		return "", fmt.Errorf("the name of a %s has at most %d characters, this one has %d", of, MaxTokenName, len(s))
	case looksLikeID(s):
		return "", fmt.Errorf("the name %s looks like the id of a token: choose one that does not", s)
	}
	for i := range len(s) {
		if !isBase62(s[i]) && (i == 0 || !strings.Contains("._-@", s[i:i+1])) {
			return "", fmt.Errorf("the name of a %s has letters, digits and . _ - @ only and begins with a letter or a digit", of)
		}
	}
	return s, nil
}
