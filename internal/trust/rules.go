package trust

import (
	"slices"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// rules is what is asked of a policy: a [*policy.Policy], or nil if there is none.
type rules interface {
	Fingerprint() string
	Audience() string
	Workspaces() []cache.Workspace
	Settings(cache.Workspace) (policy.Settings, bool)
	Judge(policy.Identity, cache.Workspace) policy.Decision
}

func rulesOf(p *policy.Policy) rules {
	if p == nil {
		return nil // and no interface that holds a nil
	}
	return p
}

// decide asks the rules, and takes no answer that contradicts what was asked or what a scope can be.
func decide(r rules, id policy.Identity, named cache.Workspace) policy.Decision {
	d := r.Judge(id, named)
	d.Grant.Producer.Kind, d.Grant.Producer.Issuer = ProducerCI, id.Issuer
	if !d.Allowed {
		return d
	}
	if named != "" && d.Grant.Workspace != named {
		d.Allowed, d.Reason = false, "the identity has no rights in the workspace that the address names"
	}
	for _, scope := range append(slices.Clone(d.Grant.Read), d.Grant.Write) {
		if _, err := cache.ParseScope(string(scope)); scope != "" && err != nil {
			d.Allowed, d.Reason = false, "its ref or run cannot be the name of a scope: "+err.Error()
		}
	}
	return d
}

// intersect is what both grants allow, in the order and with the producer of the first.
func intersect(issued, judged cache.Grant) cache.Grant {
	g := cache.Grant{Workspace: issued.Workspace, Producer: issued.Producer}
	for _, scope := range issued.Read {
		if slices.Contains(judged.Read, scope) {
			g.Read = append(g.Read, scope)
		}
	}
	if issued.Write == judged.Write {
		g.Write = issued.Write
	}
	return g
}
