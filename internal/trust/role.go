package trust

import (
	"errors"
	"fmt"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Role is what a token may do at the API of operators. Each role may do what those before it may.
type Role string

// The roles, from the least to the most.
const (
	// Viewer sees records and changes nothing.
	Viewer Role = "viewer"
	// Operator does what is routine or can be undone.
	Operator Role = "operator"
	// Admin does the rest: makes tokens, lifts revocations, deletes what is trusted.
	Admin Role = "admin"
)

// ParseRole checks the name of a role.
func ParseRole(s string) (Role, error) {
	if r := Role(s); r.rank() > 0 {
		return r, nil
	}
	return "", fmt.Errorf("%q is no role: it is %s, %s or %s", s, Viewer, Operator, Admin)
}

// rank orders roles; 0 is none of them.
func (r Role) rank() int {
	switch r {
	case Viewer:
		return 1
	case Operator:
		return 2
	case Admin:
		return 3
	}
	return 0
}

// May says whether the role may do what the needed one may. What needs no known role, nobody may.
func (r Role) May(needed Role) bool { return needed.rank() > 0 && r.rank() >= needed.rank() }

// validateRole checks a token that has a role.
func (t *Token) validateRole() error {
	if _, err := ParseRole(string(t.Role)); err != nil {
		return err
	}
	if t.Access != "" || t.Developer != "" {
		return errors.New("a token with a role is of the API of operators alone: it has no access to the cache, and is no developer's")
	}
	if t.Workspace == "" {
		return nil
	}
	_, err := cache.ParseWorkspace(string(t.Workspace))
	return err
}
