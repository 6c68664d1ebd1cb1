package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Identity is what a verified token says.
type Identity struct {
	Issuer string
	// Claims as encoding/json decodes them, numbers as [encoding/json.Number].
	Claims map[string]any
}

// Decision is what the policy says to an identity.
type Decision struct {
	// Allowed says that there is a grant. Without it, Reason says why, and of Grant there is the producer alone.
	Allowed bool
	Grant   cache.Grant
	// Provider is that of the rule that decided.
	Provider Provider
	// Bearer says that the CI's token itself may serve as the bearer.
	Bearer bool
	// Rule names the row that decided, such as "github push, trusted branch".
	Rule string
	// Reason says in a sentence why there is this grant or none. It is printable ASCII.
	Reason string
	// Conditions are all that were looked at, in order. Those of rows that do not apply are among them: they say why not.
	Conditions []Condition
	// Claims are those that were looked at or recorded: all that a session has to carry to be judged again. Each is a text of at
	// most 1 KiB, a number or a boolean, or an object of such.
	Claims map[string]any
}

// provider is a block of the policy.
type provider interface {
	kind() Provider
	from() Issuer
	where() place
	// share says whether the workspace has other blocks, with own scopes that must be told apart.
	share(shared bool)
	// collides says why there must not be other in the same workspace, nil if there may.
	collides(other provider) *flaw
	check(d *decoder)
	warn(warn func(key, what string))
	// owns looks whether the token is of this block: whose it is, not what it may do.
	owns(l *look) bool
	// producer fills in the record.
	producer(l *look, p *cache.Producer)
	// judge finds the row that applies.
	judge(l *look) verdict
	// foreign names the row of tokens that no block owns.
	foreign() string
}

// access is what a row gives.
type access int

const (
	none access = iota
	trusted
	isolated // reads trusted entries, then its own
	ownOnly
	readOnly
	bypass
)

// verdict is what a row says.
type verdict struct {
	access access
	own    string // the own scope, for isolated and ownOnly
	reason string
}

// Values of choices.
const (
	modeIsolated = "isolated"
	modeReadOnly = "read-only"
	modeOff      = "off"
	modeTrusted  = "trusted"
	publicRead   = "public-read"
)

// by gives what the policy says to a row that has a choice.
func by(mode choice, field, own, what string) verdict {
	switch mode {
	case modeReadOnly:
		return verdict{readOnly, "", what + ": reads trusted entries and writes none, because the policy has " + field + ": read-only"}
	case modeOff:
		return verdict{none, "", what + ": the policy has " + field + ": off"}
	}
	return verdict{isolated, own, what + ": reads trusted entries and its own, and writes its own"}
}

func release(mode choice) verdict {
	if mode == "read" {
		return verdict{readOnly, "", "a tag or a release: reads trusted entries and writes none"}
	}
	return verdict{bypass, "", "a tag or a release: builds everything anew, because the policy has releases: bypass"}
}

// Judge decides what an identity may do in the workspace that the request names, or, if it names none, in the only one that has rules for it.
func (p *Policy) Judge(id Identity, named cache.Workspace) Decision {
	l := &look{claims: id.Claims, used: map[string]any{}}
	d := Decision{Grant: cache.Grant{Producer: cache.Producer{Kind: "ci", Issuer: id.Issuer}}}
	owner, workspace, why := p.owner(l, id.Issuer, named, &d)
	if owner == nil {
		d.Reason, d.Conditions, d.Claims = why, l.conditions, l.used
		return d
	}
	d.Provider = owner.kind()
	d.Grant.Producer.Provider = string(d.Provider)
	d.Bearer = d.Provider != GitHub
	d.decide(owner, l, workspace)
	d.Conditions, d.Claims = l.conditions, l.used
	return d
}

// maxForeign bounds the conditions of blocks that do not own the token that are kept.
const maxForeign = 100

