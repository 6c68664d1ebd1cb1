package policy

import (
	"encoding/json"
	"strings"
	"testing"
)

func oidcPolicy(t testing.TB, more string) *Policy {
	t.Helper()
	return parse(t, "version: 1\naudience: "+aud+"\nworkspaces:\n  web:\n    oidc:\n      name: ci\n      issuer: https://ci.example.com\n"+more)
}

const ciIdentity = "      identity: {project: p-1, tier: 3, main: true, /run/by: robot}\n"

func ciClaims() map[string]any {
	return map[string]any{
		"iss": "https://ci.example.com", "sub": "anything", "project": "p-1", "tier": json.Number("3"), "main": true, "run": map[string]any{"by": "robot", "id": json.Number("42")},
		"ref": "refs/heads/main", "event": "push", "os": "linux", "number": json.Number("7"),
	}
}

func TestOIDCTrusted(t *testing.T) {
	p := oidcPolicy(t, ciIdentity+`
      trusted:
        ref: {claim: ref, values: [refs/heads/main, refs/heads/next]}
        event: {claim: event, values: [push, 7]}
        require: {os: linux}
      untrusted: read-only
`)
	ci := ciClaims()
	row{"all that is bound", p, ci, isTrusted, "oidc, trusted"}.check(t)
	row{"another value of the list", p, set{"ref": "refs/heads/next", "event": json.Number("7")}.on(ci), isTrusted, "oidc, trusted"}.check(t)
	for _, ref := range lookAlikes {
		want := readsOnly
		if !keepable(ref) {
			want = denied // it would go into the record
		}
		row{"ref " + ref, p, set{"ref": ref}.on(ci), want, ""}.check(t)
	}
	for name, change := range map[string]set{
		"no ref": {"ref": absent{}}, "no event": {"event": absent{}}, "event null": {"event": nil}, "another event": {"event": "PUSH"}, "a number as a text": {"event": "7"}, "another number": {"event": json.Number("7.0")},
		"no os": {"os": absent{}}, "another os": {"os": "Linux"}, "os in a list": {"os": []any{"linux"}},
	} {
		row{name, p, change.on(ci), readsOnly, "oidc, not trusted"}.check(t)
	}
	row{"an event of another type", p, set{"event": true}.on(ci), denied, "oidc, a claim is missing or malformed"}.check(t)
	for name, change := range map[string]set{
		"no project": {"project": absent{}}, "another project": {"project": "p-2"}, "project in a list": {"project": []any{"p-1"}}, "tier as a text": {"tier": "3"}, "another tier": {"tier": json.Number("30")},
		"main as a text": {"main": "true"}, "main false": {"main": false}, "run is a text": {"run": "robot"}, "run is missing": {"run": absent{}}, "run is empty": {"run": map[string]any{}},
		"by another": {"run": map[string]any{"by": "human"}}, "a flat pointer": {"run": absent{}, "/run/by": "robot"}, "no JSON type": {"tier": 3},
	} {
		row{name, p, change.on(ci), denied, "oidc, another identity"}.check(t)
	}
}

func TestOIDCDedicated(t *testing.T) {
	p := oidcPolicy(t, ciIdentity+"      trusted: {dedicated: true, require: {os: linux}}\n")
	row{"any ref and event", p, set{"ref": absent{}, "event": "whatever"}.on(ciClaims()), isTrusted, "oidc, dedicated to trusted builds"}.check(t)
	row{"without what is required", p, set{"os": "darwin"}.on(ciClaims()), denied, "oidc, not trusted"}.check(t)
	row{"nobody is trusted by default", oidcPolicy(t, ciIdentity), ciClaims(), denied, "oidc, not trusted"}.check(t)
}

func TestOIDCIsolated(t *testing.T) {
	p := oidcPolicy(t, ciIdentity+"      untrusted: isolated\n      scope: [ref, number]\n      record: {run: /run/id, repository: project, repository_id: project, owner_id: tier, commit: sha, attempt: number, job: job, workflow: os, actor: /run/by, actor_id: nobody}\n")
	ci := ciClaims()
	for ref, want := range map[string]string{
		"main": "oidc/ci/main/7", "refs/heads/main": "oidc/ci/refs%2Fheads%2Fmain/7", "a%2Fb": "oidc/ci/a%252Fb/7", "..": "oidc/ci/../7", "a/7": "oidc/ci/a%2F7/7", "trusted": "oidc/ci/trusted/7",
	} {
		row{ref, p, set{"ref": ref}.on(ci), own(want), "oidc, not trusted"}.check(t)
	}
	for name, change := range map[string]set{
		"no ref": {"ref": absent{}}, "empty": {"ref": ""}, "a list": {"ref": []any{"x"}}, "a boolean": {"ref": true}, "null": {"ref": nil}, "a number with a point": {"number": json.Number("7.5")}, "zero": {"number": json.Number("0")},
		"an escape": {"ref": "\x1b[0m"}, "too long for a claim": {"ref": strings.Repeat("x", maxClaim+1)}, "too long for a scope": {"ref": strings.Repeat("x", 511)}, "an object": {"number": map[string]any{}},
	} {
		row{name, p, change.on(ci), denied, ""}.check(t)
	}
	// No two lists of values share a name.
	seen := map[string]string{}
	for _, values := range [][2]string{{"a", "b"}, {"a/b", "c"}, {"a", "b/c"}, {"a%2Fb", "c"}, {"a", "b%2Fc"}, {"a/", "b"}, {"a", "/b"}, {"%", "a"}, {"%25", "a"}} {
		d := p.JudgeClaims(set{"ref": values[0], "number": values[1]}.on(ci), "")
		w := string(d.Grant.Write)
		if other, twice := seen[w]; twice || w == "" {
			t.Errorf("%q and %q share %q", values, other, w)
		}
		seen[w] = strings.Join(values[:], " ")
	}
	d := p.JudgeClaims(ci, "")
	want := `{"kind":"ci","provider":"oidc","issuer":"https://ci.example.com","subject":"anything","repository":"p-1","repository_id":"p-1","owner_id":"3","run_id":"42","run_attempt":"7","workflow_ref":"linux","actor":"robot"}`
	if got, _ := json.Marshal(d.Grant.Producer); string(got) != want {
		t.Errorf("the producer is %s", got)
	}
}

// TestCircleCIWithAShell: a job that was run again with SSH is refused on every host name of that issuer.
func TestCircleCIWithAShell(t *testing.T) {
	for _, iss := range []string{"https://oidc.circleci.com/org/x", "https://OIDC.circleci.com:443/org/x", "https://oidc.circleci.com./org/x"} {
		p := parse(t, "version: 1\naudience: x\nworkspaces: {web: {oidc: {name: ci, issuer: \""+iss+"\", identity: {oidc.circleci.com/project-id: p}, trusted: {dedicated: true}}}}\n")
		for _, shell := range []any{true, nil, "false", json.Number("0"), absent{}, []any{}} {
			claims := set{"oidc.circleci.com/ssh-rerun": shell}.on(map[string]any{"iss": iss, "oidc.circleci.com/project-id": "p"})
			row{iss, p, claims, denied, "oidc, a job with a shell"}.check(t)
		}
		row{iss, p, map[string]any{"iss": iss, "oidc.circleci.com/project-id": "p", "oidc.circleci.com/ssh-rerun": false}, isTrusted, ""}.check(t)
	}
}
