package policy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// TestLoad runs the cases in testdata/load. Each has a file, policy.yaml or tests.yaml, and what is said of it (want): its problems, or of
// a good policy the warnings.
func TestLoad(t *testing.T) {
	cases, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil || len(cases) < 20 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) == 1 {
				archive.Files = append(archive.Files, txtar.File{Name: "want"})
			}
			file, want := archive.Files[0], &archive.Files[1]
			var got bytes.Buffer
			var p *Policy
			if file.Name == "tests.yaml" {
				_, err = ParseTests(file.Name, file.Data)
			} else {
				p, err = Parse(file.Name, file.Data)
			}
			switch {
			case err != nil:
				fmt.Fprintln(&got, err)
			case p != nil:
				for _, w := range p.Warnings() {
					fmt.Fprintln(&got, "warning: "+w)
				}
			}
			if *update {
				want.Data = got.Bytes()
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(want.Data), got.String()); diff != "" {
				t.Errorf("-want +got (go test -update writes it anew):\n%s", diff)
			}
			if (err != nil) != strings.HasPrefix(filepath.Base(path), "bad-") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestProblemsAreErrors(t *testing.T) {
	_, err := Parse("p.yaml", []byte("version: 2\naudience: x\nworkspaces: {web: {developers: {}}}\nmore: 1\n"))
	if p, ok := errors.AsType[*Problem](err); !ok || p.Key != "version" || p.At.Line != 1 || p.Name != "p.yaml" {
		t.Errorf("the first problem is %+v", p)
	}
	if ps, ok := errors.AsType[Problems](err); !ok || len(ps) != 2 {
		t.Errorf("the problems are %v", ps)
	}
	if p, err := Parse("p.yaml", nil); p != nil || err == nil {
		t.Error("an empty file is a policy")
	}
}

