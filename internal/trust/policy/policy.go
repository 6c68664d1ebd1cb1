// Package policy decides what a verified identity of a CI may read and write.
//
// A policy is a closed form: what events mean is code, a named rule for each row of two tables, and not patterns over claims.
// Refs and ids are compared byte by byte. What a rule does not know, or finds missing or of a wrong type, it denies.
package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// MaxSize bounds a policy, in bytes.
const MaxSize = strictyaml.MaxSize

// rulesVersion counts what the rules make of a file. A release whose rules give somebody less or more than the one before, by the same file, has
// another one: sessions that run while the server is updated are judged again only under another fingerprint.
const rulesVersion = 1

// Policy is a compiled policy. It never changes.
type Policy struct {
	file        file
	providers   map[cache.Workspace][]provider
	workspaces  []cache.Workspace // sorted
	issuers     []Issuer
	fingerprint string
}

// Provider is a kind of CI whose claims and events are known.
type Provider string

// The providers.
const (
	GitHub Provider = "github"
	GitLab Provider = "gitlab"
	OIDC   Provider = "oidc"
)

// Issuer is one whose tokens the policy takes.
type Issuer struct {
	// URL is compared with "iss" byte by byte.
	URL string
	// Keys is where its key set is, if the policy says so; else its discovery document tells.
	Keys string
}

// Settings are those of one workspace.
type Settings struct {
	// PublicRead says that anybody who names the workspace may read its trusted scope, without any credential.
	PublicRead bool
	// DevelopersRead and DevelopersWrite say what the tokens of developers may do: read trusted entries, and write their own.
	DevelopersRead, DevelopersWrite bool
	// SessionTTL is how long a session lives, SessionMax the longest that may be asked for, and the longest that a CI's token serves as the bearer.
	SessionTTL, SessionMax time.Duration
	// Quota bounds what is stored, in bytes; 0 is no bound.
	Quota Quota
	// Trusted and Others say how long entries of the trusted scope and of all others are kept.
	Trusted, Others Retention
}

// Retention bounds how long entries are kept, from their upload and from their last read; 0 is no bound.
type Retention struct{ MaxAge, MaxUnused time.Duration }

// Quota bounds what a workspace holds, in bytes; 0 is no bound.
type Quota struct{ Trusted, PerScope, UntrustedTotal int64 }

// words are what messages call a policy.
var words = strictyaml.Words{File: "a policy", Entry: "field", Entries: "fields", Deepest: "no field of a policy is that deep"}

// Parse compiles a policy. name is that of the file, for messages. The error is [Problems], all that were found.
func Parse(name string, data []byte) (*Policy, error) {
	var f file
	d := decoder{name: name, at: map[string]strictyaml.Position{}}
	if err := d.file(reflect.ValueOf(&f).Elem(), data, words); err != nil {
		return nil, err
	}
	d.check(&f)
	if len(d.problems) > 0 {
		d.problems.sort()
		return nil, d.problems
	}
	return compile(f), nil
}

// file reads a whole file into a struct. It returns an error only for what cannot be read at all.
func (d *decoder) file(out reflect.Value, data []byte, words strictyaml.Words) error {
	top, p := strictyaml.Parse(data, words)
	if p != nil {
		d.report(p.At, "", &flaw{p.What, p.Hint})
		return d.problems
	}
	d.block(out, top, "")
	return nil
}

func compile(f file) *Policy {
	p := &Policy{file: f, providers: map[cache.Workspace][]provider{}}
	known := map[Issuer]bool{}
	for name, w := range f.Workspaces {
		all := w.providers()
		shared := len(all) > 1
		for _, one := range all {
			one.share(shared)
			known[one.from()] = true
		}
		p.workspaces = append(p.workspaces, cache.Workspace(name))
		p.providers[cache.Workspace(name)] = all
	}
	slices.Sort(p.workspaces)
	p.issuers = slices.SortedFunc(maps.Keys(known), func(a, b Issuer) int { return strings.Compare(a.URL, b.URL) })
	sum := sha256.Sum256(fmt.Appendf(nil, "rules %d\n%s", rulesVersion, meaning(reflect.ValueOf(f), false)))
	p.fingerprint = hex.EncodeToString(sum[:16])
	return p
}

// providers returns all blocks of a workspace.
func (w *workspace) providers() []provider {
	var all []provider
	for i := range w.GitHub {
		all = append(all, &w.GitHub[i])
	}
	for i := range w.GitLab {
		all = append(all, &w.GitLab[i])
	}
	for i := range w.OIDC {
		all = append(all, &w.OIDC[i])
	}
	return all
}

// meaning writes down what a value says, the same for all ways to write it: defaults are filled in, the order of lists is dropped where it means nothing, and so is what is there for people.
func meaning(v reflect.Value, ordered bool) string {
	var parts []string
	switch v.Kind() {
	case reflect.Struct:
		all := fields(v.Type())
		if len(all) == 0 {
			return fmt.Sprintf("%q", fmt.Sprint(v.Interface())) // a value with its type
		}
		for _, f := range all {
			if !f.people {
				parts = append(parts, f.name+"="+meaning(v.Field(f.index), f.ordered))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, meaning(v.Index(i), false))
		}
		if !ordered {
			slices.Sort(parts)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			parts = append(parts, fmt.Sprintf("%q=%s", key.String(), meaning(v.MapIndex(key), false)))
		}
		slices.Sort(parts)
	default:
		return fmt.Sprintf("%q", fmt.Sprint(v.Interface()))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// Fingerprint is the same for policies that mean the same, by the same rules: comments, order and names for people do not change it.
func (p *Policy) Fingerprint() string { return p.fingerprint }

// Audience is the "aud" that tokens must have.
func (p *Policy) Audience() string { return string(p.file.Audience) }

// Issuers returns those of all workspaces, each once, sorted.
func (p *Policy) Issuers() []Issuer { return slices.Clone(p.issuers) }

// Workspaces returns the names of all workspaces, sorted.
func (p *Policy) Workspaces() []cache.Workspace { return slices.Clone(p.workspaces) }

// Settings returns those of a workspace, and whether there is one of that name.
func (p *Policy) Settings(name cache.Workspace) (Settings, bool) {
	w, ok := p.file.Workspaces[string(name)]
	if !ok {
		return Settings{}, false
	}
	s := Settings{
		DevelopersRead: w.Developers.Read == "trusted", DevelopersWrite: w.Developers.Write == "own",
		SessionTTL: time.Duration(w.Sessions.TTL), SessionMax: time.Duration(w.Sessions.Max),
		Quota:   Quota{int64(w.Quota.Trusted), int64(w.Quota.PerScope), int64(w.Quota.UntrustedTotal)},
		Trusted: Retention{w.Retention.Trusted.MaxAge.bound(), w.Retention.Trusted.MaxUnused.bound()},
		Others:  Retention{w.Retention.Others.MaxAge.bound(), w.Retention.Others.MaxUnused.bound()},
	}
	for _, g := range w.GitHub {
		s.PublicRead = s.PublicRead || g.Forks == publicRead
	}
	for _, g := range w.GitLab {
		s.PublicRead = s.PublicRead || g.Forks == publicRead
	}
	return s, true
}

// Warnings are remarks for the operator, a line each: what the policy opens beyond the defaults.
func (p *Policy) Warnings() []string {
	var all []string
	for _, name := range p.workspaces {
		warn := func(key, what string) { all = append(all, key+": "+what) }
		for _, one := range p.providers[name] {
			one.warn(warn)
		}
	}
	return all
}
