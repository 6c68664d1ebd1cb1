package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// Tests are expectations of what a policy says to claims, for the CI of whoever keeps the policy.
type Tests struct{ tests []test }

// TestResult is what became of one test.
type TestResult struct {
	Name string
	// Line is where the test begins in its file.
	Line int
	// Problem says what was not as expected; empty, if all was.
	Problem string
	// Decision is what the policy said.
	Decision Decision
}

type testFile struct {
	Version version `name:"version" required:"true" example:"1" help:"Form of the file: always 1"`
	Tests   []test  `name:"tests" required:"true" help:"The tests"`
}

type test struct {
	Place      place
	Name       text          `name:"name" required:"true" example:"a push to main is trusted" help:"What is tested, for people"`
	Workspace  workspaceName `name:"workspace" example:"web" help:"The workspace that the request names; none, if left out"`
	Claims     claimSet      `name:"claims" example:"{iss: ..., sub: ...}" help:"The claims of a token"`
	ClaimsFile text          `name:"claims_file" example:"claims/github/push-main.json" help:"Instead of claims: a JSON file with them, from the directory of this file"`
	Set        claimSet      `name:"set" example:"{ref: refs/heads/fix}" help:"Claims that are different"`
	Unset      []anyClaim    `name:"unset" example:"ref_protected" help:"Claims that are not there"`
	Expect     expect        `name:"expect" required:"true" help:"What the policy must say"`
}

type expect struct {
	Place     place
	Write     scopeName     `name:"write" example:"trusted" help:"The scope that is written; none, if nothing is"`
	Read      []scopeName   `name:"read" ordered:"true" empty:"true" example:"trusted" help:"The scopes that are read, first to last; empty: every read is a miss"`
	Workspace workspaceName `name:"workspace" example:"web" help:"The workspace of the grant"`
	Rule      text          `name:"rule" example:"github push, trusted branch" help:"The row that decides"`
	Denied    text          `name:"denied" example:"another repository" help:"Instead of write and read: a part of the reason why there is no grant"`
}

type (
	claimSet      map[string]any
	workspaceName string
	scopeName     string
	anyClaim      string // as claimName, also of those that say nothing of who built what
)

func (claimSet) kinds() []strictyaml.Kind      { return []strictyaml.Kind{strictyaml.Mapping} }
func (workspaceName) kinds() []strictyaml.Kind { return textOnly }
func (scopeName) kinds() []strictyaml.Kind     { return textOnly }

func (anyClaim) kinds() []strictyaml.Kind { return textOnly }

func (v *anyClaim) set(n strictyaml.Node) *flaw {
	*v = anyClaim(n.Text)
	return checkPointer(n.Text)
}

func (v *claimSet) set(n strictyaml.Node) *flaw {
	if f := plainJSON(n); f != nil {
		return f
	}
	*v = n.Value().(map[string]any)
	return nil
}

// plainJSON refuses what JSON could not say.
func plainJSON(n strictyaml.Node) *flaw {
	switch {
	case n.Kind == strictyaml.Float, n.Kind == strictyaml.Integer && !strictyaml.Digits(strings.TrimPrefix(n.Text, "-")):
		return &flaw{"holds a number that is not written as tokens write numbers", "write decimal digits, or put it in quotes if the claim is a text"}
	case n.Kind == strictyaml.List:
		for _, item := range n.Items {
			if f := plainJSON(item); f != nil {
				return f
			}
		}
	case n.Kind == strictyaml.Mapping:
		seen := map[string]bool{}
		for _, p := range n.Pairs {
			if seen[p.Key] {
				return &flaw{"has " + shown(p.Key) + " twice", "take one of them out"}
			}
			seen[p.Key] = true
			if f := plainJSON(p.Value); f != nil {
				return f
			}
		}
	}
	return nil
}

func (v *workspaceName) set(n strictyaml.Node) *flaw {
	*v = workspaceName(n.Text)
	return checkKey("workspace", n.Text)
}

const nothing = "none"

func (v *scopeName) set(n strictyaml.Node) *flaw {
	if _, err := cache.ParseScope(n.Text); err != nil && n.Text != nothing {
		return &flaw{quoted(n.Text) + " is no scope", "write for example trusted or pr/17"}
	}
	*v = scopeName(n.Text)
	return nil
}

var testWords = strictyaml.Words{File: "a file of tests", Entry: "field", Entries: "fields", Deepest: "no token needs claims that are that deep"}

