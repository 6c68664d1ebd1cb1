package trust

import (
	"cmp"
	"crypto/subtle"
	"fmt"
	"slices"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// snapshot is all that a request is judged by. It never changes once it is in force, so that requests share it without a lock.
type snapshot struct {
	// closed says that there is or was a token or a policy. There is no way back: revoking the last token, or removing the policy, must not
	// throw the doors open.
	closed      bool
	byHash      map[TokenHash]*Token
	revocations revocationIndex
	rules       rules             // nil: there is no policy
	own         []cache.Workspace // known without the policy
	workspaces  []cache.Workspace // known, sorted
}

// newSnapshot joins the fixed tokens with the recorded ones.
func newSnapshot(fixed []Token, recorded records, workspaces []cache.Workspace) *snapshot {
	s := &snapshot{
		closed:      len(fixed)+len(recorded.tokens) > 0,
		byHash:      make(map[TokenHash]*Token, len(fixed)+len(recorded.tokens)),
		revocations: newRevocationIndex(recorded.revocations),
	}
	s.own = append(slices.Clone(workspaces), cache.DefaultWorkspace)
	for _, tokens := range [][]Token{fixed, recorded.tokens} {
		for _, t := range tokens {
			if other := s.byHash[t.Hash]; other != nil {
				t = narrower(*other, t)
			}
			s.byHash[t.Hash] = &t
			if t.Workspace != "" {
				s.own = append(s.own, t.Workspace)
			}
		}
	}
	s.workspaces = union(s.own)
	return s
}

// under is the snapshot with other rules. It is closed if old was; old may be nil.
func (s *snapshot) under(r rules, old *snapshot) *snapshot {
	next := *s
	next.rules = r
	next.closed = s.closed || r != nil || old != nil && old.closed
	next.workspaces = union(s.own)
	if r != nil {
		next.workspaces = union(append(next.workspaces, r.Workspaces()...))
	}
	return &next
}

// union sorts names and leaves each there once, without changing the slice that it is given.
func union(names []cache.Workspace) []cache.Workspace {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// grantOf is what the bearer of an active token may do. The policy may say that developers do less.
func (s *snapshot) grantOf(t *Token) cache.Grant {
	g := t.Grant()
	if t.Developer == "" || s.rules == nil {
		return g
	}
	settings, ok := s.rules.Settings(t.Workspace)
	if !ok {
		return g
	}
	g.Read = slices.DeleteFunc(g.Read, func(scope cache.Scope) bool {
		return scope == cache.Trusted && !settings.DevelopersRead || scope != cache.Trusted && !settings.DevelopersWrite
	})
	if !settings.DevelopersWrite {
		g.Write = ""
	}
	return g
}

// narrower joins two statements on one token: a fixed one and a recorded one. It may do what both allow, so that a revocation
// holds although the configuration still lists the token. Their workspaces and developers are the same; see [NewAuthenticator].
func narrower(fixed, recorded Token) Token {
	if fixed.Role != recorded.Role {
		recorded.Access, recorded.Role = "", "" // the one is of the cache, the other is not: both allow nothing
	}
	if fixed.Access.rank() < recorded.Access.rank() {
		recorded.Access = fixed.Access
	}
	if recorded.Expires.IsZero() || !fixed.Expires.IsZero() && fixed.Expires.Before(recorded.Expires) {
		recorded.Expires = fixed.Expires
	}
	return recorded
}

// find looks a token up. The map is keyed by a hash that nobody can steer towards another, and so the time that a look-up takes
// tells nothing of the tokens in it; the comparison does not either.
func (s *snapshot) find(hash TokenHash) *Token {
	t := s.byHash[hash]
	if t == nil || subtle.ConstantTimeCompare(t.Hash[:], hash[:]) != 1 {
		return nil
	}
	return t
}

// judge says what speaks against using t for the workspace that a request names; none is named if it is empty.
func judge(t *Token, named cache.Workspace, now time.Time) error {
	switch t.State(now) {
	case Revoked:
		return revoked(t)
	case Expired:
		return expired(t)
	}
	if named != "" && named != t.Workspace {
		return otherWorkspace(t, named)
	}
	return nil
}

// checkFixed refuses fixed tokens that are wrong in themselves, or contradict each other or the recorded ones.
func checkFixed(fixed, recorded []Token) error {
	seen := make(map[TokenHash]bool, len(fixed))
	for i := range fixed {
		t := &fixed[i]
		if err := t.Validate(); err != nil {
			return fmt.Errorf("token %s of the configuration: %w", cmp.Or(t.Name, t.ID), err)
		}
		if seen[t.Hash] {
			return fmt.Errorf("token %s is listed twice in the configuration", t.ID)
		}
		seen[t.Hash] = true
		for j := range recorded {
			switch r := &recorded[j]; {
			case r.Hash != t.Hash:
			case r.Role != "":
				return fmt.Errorf("token %s is of the API of operators, by the ledger: take it out of the configuration, whose tokens are of the cache", t.ID)
			case r.Workspace != t.Workspace:
				return fmt.Errorf("token %s is for workspace %s in the configuration and for %s in the ledger: correct the configuration",
					t.ID, t.Workspace, r.Workspace)
			case r.Developer != t.Developer:
				return fmt.Errorf("token %s is of developer %q in the configuration and of %q in the ledger: correct the configuration",
					t.ID, t.Developer, r.Developer)
			}
		}
	}
	return nil
}
