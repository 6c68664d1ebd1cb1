package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const twoWorkspaces = `
version: 1
audience: ` + aud + `
workspaces:
  web: {github: {repository_id: 456789, owner_id: 123456, trusted: {branches: [main]}}}
  docs: {github: {repository_id: 456789, owner_id: 123456, trusted: {branches: [docs]}}}
  other: {github: {repository_id: 1, owner_id: 123456, trusted: {branches: [main]}}}
  people: {developers: {}}
`

func TestWorkspaces(t *testing.T) {
	p := parse(t, twoWorkspaces)
	push := fixture(t, "github/push-main")
	for named, want := range map[cache.Workspace]string{
		"":    "denied: several workspaces have rules for this token: name one of docs or web in the URL",
		"web": "web trusted <- trusted", "docs": "docs " + own("branch/refs/heads/main"),
		"other":  `denied: the token is of another repository, project or pipeline than those of the policy in workspace "other": it must be that repository_id is "1", and there is "456789"`,
		"people": `denied: no block of the policy in workspace "people" has the issuer "https://token.actions.githubusercontent.com"`,
		"nobody": `denied: the policy has no workspace "nobody"`,
	} {
		d := p.JudgeClaims(push, named)
		sound(t, p, d)
		got := string(d.Grant.Workspace) + " " + judged(d)
		if !d.Allowed {
			got = "denied: " + d.Reason
		}
		if got != want {
			t.Errorf("%q: %s", named, got)
		}
	}
	if d := p.JudgeClaims(set{"repository_id": "1"}.on(push), ""); judged(d) != isTrusted || d.Grant.Workspace != "other" {
		t.Errorf("the only workspace of a repository: %+v", d)
	}
}

// TestManyWorkspaces: why a token is of none of a thousand workspaces is not told a thousand times.
func TestManyWorkspaces(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\naudience: x\nworkspaces:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  w%d: {github: {repository_id: %d, owner_id: 1, trusted: {branches: [main]}}}\n", i, i+1)
	}
	p := parse(t, b.String())
	claims := set{"repository_id": "5000", "aud": absent{}}.on(fixture(t, "github/push-main"))
	if d := p.JudgeClaims(claims, ""); d.Allowed || len(d.Conditions) > maxForeign+2 {
		t.Errorf("%d conditions", len(d.Conditions))
	}
	claims["repository_id"], claims["repository_owner_id"] = "1000", "1"
	if d := p.JudgeClaims(claims, ""); !d.Allowed || d.Grant.Workspace != "w999" {
		t.Errorf("%+v", d)
	}
}

