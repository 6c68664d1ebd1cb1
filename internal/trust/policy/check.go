package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// Hosts of issuers whose tokens have claims of their own that must be looked at.
const (
	githubHost    = "token.actions.githubusercontent.com"
	gitlabHost    = "gitlab.com"
	buildkiteHost = "agent.buildkite.com"
	circleciHost  = "oidc.circleci.com"
)

// known returns the provider whose issuer it is on the face of it. Tokens of GitHub and GitLab would go around the rules for their events as those of another CI.
func (v issuer) known() Provider {
	host, path := v.split()
	switch {
	case host == githubHost, strings.HasPrefix(host, "token.actions.") && strings.HasSuffix(host, ".ghe.com"), strings.HasSuffix(path, "/_services/token"):
		return GitHub
	case host == gitlabHost:
		return GitLab
	}
	return ""
}

// split returns host, in lower case, and path. The URL was checked when it was read.
func (v issuer) split() (host, path string) {
	_, rest, _ := strings.Cut(strings.ToLower(string(v)), "://")
	host, path, _ = strings.Cut(rest, "/")
	name, _, _ := strings.Cut(host, ":")
	return strings.TrimSuffix(name, "."), "/" + strings.TrimSuffix(path, "/")
}

// use is where an issuer is named.
type use struct {
	provider Provider
	keys     string
	key      string
}

// check finds fields that do not go together. It is silent about fields that have a problem already: these are empty.
func (d *decoder) check(f *file) {
	used := map[string]use{}
	for _, name := range slices.Sorted(maps.Keys(f.Workspaces)) {
		w := f.Workspaces[name]
		for _, one := range w.providers() {
			d.checkIssuer(used, one, f.Audience)
		}
		d.checkWorkspace(&w)
	}
}

func (d *decoder) checkIssuer(used map[string]use, one provider, aud audience) {
	url, at := one.from(), one.where()
	if url.URL == "" {
		return
	}
	if url.URL == string(aud) {
		d.reportAt(at.key+".issuer", &flaw{quoted(url.URL) + " is the audience as well, which the issuer gives to tokens for nobody in particular", "choose an audience that only this server uses, for example its URL"})
	}
	this := use{one.kind(), url.Keys, at.key}
	first, seen := used[url.URL]
	if known := issuer(url.URL).known(); known != "" && !seen {
		first, seen = use{known, url.Keys, at.key}, true
		used[url.URL] = first
	}
	switch {
	case seen && first.provider != this.provider:
		d.reportAt(at.key+".issuer", &flaw{quoted(url.URL) + " is an issuer of " + string(first.provider) + ", whose events only the rules of " + string(first.provider) + " know", "write a " + string(first.provider) + " block"})
	case seen && first.keys != this.keys:
		d.reportAt(at.key+".keys", &flaw{"differs from that of the same issuer at " + first.key, "write the same keys in both, or none"})
	default:
		used[url.URL] = this
	}
}

func (d *decoder) checkWorkspace(w *workspace) {
	at := w.Place
	all := w.providers()
	if len(all) == 0 && at.given && !w.Developers.Place.given {
		d.reportAt(at.key, &flaw{"has neither github, gitlab nor oidc", "write who uses the workspace"})
	}
	for i, one := range all {
		for _, before := range all[:i] {
			if f := before.collides(one); f != nil {
				d.reportAt(one.where().key, f)
				break
			}
		}
		one.check(d)
	}
	if s := w.Sessions; s.TTL > s.Max && s.Max > 0 {
		d.reportAt(s.Place.key, &flaw{fmt.Sprintf("ttl, %v, is longer than max, %v", time.Duration(s.TTL), time.Duration(s.Max)), "lower the one or raise the other"})
	}
	if q := w.Quota; q.PerScope > q.UntrustedTotal && q.UntrustedTotal > 0 {
		d.reportAt(q.Place.key, &flaw{"per_scope is more than untrusted_total", "lower the one or raise the other"})
	}
}

// Two blocks of one workspace must never match the same token, and never give two repositories one scope.

func (g *github) collides(other provider) *flaw {
	o, ok := other.(*github)
	return sameID(ok && o.RepositoryID == g.RepositoryID && g.RepositoryID != "", "repository_id", g.Place.key)
}