// ParseTests reads a file of tests. The error is [Problems].
func ParseTests(name string, data []byte) (*Tests, error) {
	var f testFile
	d := decoder{name: name, at: map[string]strictyaml.Position{}}
	if err := d.file(reflect.ValueOf(&f).Elem(), data, testWords); err != nil {
		return nil, err
	}
	names := map[text]bool{}
	for _, one := range f.Tests {
		d.checkTest(one)
		if names[one.Name] && one.Name != "" {
			d.report(one.Place.at, one.Place.key+".name", &flaw{quoted(string(one.Name)) + " is the name of another test, too", "give each test a name of its own"})
		}
		names[one.Name] = true
	}
	if len(d.problems) > 0 {
		d.problems.sort()
		return nil, d.problems
	}
	return &Tests{f.Tests}, nil
}

func (d *decoder) checkTest(t test) {
	if (t.Claims == nil) == (t.ClaimsFile == "") && len(d.problems) == 0 {
		d.report(t.Place.at, t.Place.key, &flaw{"has to have claims or claims_file", "write one of the two"})
	}
	e := t.Expect
	grant := e.Write != "" || e.Read != nil || e.Workspace != ""
	if e.Place.given && grant == (e.Denied != "") && len(d.problems) == 0 {
		d.report(e.Place.at, e.Place.key, &flaw{"has to have a grant or denied", "write what is written and read, or a part of the reason why nothing is"})
	}
}

// Run judges the claims of all tests. readFile reads a file of claims, by the name that stands in the tests.
func (t *Tests) Run(p *Policy, readFile func(name string) ([]byte, error)) []TestResult {
	results := make([]TestResult, len(t.tests))
	for i, one := range t.tests {
		results[i] = one.run(p, readFile)
	}
	return results
}

func (t test) run(p *Policy, readFile func(string) ([]byte, error)) TestResult {
	r := TestResult{Name: string(t.Name), Line: t.Place.at.Line}
	claims := map[string]any(t.Claims)
	if t.ClaimsFile != "" {
		data, err := readFile(string(t.ClaimsFile))
		if err == nil {
			claims, err = ParseClaims(data)
		}
		if err != nil {
			r.Problem = fmt.Sprintf("%s: %v", t.ClaimsFile, err)
			return r
		}
	}
	claims = copyOf(claims).(map[string]any)
	for name, v := range t.Set {
		change(claims, claimName(name), func(in map[string]any, last string) { in[last] = copyOf(v) })
	}
	for _, name := range t.Unset {
		change(claims, claimName(name), func(in map[string]any, last string) { delete(in, last) })
	}
	r.Decision = p.JudgeClaims(claims, cache.Workspace(t.Workspace))
	r.Problem = t.Expect.differs(r.Decision)
	return r
}

// change finds the object that holds a claim, and makes it if need be.
func change(claims map[string]any, name claimName, do func(in map[string]any, last string)) {
	path := name.path()
	for _, step := range path[:len(path)-1] {
		inner, ok := claims[step].(map[string]any)
		if !ok {
			inner = map[string]any{}
			claims[step] = inner
		}
		claims = inner
	}
	do(claims, path[len(path)-1])
}

// copyOf keeps what one test changes from the next one.
func copyOf(v any) any {
	if m, ok := v.(map[string]any); ok {
		out := make(map[string]any, len(m))
		for name, inner := range m {
			out[name] = copyOf(inner)
		}
		return out
	}
	return v
}

// differs says what is not as expected.
func (e expect) differs(d Decision) string {
	if e.Rule != "" && d.Rule != string(e.Rule) {
		return fmt.Sprintf("the rule is %q, not %q", d.Rule, e.Rule)
	}
	if e.Denied != "" {
		switch {
		case d.Allowed:
			return fmt.Sprintf("it is allowed, and not denied: it writes %s", scopes([]cache.Scope{d.Grant.Write}, nothing))
		case !strings.Contains(d.Reason, string(e.Denied)):
			return fmt.Sprintf("it is denied for another reason: %s", d.Reason)
		}
		return ""
	}
	if !d.Allowed {
		return "it is denied: " + d.Reason
	}
	if write := string(d.Grant.Write); e.Write != "" && write != strings.TrimPrefix(string(e.Write), nothing) {
		return fmt.Sprintf("it writes %s, not %s", scopes([]cache.Scope{d.Grant.Write}, nothing), e.Write)
	}
	if read := texts(d.Grant.Read); e.Read != nil && !slices.Equal(read, texts(e.Read)) {
		want := make([]cache.Scope, len(e.Read))
		for i, scope := range e.Read {
			want[i] = cache.Scope(scope)
		}
		return fmt.Sprintf("it reads %s, not %s", scopes(d.Grant.Read, "nothing"), scopes(want, "nothing"))
	}
	if e.Workspace != "" && d.Grant.Workspace != cache.Workspace(e.Workspace) {
		return fmt.Sprintf("the workspace is %s, not %s", d.Grant.Workspace, e.Workspace)
	}
	return ""
}