// TestManyProblems: a file of nothing but problems does not fill the screen.
func TestManyProblems(t *testing.T) {
	_, err := Parse("p.yaml", []byte("version: 1\naudience: x\nworkspaces:\n"+strings.Repeat("  web: {}\n", 500)))
	if err == nil {
		t.Fatal("accepted")
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != strictyaml.MaxListed+2 || lines[len(lines)-1] != "  and 400 more" {
		t.Errorf("%d lines, to %q", len(lines), lines[len(lines)-1])
	}
}

// TestNoSecretIsShown: what was put in the wrong place does not come back in a message.
func TestNoSecretIsShown(t *testing.T) {
	for _, secret := range []string{"bzr_0123456789abcdefghijklmnop", "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9"} {
		for _, file := range []string{"audience: [" + secret + "]", "version: " + secret, secret + ": 1", "workspaces: {" + secret + ": {}}", "workspaces: {web: {sessions: {ttl: " + secret + "}, oidc: {" + secret + ": x}}}"} {
			_, err := Parse("p.yaml", []byte(file))
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// TestBlocksOfTwoKindsDoNotCollide: each has issuers and scopes of its own.
func TestBlocksOfTwoKindsDoNotCollide(t *testing.T) {
	hub, lab, other := &github{RepositoryID: "1"}, &gitlab{ProjectID: "1"}, &oidc{Name: "a"}
	for _, pair := range [][2]provider{{hub, lab}, {hub, other}, {lab, hub}, {lab, other}, {other, hub}, {other, lab}} {
		if f := pair[0].collides(pair[1]); f != nil {
			t.Errorf("%s and %s: %v", pair[0].kind(), pair[1].kind(), f)
		}
	}
}

// TestAProblemWithoutAPlace is told all the same.
func TestAProblemWithoutAPlace(t *testing.T) {
	d := decoder{name: "p.yaml", at: map[string]strictyaml.Position{}}
	d.reportAt("workspaces.web", &flaw{"is wrong", "make it right"})
	if got := d.problems.Error(); got != "p.yaml: workspaces.web: is wrong; make it right" {
		t.Error(got)
	}
}

// TestFingerprint: what a policy means is the same for all ways to write it, and another one for any other meaning.
func TestFingerprint(t *testing.T) {
	base := parse(t, read(t, examples+"policy.yaml"))
	again := parse(t, `
# The same in other words.
workspaces:
  library:
    gitlab:
      - {project_id: "77", issuer: https://gitlab.example.com, trusted: {sources: [schedule, push], branches: [main]}}
  web:
    quota: {trusted: 204800MiB, untrusted_total: 50GiB, per_scope: 5GiB}
    sessions: {}
    github:
      repository: acme/renamed
      owner_id: "123456"
      repository_id: 456789
      trusted: {require: {runner: github-hosted, ref_protected: true}, branches: [main]}
audience: https://nx-cache.example.com
version: 1
`)
	if base.Fingerprint() != again.Fingerprint() || len(base.Fingerprint()) != 32 {
		t.Errorf("%q and %q", base.Fingerprint(), again.Fingerprint())
	}
	seen := map[string]string{base.Fingerprint(): "the example"}
	text := read(t, examples+"policy.yaml")
	for old, changed := range map[string]string{
		"audience: https://nx-cache.example.com": "audience: https://nx-cache.example.org", "456789": "456788", "123456": "123457", "branches: [main]  ": "branches: [main, next]  ",
		"events: [push, schedule]": "events: [push]", "ref_protected: true, ": "", "runner: github-hosted": "runner: self-hosted", "pull_requests: isolated": "pull_requests: off",
		"merge_queue: isolated": "merge_queue: trusted", "forks: none": "forks: public-read", "releases: bypass": "releases: read", "read: trusted": "read: none", "write: own": "write: none",
		"ttl: 1h": "ttl: 2h", "max: 6h": "max: 7h", "200GiB": "201GiB", "  web:": "  site:", "gitlab.example.com": "gitlab.example.org", "project_id: 77": "project_id: 78", "merge_requests: isolated": "merge_requests: off",
		"      project: acme/library ": "      keys: https://keys.example.com ",
	} {
		if !strings.Contains(text, old) {
			t.Fatalf("the example has no %q", old)
		}
		means := parse(t, strings.Replace(text, old, changed, 1)).Fingerprint()
		if other, twice := seen[means]; twice {
			t.Errorf("%q and %q mean the same", changed, other)
		}
		seen[means] = changed
	}
	// Of claims that name a scope, the order is part of the name; and values have types.
	oidc := read(t, examples+"policy-oidc.yaml")
	for old, changed := range map[string]string{"scope: [build_branch]": "scope: [build_branch, step_key]", "values: [main]": `values: ["1"]`, "[webhook, schedule]": "[webhook]", "name: cluster": "name: node"} {
		means := parse(t, strings.Replace(oidc, old, changed, 1)).Fingerprint()
		if other, twice := seen[means]; twice {
			t.Errorf("%q and %q mean the same", changed, other)
		}
		seen[means] = changed
	}
	for changed := range map[string]bool{"scope: [step_key, build_branch]": true, "scope: [build_branch, step_key, job_id]": true} {
		means := parse(t, strings.Replace(oidc, "scope: [build_branch]", changed, 1)).Fingerprint()
		if other, twice := seen[means]; twice {
			t.Errorf("%q and %q mean the same", changed, other)
		}
		seen[means] = changed
	}
	if means := parse(t, strings.Replace(oidc, "values: [main]", "values: [1]", 1)).Fingerprint(); seen[means] != "" {
		t.Error("a number and a text mean the same")
	}
}

func TestSettings(t *testing.T) {
	p := parse(t, read(t, examples+"policy.yaml"))
	if got := fmt.Sprint(p.Workspaces()); got != "[library web]" {
		t.Errorf("the workspaces are %s", got)
	}
	web, ok := p.Settings("web")
	if got := fmt.Sprint(web, ok); got != "{false true true 1h0m0s 6h0m0s {214748364800 5368709120 53687091200} {0s 2160h0m0s} {720h0m0s 336h0m0s}} true" {
		t.Errorf("web has %s", got)
	}
	if _, ok := p.Settings("none"); ok {
		t.Error("a workspace that is not there has settings")
	}
	if got := fmt.Sprint(p.Issuers()); got != "[{https://gitlab.example.com } {https://token.actions.githubusercontent.com }]" || p.Audience() != aud {
		t.Errorf("the issuers are %s, the audience %s", got, p.Audience())
	}
	other := parse(t, `
version: 1
audience: x
workspaces:
  a: {developers: {read: none, write: none}, sessions: {ttl: 30m, max: 30m}, retention: {trusted: {max_age: 90d, max_unused: never}, others: {max_age: never, max_unused: 12h}}}
  b: {gitlab: {project_id: 1, forks: public-read, keys: "https://keys.example.com/jwks", trusted: {branches: [main]}}}
  c: {github: {repository_id: 1, owner_id: 1, issuer: "http://127.0.0.1:8080/x", forks: public-read, trusted: {branches: [main]}}}
`)
	for name, want := range map[string]string{"a": "{false false false 30m0s 30m0s {0 0 0} {2160h0m0s 0s} {0s 12h0m0s}}", "b": "{true true true 1h0m0s 6h0m0s {0 0 0} {0s 2160h0m0s} {720h0m0s 336h0m0s}}", "c": "{true true true 1h0m0s 6h0m0s {0 0 0} {0s 2160h0m0s} {720h0m0s 336h0m0s}}"} {
		s, _ := other.Settings(cache.Workspace(name))
		if got := fmt.Sprint(s); got != want {
			t.Errorf("%s has %s", name, got)
		}
	}
	if got := fmt.Sprint(other.Issuers()); got != "[{http://127.0.0.1:8080/x } {https://gitlab.com https://keys.example.com/jwks}]" {
		t.Errorf("the issuers are %s", got)
	}
	other.Issuers()[0].URL = "changed"
	other.Workspaces()[0] = "changed"
	if other.Issuers()[0].URL == "changed" || other.Workspaces()[0] == "changed" {
		t.Error("a caller changed the policy")
	}
}