// owner finds the block whose token it is. Without one, why says so.
func (p *Policy) owner(l *look, issuer string, named cache.Workspace, d *Decision) (owner provider, in cache.Workspace, why string) {
	candidates := p.workspaces
	if named != "" {
		candidates = []cache.Workspace{named}
		if _, ok := p.providers[named]; !ok {
			return nil, "", "the policy has no workspace " + quoted(string(named))
		}
	}
	var owners []cache.Workspace
	known := false
	for _, w := range candidates {
		for _, one := range p.providers[w] {
			if one.from().URL != issuer {
				continue
			}
			known = true
			// Conditions of blocks that do not own the token are kept for whoever asks why, but not those of a hundred workspaces.
			before := len(l.conditions)
			d.Provider, d.Rule = one.kind(), one.foreign()
			l.begin(one.where().key)
			if one.owns(l) {
				owner, in = one, w
				owners = append(owners, w)
			} else if before > maxForeign {
				l.conditions = l.conditions[:before]
			}
		}
	}
	switch {
	case !known:
		return nil, "", "no block of the policy" + inWorkspace(named) + " has the issuer " + quoted(issuer)
	case len(owners) == 0:
		return nil, "", "the token is of another repository, project or pipeline than those of the policy" + inWorkspace(named) + ": " + l.why()
	case len(owners) > 1:
		d.Rule = ""
		return nil, "", fmt.Sprintf("several workspaces have rules for this token: name one of %s in the URL", oneOf(texts(owners)))
	}
	l.wrong = 0 // what another block found wrong
	return owner, in, ""
}

func inWorkspace(named cache.Workspace) string {
	if named == "" {
		return ""
	}
	return " in workspace " + quoted(string(named))
}

// decide lets the block's rules decide, and turns what they say into a grant.
func (d *Decision) decide(owner provider, l *look, workspace cache.Workspace) {
	l.begin(string(owner.kind()) + ", every token")
	owner.producer(l, &d.Grant.Producer)
	v := owner.judge(l)
	d.Rule = l.rule
	if l.malformed() {
		d.Rule = string(owner.kind()) + ", a claim is missing or malformed"
		v = verdict{reason: "a claim is missing or malformed: " + l.conditions[l.wrong-1].why()}
	}
	d.Reason = v.reason
	if v.access == none {
		return
	}
	grant := cache.Grant{Workspace: workspace, Producer: d.Grant.Producer}
	own := cache.Scope(v.own)
	if v.own != "" {
		if _, err := cache.ParseScope(v.own); !l.that(err == nil, fmt.Sprintf("%d bytes", len(v.own)), "the name of its own scope has at most %d bytes", cache.MaxScopeName) {
			d.Reason = "its own scope would have a name that is too long"
			return
		}
	}
	switch v.access {
	case trusted:
		grant.Read, grant.Write = []cache.Scope{cache.Trusted}, cache.Trusted
	case isolated:
		grant.Read, grant.Write = []cache.Scope{cache.Trusted, own}, own
	case ownOnly:
		grant.Read, grant.Write = []cache.Scope{own}, own
	case readOnly:
		grant.Read = []cache.Scope{cache.Trusted}
	}
	d.Allowed, d.Grant = true, grant
}

// why words the first condition that was not met.
func (l *look) why() string {
	i := slices.IndexFunc(l.conditions, func(c Condition) bool { return !c.Met })
	return l.conditions[i].why()
}

func (c Condition) why() string { return "it must be that " + c.Text + ", and there is " + c.Got }

// JudgeClaims judges claims that stand in a file: the issuer is their iss, and aud must be that of the policy if it is there. Nothing is verified.
func (p *Policy) JudgeClaims(claims map[string]any, named cache.Workspace) Decision {
	iss, _ := claims["iss"].(string)
	aud, ok := claims["aud"]
	if list, isList := aud.([]any); isList && len(list) == 1 {
		aud = list[0]
	}
	if ok && aud != p.Audience() {
		c := Condition{Rule: "every token", Text: "aud is " + quoted(p.Audience()) + ", or a list of it alone", Got: got(claims["aud"], ok)}
		return Decision{
			Rule: "every token", Reason: "the token is for another audience", Conditions: []Condition{c}, Claims: map[string]any{},
			Grant: cache.Grant{Producer: cache.Producer{Kind: "ci", Issuer: iss}},
		}
	}
	return p.Judge(Identity{Issuer: iss, Claims: claims}, named)
}

// ParseClaims reads the claims of a token from JSON, as [Policy.Judge] wants them.
func ParseClaims(data []byte) (map[string]any, error) {
	const largest = 64 << 10
	if len(data) > largest {
		return nil, fmt.Errorf("the claims have more than %d bytes: is this the right file?", largest)
	}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	var claims map[string]any
	if err := dec.Decode(&claims); err != nil {
		return nil, fmt.Errorf("the claims are no JSON object: %w", err)
	}
	if claims == nil || dec.More() {
		return nil, fmt.Errorf("the claims are not one JSON object: write {\"iss\": ...} and nothing else")
	}
	return claims, nil
}
