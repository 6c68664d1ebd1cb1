package policy

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// sshRerun is CircleCI's claim that somebody has a shell in the job. https://circleci.com/docs/guides/permissions-authentication/openid-connect-tokens/
const sshRerun claimName = "oidc.circleci.com/ssh-rerun"

func (*oidc) kind() Provider  { return OIDC }
func (*oidc) foreign() string { return "oidc, another identity" }
func (o *oidc) from() Issuer  { return Issuer{string(o.Issuer), string(o.Keys)} }
func (o *oidc) where() place  { return o.Place }

// share does nothing: own scopes have the name of the block anyway.
func (*oidc) share(bool) {}

func (o *oidc) warn(warn func(key, what string)) {
	if o.Trusted.Dedicated {
		warn(o.Trusted.Place.key+".dedicated", "every run of this identity can write trusted entries, whatever set it off")
	}
}

func (o *oidc) owns(l *look) bool {
	l.bound(o.Identity)
	return l.met()
}

// bound asks for claims that have one value each.
func (l *look) bound(want map[string]claimValue) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		l.equal(claimName(name), want[name])
	}
}

// equal asks whether a claim is one of some values, of the same type and byte by byte.
func (l *look) equal(name claimName, want ...claimValue) {
	v, ok := l.claim(name)
	met := false
	shown := make([]string, len(want))
	for i, w := range want {
		met = met || w.equals(v)
		shown[i] = w.String()
	}
	l.that(met, got(v, ok), "%s is %s", shownClaim(name), oneOf(shown))
}

// shownClaim shows the name of a claim, which the policy chose.
func shownClaim(name claimName) string {
	return strings.Trim(quoted(string(name)), `"`)
}

func (o *oidc) producer(l *look, p *cache.Producer) {
	r := o.Record
	p.Subject = l.record("sub")
	p.Repository, p.RepositoryID, p.OwnerID = l.record(r.Repository), l.record(r.RepositoryID), l.record(r.OwnerID)
	p.Event, p.Ref, p.Commit = l.record(o.Trusted.Event.Claim), l.record(o.Trusted.Ref.Claim), l.record(r.Commit)
	p.RunID, p.RunAttempt, p.Job = l.record(r.Run), l.record(r.Attempt), l.record(r.Job)
	p.WorkflowRef = l.record(r.Workflow)
	p.Actor, p.ActorID = l.record(r.Actor), l.record(r.ActorID)
}

func (o *oidc) judge(l *look) verdict {
	if host, _ := o.Issuer.split(); host == circleciHost {
		l.begin("oidc, a job with a shell")
		v, ok := l.claim(sshRerun)
		if !l.that(v == false, got(v, ok), "%s is false", sshRerun) {
			return verdict{reason: "somebody may have a shell in this job"}
		}
	}
	if o.Trusted.Place.given {
		rule, reason := "oidc, trusted", "a ref and an event that are trusted: reads and writes trusted entries"
		if o.Trusted.Dedicated {
			rule, reason = "oidc, dedicated to trusted builds", "an identity that is used for trusted builds and nothing else: reads and writes trusted entries"
		}
		l.begin(rule)
		if !o.Trusted.Dedicated {
			l.equal(o.Trusted.Ref.Claim, o.Trusted.Ref.Values...)
			l.equal(o.Trusted.Event.Claim, o.Trusted.Event.Values...)
		}
		l.bound(o.Trusted.Require)
		if l.met() {
			return verdict{trusted, "", reason}
		}
	}
	l.begin("oidc, not trusted")
	own := ""
	if o.Untrusted == modeIsolated {
		own = o.own(l)
	}
	return by(o.Untrusted, "untrusted", own, "a run that is not trusted")
}

// own names the own scope: the name of the block, and the values of claims. What could end one of these early is escaped, so that
// no two lists of values give one name.
func (o *oidc) own(l *look) string {
	parts := []string{"oidc", string(o.Name)}
	escape := strings.NewReplacer("%", "%25", "/", "%2F")
	for _, claim := range o.Scope {
		v, ok := l.claim(claim)
		part, isText := v.(string)
		if n, isNumber := v.(json.Number); isNumber && isID(string(n)) {
			part, isText = string(n), true
		}
		if !isText || part == "" || !keepable(v) {
			l.refuse(v, ok, "%s is a text that can be shown, or an id", shownClaim(claim))
			continue
		}
		parts = append(parts, escape.Replace(part))
	}
	return strings.Join(parts, "/")
}
