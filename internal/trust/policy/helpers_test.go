package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const (
	repositoryID = "456789"
	aud          = "https://nx-cache.example.com"
)

// githubPolicy is one with a github block for acme/web, and more lines in it.
func githubPolicy(t testing.TB, trusted, more string) *Policy {
	t.Helper()
	return parse(t, fmt.Sprintf(`
version: 1
audience: %s
workspaces:
  web:
    github:
      repository_id: %s
      owner_id: 123456
      trusted: {%s}
%s`, aud, repositoryID, trusted, more))
}

// gitlabPolicy is one with a gitlab block for acme/library, and more lines in it.
func gitlabPolicy(t testing.TB, trusted, more string) *Policy {
	t.Helper()
	return parse(t, fmt.Sprintf(`
version: 1
audience: %s
workspaces:
  library:
    gitlab:
      issuer: https://gitlab.example.com
      project_id: 77
      trusted: {%s}
%s`, aud, trusted, more))
}

// absent is the value of a claim that is not there.
type absent struct{}

// set is what is different in a fixture.
type set map[string]any

func (s set) on(claims map[string]any) map[string]any {
	out := copyOf(claims).(map[string]any)
	for name, v := range s {
		if _, gone := v.(absent); gone {
			delete(out, name)
		} else {
			out[name] = v
		}
	}
	return out
}

// judged is a decision in one line: "trusted <- trusted", "pr/17 <- trusted,pr/17", "- <- trusted", or "denied".
func judged(d Decision) string {
	if !d.Allowed {
		return "denied"
	}
	w := string(d.Grant.Write)
	if w == "" {
		w = "-"
	}
	return w + " <- " + strings.Join(texts(d.Grant.Read), ",")
}

// own is what an isolated run gets.
func own(scope string) string { return scope + " <- trusted," + scope }

const (
	isTrusted = "trusted <- trusted"
	readsOnly = "- <- trusted"
	misses    = "- <- "
	denied    = "denied"
)

// row is a case of one row of a table.
type row struct {
	name   string
	policy *Policy
	claims map[string]any
	want   string
	rule   string // not compared, if empty
}

// check judges a case, and holds what is true of every decision against it.
func (r row) check(t *testing.T) {
	t.Helper()
	d := r.policy.JudgeClaims(r.claims, "")
	if got := judged(d); got != r.want || r.rule != "" && d.Rule != r.rule {
		t.Errorf("%s: %s by %q, want %s by %q: %s", r.name, got, d.Rule, r.want, r.rule, d.Reason)
	}
	sound(t, r.policy, d)
}

// sound holds what is true of every decision against one.
func sound(t testing.TB, p *Policy, d Decision) {
	t.Helper()
	g := d.Grant
	if g.Producer.Kind != "ci" {
		t.Errorf("the producer is of kind %q", g.Producer.Kind)
	}
	plain := func(what, text string) {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s would reach a terminal as %q", what, text)
		}
	}
	plain("the reason", d.Reason)
	plain("the rule", d.Rule)
	for _, c := range d.Conditions {
		plain("a condition", c.Text+c.Got+c.Rule)
	}
	if d.Reason == "" {
		t.Error("a decision without a reason")
	}
	if !d.Allowed {
		if g.Workspace != "" || g.Read != nil || g.Write != "" {
			t.Errorf("denied with a grant: %+v", g)
		}
		return
	}
	if !slices.Contains(p.Workspaces(), g.Workspace) || d.Rule == "" {
		t.Errorf("a grant in workspace %q by %q", g.Workspace, d.Rule)
	}
	for _, s := range append(slices.Clone(g.Read), g.Write) {
		if _, err := cache.ParseScope(string(s)); s != "" && err != nil {
			t.Errorf("the scope %q: %v", s, err)
		}
	}
	if g.Write == cache.Trusted && !slices.Equal(g.Read, []cache.Scope{cache.Trusted}) {
		t.Errorf("a trusted writer reads %v", g.Read)
	}
	if g.Write != "" && g.Write != cache.Trusted && (g.Read[len(g.Read)-1] != g.Write || len(g.Read) > 1 && g.Read[0] != cache.Trusted || len(g.Read) > 2) {
		t.Errorf("%s is written, and %v is read", g.Write, g.Read)
	}
	// A session carries the claims of the decision alone, and is judged by them again.
	again := p.Judge(Identity{Issuer: g.Producer.Issuer, Claims: maps.Clone(d.Claims)}, g.Workspace)
	if judged(again) != judged(d) || again.Rule != d.Rule || again.Grant.Producer != g.Producer {
		t.Errorf("judged again by what a session carries: %s by %q of %+v, before %s by %q of %+v", judged(again), again.Rule, again.Grant.Producer, judged(d), d.Rule, g.Producer)
	}
}
