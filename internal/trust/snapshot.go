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
	// closed says that there is or was a token. There is no way back: revoking the last one must not throw the doors open.
	closed     bool
	byHash     map[TokenHash]*Token
	byID       map[string]*Token
	workspaces []cache.Workspace
}

// newSnapshot joins the fixed tokens with the recorded ones.
func newSnapshot(fixed, recorded []Token, workspaces []cache.Workspace, closed bool) *snapshot {
	s := &snapshot{
		closed: closed || len(fixed)+len(recorded) > 0,
		byHash: make(map[TokenHash]*Token, len(fixed)+len(recorded)),
		byID:   make(map[string]*Token, len(fixed)+len(recorded)),
	}
	s.workspaces = append(slices.Clone(workspaces), cache.DefaultWorkspace)
	for _, tokens := range [][]Token{fixed, recorded} {
		for _, t := range tokens {
			if other := s.byHash[t.Hash]; other != nil {
				t = narrower(*other, t)
			}
			s.byHash[t.Hash], s.byID[t.ID] = &t, &t
			s.workspaces = append(s.workspaces, t.Workspace)
		}
	}
	slices.Sort(s.workspaces)
	s.workspaces = slices.Compact(s.workspaces)
	return s
}

// narrower joins two statements on one token: a fixed one and a recorded one. It may do what both allow, so that a revocation
// holds although the configuration still lists the token. Their workspaces are the same; see [NewAuthenticator].
func narrower(fixed, recorded Token) Token {
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
			if r := &recorded[j]; r.Hash == t.Hash && r.Workspace != t.Workspace {
				return fmt.Errorf("token %s is for workspace %s in the configuration and for %s in the ledger: correct the configuration",
					t.ID, t.Workspace, r.Workspace)
			}
		}
	}
	return nil
}