func (g *gitlab) collides(other provider) *flaw {
	o, ok := other.(*gitlab)
	return sameID(ok && o.ProjectID == g.ProjectID && g.ProjectID != "", "project_id", g.Place.key)
}

func sameID(same bool, field, key string) *flaw {
	if !same {
		return nil
	}
	return &flaw{"has the same " + field + " as " + key, "take one of them out; if they have different issuers, give each a workspace of its own"}
}

func (o *oidc) collides(other provider) *flaw {
	p, ok := other.(*oidc)
	if ok && p.Name == o.Name && o.Name != "" {
		return &flaw{"has the same name as " + o.Place.key, "give each a name of its own: their scopes are called by it"}
	}
	if !ok || p.Issuer != o.Issuer || o.Issuer == "" {
		return nil
	}
	for claim, value := range o.Identity {
		if v, both := p.Identity[claim]; both && v != value {
			return nil
		}
	}
	return &flaw{"and " + o.Place.key + " have the same issuer, and no claim of identity tells them apart", "give one claim another value in each, or make one block of them"}
}

func (g *github) check(d *decoder) {
	for i, b := range g.Trusted.Branches {
		if _, isPattern := b.pattern(); isPattern && !bool(g.Trusted.Require.RefProtected) {
			d.reportAt(fmt.Sprintf("%s.branches[%d]", g.Trusted.Place.key, i),
				&flaw{quoted(string(b)) + " is a pattern: whoever may push could make a trusted branch", "protect these branches and write require: {ref_protected: true}, or write each name out"})
		}
	}
}

// check finds nothing: a protected branch is asked for anyway.
func (*gitlab) check(*decoder) {}

func (o *oidc) check(d *decoder) {
	report := func(field string, f *flaw) {
		d.reportAt(o.Place.key+"."+field, f)
	}
	pin := func(claim, why string) {
		if _, ok := o.Identity[claim]; !ok && len(o.Identity) > 0 {
			report("identity", &flaw{"has no " + claim + ": " + why, "write " + claim + ` with its value`})
		}
	}
	host, path := o.Issuer.split()
	switch {
	case host == buildkiteHost:
		pin("organization_id", "this issuer signs for all organizations, and slugs can be given to others")
	case host == circleciHost && !strings.HasPrefix(path, "/org/"):
		pin("oidc.circleci.com/org-id", "this issuer signs for all organizations")
	}
	d.checkTrusted(o)
	isolated := o.Untrusted == modeIsolated
	if isolated != (len(o.Scope) > 0) && o.Untrusted != "" {
		report("scope", &flaw{"and untrusted: isolated need each other", "write both, or none of them"})
	}
	if isolated && len(o.Scope) > 0 && !slices.ContainsFunc(o.Scope, func(c claimName) bool { _, fixed := o.Identity[string(c)]; return !fixed }) {
		report("scope", &flaw{"has claims of identity alone, so that all runs would share one scope", "add a claim that tells runs or branches apart"})
	}
}

func (d *decoder) checkTrusted(o *oidc) {
	t := o.Trusted
	if !t.Place.given {
		return
	}
	report := func(field string, f *flaw) { d.reportAt(strings.TrimSuffix(t.Place.key+"."+field, "."), f) }
	switch {
	case bool(t.Dedicated) && (t.Ref.Place.given || t.Event.Place.given):
		report("dedicated", &flaw{"is true, and ref or event are bound as well", "keep ref and event; write a claim under require, if there is no event to bind"})
	case bool(t.Dedicated):
	case !t.Ref.Place.given || !t.Event.Place.given:
		report("", &flaw{"does not bind both ref and event", "bind each to exact values, or write dedicated: true if this identity is used for trusted builds and nothing else"})
	case t.Ref.Claim == t.Event.Claim && t.Ref.Claim != "":
		report("event", &flaw{"is the same claim as ref", "bind the claim that says what set the run off"})
	}
	for _, b := range []binding{t.Ref, t.Event} {
		for i, v := range b.Values {
			if v.Kind == strictyaml.Text && strings.ContainsAny(v.Text, "*?") {
				d.reportAt(fmt.Sprintf("%s.values[%d]", b.Place.key, i), &flaw{quoted(v.Text) + " is a pattern, and values are exact", "write each value out"})
			}
		}
	}
}
