package trust

import (
	"fmt"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Access is what a token may do in its workspace.
type Access string

// The kinds of access, from the least to the most.
const (
	// Read sees trusted entries and writes nothing.
	Read Access = "read"
	// Isolated sees trusted entries and its own, and writes its own, which nobody else sees.
	Isolated Access = "isolated"
	// Trusted reads and writes what every other token of the workspace sees.
	Trusted Access = "trusted"
)

// ParseAccess checks the name of an access.
func ParseAccess(s string) (Access, error) {
	if a := Access(s); a.rank() > 0 {
		return a, nil
	}
	return "", fmt.Errorf("%q is no access: it is %s, %s or %s", s, Read, Isolated, Trusted)
}

// rank orders accesses; 0 is none of them.
func (a Access) rank() int {
	switch a {
	case Read:
		return 1
	case Isolated:
		return 2
	case Trusted:
		return 3
	}
	return 0
}

// scopes returns what a bearer reads, in order, and writes; own is the scope that is his alone. An unknown access gives nothing.
func (a Access) scopes(own cache.Scope) (read []cache.Scope, write cache.Scope) {
	switch a {
	case Read:
		return []cache.Scope{cache.Trusted}, ""
	case Isolated:
		return []cache.Scope{cache.Trusted, own}, own
	case Trusted:
		return []cache.Scope{cache.Trusted}, cache.Trusted
	}
	return nil, ""
}