func TestProducers(t *testing.T) {
	p := parse(t, read(t, examples+"policy.yaml"))
	for name, want := range map[string]cache.Producer{
		"github/push-main": {
			Kind: "ci", Provider: "github", Issuer: "https://token.actions.githubusercontent.com", Subject: "repo:acme@123456/web@456789:ref:refs/heads/main", Repository: "acme/web", RepositoryID: "456789", OwnerID: "123456",
			Event: "push", Ref: "refs/heads/main", Commit: "6ac3fbd3c9f0d4a1b2e58c7760d91e4f3a5b8c12", RunID: "17650000001", RunAttempt: "1", Job: "48213570001",
			WorkflowRef: "acme/web/.github/workflows/ci.yml@refs/heads/main", Actor: "mona", ActorID: "583231",
		},
		"gitlab/push-main": {
			Kind: "ci", Provider: "gitlab", Issuer: "https://gitlab.example.com", Subject: "project_path:acme/library:ref_type:branch:ref:main", Repository: "acme/library", RepositoryID: "77", OwnerID: "72",
			Event: "push", Ref: "refs/heads/main", Commit: "6ac3fbd3c9f0d4a1b2e58c7760d91e4f3a5b8c12", RunID: "1519139001", Job: "8222997001",
			WorkflowRef: "gitlab.example.com/acme/library//.gitlab-ci.yml@refs/heads/main", Actor: "mona", ActorID: "4011",
		},
		"gitlab/merge-request-fork-in-parent": {
			Kind: "ci", Provider: "gitlab", Issuer: "https://gitlab.example.com", Subject: "project_path:mallory/library:ref_type:branch:ref:main", Repository: "acme/library", RepositoryID: "77", OwnerID: "72", SourceID: "901",
			Event: "merge_request_event", Ref: "refs/heads/main", Commit: "6ac3fbd3c9f0d4a1b2e58c7760d91e4f3a5b8c12", RunID: "1519139012", Job: "8222997012",
			WorkflowRef: "gitlab.example.com/acme/library//.gitlab-ci.yml@refs/heads/main", Actor: "mona", ActorID: "4011",
		},
	} {
		d := p.JudgeClaims(fixture(t, name), "")
		if diff := cmp.Diff(want, d.Grant.Producer); diff != "" || !d.Allowed {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
		if d.Bearer != (want.Provider != "github") || d.Provider != Provider(want.Provider) {
			t.Errorf("%s: bearer %v of %s", name, d.Bearer, d.Provider)
		}
	}
	// Who it was that was denied is known as well.
	d := p.JudgeClaims(set{"event_name": "tomorrow"}.on(fixture(t, "github/push-main")), "")
	if d.Allowed || d.Grant.Producer.RunID != "17650000001" || d.Grant.Workspace != "" {
		t.Errorf("denied: %+v", d.Grant)
	}
}

// TestSessionsAreJudgedByALaterPolicy: what a session carries is enough for a policy that asks for more than the one before.
func TestSessionsAreJudgedByALaterPolicy(t *testing.T) {
	claims := fixture(t, "github/push-main-environment")
	d := githubPolicy(t, mainOnly, "").JudgeClaims(claims, "")
	id := Identity{Issuer: d.Grant.Producer.Issuer, Claims: d.Claims}
	for more, want := range map[string]string{
		"{ref_protected: true, runner: github-hosted, environment: production, workflow_ref: acme/web/.github/workflows/ci.yml@refs/heads/main}": isTrusted,
		"{runner: self-hosted}": own("branch/refs/heads/main"), "{environment: staging}": own("branch/refs/heads/main"),
	} {
		later := githubPolicy(t, "branches: [main], require: "+more, "")
		if got := later.Judge(id, "web"); judged(got) != want {
			t.Errorf("%s: %s: %s", more, judged(got), got.Reason)
		}
	}
	claims = fixture(t, "gitlab/push-main-environment")
	d = gitlabPolicy(t, mainOnly, "").JudgeClaims(claims, "")
	id = Identity{Issuer: d.Grant.Producer.Issuer, Claims: d.Claims}
	if got := gitlabPolicy(t, "branches: [main], require: {runner: self-hosted, environment: production}", "").Judge(id, "library"); judged(got) != isTrusted {
		t.Errorf("%s: %s", judged(got), got.Reason)
	}
	size, err := json.Marshal(d.Claims)
	if err != nil || len(size) > 2000 {
		t.Errorf("a session carries %d bytes of claims: %v", len(size), err)
	}
}

// TestExplain compares what people read with testdata/explain.
func TestExplain(t *testing.T) {
	p := parse(t, read(t, examples+"policy.yaml"))
	others := parse(t, read(t, examples+"policy-oidc.yaml"))
	for name, d := range map[string]Decision{
		"push-main":      p.JudgeClaims(fixture(t, "github/push-main"), ""),
		"push-branch":    p.JudgeClaims(fixture(t, "github/push-branch"), ""),
		"pull-request":   p.JudgeClaims(fixture(t, "github/pull_request"), ""),
		"beside":         p.JudgeClaims(fixture(t, "github/pull_request_target"), ""),
		"by-hand":        p.JudgeClaims(fixture(t, "gitlab/web"), ""),
		"tag":            p.JudgeClaims(fixture(t, "github/push-tag"), ""),
		"read-only":      gitlabPolicy(t, mainOnly, "      branches: read-only").JudgeClaims(fixture(t, "gitlab/push-branch"), ""),
		"fork":           p.JudgeClaims(fixture(t, "gitlab/merge-request-fork-in-parent"), ""),
		"another":        p.JudgeClaims(fixture(t, "gitlab/fork-pipeline"), ""),
		"audience":       p.JudgeClaims(set{"aud": "\x1b]0;x\x07"}.on(fixture(t, "github/push-main")), ""),
		"issuer":         p.JudgeClaims(set{"iss": "https://evil.example/\x1b[2J\u202e"}.on(fixture(t, "github/push-main")), ""),
		"hostile-branch": p.JudgeClaims(set{"ref": "refs/heads/\u202e, then trusted\u200b"}.on(fixture(t, "github/push-main")), ""),
		"two-in-one":     p.JudgeClaims(set{"ref": "refs/heads/x, then trusted"}.on(fixture(t, "github/push-main")), ""),
		"malformed":      p.JudgeClaims(set{"ref": json.Number(strings.Repeat("7", 50)), "actor": "\x1b[31mred", "run_id": nil, "head_ref": []any{}}.on(fixture(t, "github/push-main")), ""),
		"secret":         p.JudgeClaims(set{"ref": "refs/heads/bzr_0123456789abcdefghijklmnop"}.on(fixture(t, "github/push-main")), ""),
		"kubernetes":     others.JudgeClaims(fixture(t, "oidc/kubernetes-trusted"), ""),
		"buildkite":      others.JudgeClaims(fixture(t, "oidc/buildkite-ui"), ""),
		"long":           githubPolicy(t, "branches: [a, b, c, d, e, f, g, h, i, j, k, l]", "").JudgeClaims(set{"ref": "refs/heads/" + strings.Repeat("x", 300)}.on(fixture(t, "github/push-main")), ""),
	} {
		var b strings.Builder
		if err := d.Explain(&b); err != nil {
			t.Fatal(err)
		}
		path := "testdata/explain/" + name + ".txt"
		if *update {
			if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(read(t, path), b.String()); diff != "" {
			t.Errorf("%s: -want +got (go test -update writes it anew):\n%s", name, diff)
		}
		if strings.ContainsFunc(b.String(), func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }) {
			t.Errorf("%s: something gets through to the terminal: %q", name, b.String())
		}
	}
	if err := (Decision{}).Explain(failing{}); !errors.Is(err, errFull) {
		t.Errorf("a writer that fails: %v", err)
	}
}

var errFull = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestDecisionJSON(t *testing.T) {
	p := parse(t, read(t, examples+"policy.yaml"))
	got, err := json.Marshal(p.JudgeClaims(fixture(t, "github/push-tag"), ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"allowed":true,"workspace":"web","read":[],"write":"","provider":"github","bearer":false,"rule":"github tag or release","reason":"a tag`, `"conditions":[{"rule":"workspaces.web.github","text":"repository_id is \"456789\"","met":true,"got":"\"456789\""}`, `"ref":"refs/tags/v1.2.0"`, `"producer":{"kind":"ci","provider":"github"`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	got, err = json.Marshal(p.Judge(Identity{}, "nobody"))
	if want := `{"allowed":false,"read":[],"write":"","bearer":false,"reason":"the policy has no workspace \"nobody\"","conditions":[],"claims":{},"producer":{"kind":"ci"}}`; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

func TestParseClaims(t *testing.T) {
	for _, bad := range []string{"", "[]", "null", "{}{}", "{} x", `"x"`, "{", `{"a":}`, "{}" + strings.Repeat(" ", 64<<10), "\x00"} {
		if claims, err := ParseClaims([]byte(bad)); err == nil {
			t.Errorf("%.20q: %v", bad, claims)
		}
	}
	if claims, err := ParseClaims([]byte(" {\"a\": 1.50, \"b\": [1]}\n")); err != nil || claims["a"] != json.Number("1.50") {
		t.Errorf("%v, %v", claims, err)
	}
}

func TestRunOfTests(t *testing.T) {
	p := parse(t, twoWorkspaces)
	tests, err := ParseTests("tests.yaml", []byte(`
version: 1
tests:
  - {name: no file, claims_file: missing.json, expect: {denied: x}}
  - {name: no JSON, claims_file: bad.json, expect: {denied: x}}
  - {name: allowed, workspace: web, claims_file: push.json, expect: {denied: x}}
  - {name: bypassed, workspace: web, claims_file: push.json, set: {ref_type: tag, ref: refs/tags/x}, expect: {denied: x}}
  - {name: denied, claims_file: push.json, expect: {write: trusted}}
  - {name: another reason, claims_file: push.json, expect: {denied: x.y.z}}
  - {name: another rule, workspace: web, claims_file: push.json, expect: {rule: x, write: trusted}}
  - {name: another scope, workspace: web, claims_file: push.json, expect: {write: pr/1}}
  - {name: nothing written, workspace: web, claims_file: push.json, expect: {write: none}}
  - {name: something written, workspace: web, claims_file: push.json, set: {ref_type: tag, ref: refs/tags/x}, expect: {write: trusted}}
  - {name: another list, workspace: web, claims_file: push.json, expect: {read: [trusted, pr/1]}}
  - {name: an empty list, workspace: web, claims_file: push.json, expect: {read: []}}
  - {name: another workspace, workspace: web, claims_file: push.json, expect: {workspace: docs}}
  - {name: fine, workspace: web, claims_file: push.json, unset: [sub, aud, /a/b], set: {/x/y: 1}, expect: {workspace: web, write: trusted, read: [trusted]}}
  - {name: fine as well, claims_file: push.json, expect: {denied: several workspaces}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	push := read(t, examples+"claims/github/push-main.json")
	for _, r := range tests.Run(p, func(name string) ([]byte, error) {
		if name == "missing.json" {
			return nil, os.ErrNotExist
		}
		return []byte(map[string]string{"bad.json": "[]", "push.json": push}[name]), nil
	}) {
		fmt.Fprintf(&b, "%d %s: %s\n", r.Line, r.Name, r.Problem)
	}
	want := `4 no file: missing.json: file does not exist
5 no JSON: bad.json: the claims are no JSON object: json: cannot unmarshal array into Go value of type map[string]interface {}
6 allowed: it is allowed, and not denied: it writes trusted
7 bypassed: it is allowed, and not denied: it writes none
8 denied: it is denied: several workspaces have rules for this token: name one of docs or web in the URL
9 another reason: it is denied for another reason: several workspaces have rules for this token: name one of docs or web in the URL
10 another rule: the rule is "github push, trusted branch", not "x"
11 another scope: it writes trusted, not pr/1
12 nothing written: it writes trusted, not none
13 something written: it writes none, not trusted
14 another list: it reads trusted, not trusted, then pr/1
15 an empty list: it reads trusted, not nothing
16 another workspace: the workspace is web, not docs
17 fine: 
18 fine as well: 
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
