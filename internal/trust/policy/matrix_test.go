package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// lookAlikes are refs that are not refs/heads/main, and that a parser, a filter, a file system or an eye may take for it.
var lookAlikes = []string{
	"", "main", "heads/main", "/refs/heads/main", "refs/heads", "refs/heads/", "refs/heads/*", "refs/heads/Main", "refs/heads/MAIN", "refs/Heads/main", "REFS/HEADS/MAIN",
	"refs/heads/refs/heads/main", "refs/tags/main", "refs/remotes/origin/main", "refs/heads/origin/main", "refs/heads/main/", "refs/heads//main", "refs//heads/main", "refs/heads/./main",
	"refs/heads/x/../main", "refs/heads/main/x", "refs/heads/x/main", "refs/heads/mai", "refs/heads/mainn", "refs/heads/main.lock", "refs/heads/main~1", "refs/heads/main^{}", "refs/heads/main@{0}",
	"refs/heads/%6dain", "refs/heads%2Fmain", "refs%2Fheads%2Fmain", "refs/heads/main%00", "refs/heads/main%20", "refs\\heads\\main", "refs/heads/main?x", "refs/heads/main#x",
	" refs/heads/main", "refs/heads/main ", "refs/heads/main\n", "refs/heads/main\r\n", "refs/heads/main\t", "refs/heads/main\x00", "\x00refs/heads/main", "refs/heads/main\x1b[0m", "refs/heads/main\x7f",
	"refs/heads/m\u0430in", "refs/heads/ma\u0456n", "refs/heads/\uff4dain", "refs/heads/ma\u0131n", "refs/heads/main\u0301", "refs/heads/mai\u00ad\u006e", "refs/heads/main\u200b", "refs/heads/\u202emain", "\ufeffrefs/heads/main",
	"refs/heads/main\u00a0", "refs\u2215heads\u2215main", "refs/heads/main\ufffd", "refs/heads/main\u0085", "refs/heads/main\xff", "refs/heads/main,refs/heads/main", "refs/heads/main;refs/heads/x", "refs/heads/main refs/heads/main",
	"refs/heads/" + strings.Repeat("main/", 60) + "main", "refs/heads/" + strings.Repeat("main/", 110), strings.Repeat("refs/heads/main", 80), "refs/heads/main" + strings.Repeat(" ", 2000),
}

// wrongTypes are values of other types than the text that every claim is.
var wrongTypes = map[string]any{
	"missing": absent{}, "null": nil, "a number": json.Number("456789"), "a number with a point": json.Number("77.0"), "a long number": json.Number(strings.Repeat("7", 99)), "a boolean": true, "a list": []any{"refs/heads/main"},
	"an object": map[string]any{"refs/heads/main": true}, "of no JSON type": 456789, "empty": "",
}

// wrongIDs are no ids of 456789 or 77.
func wrongIDs(id string) []string {
	return []string{
		"1", id + "0", "0" + id, " " + id, id + " ", id + "\n", "+" + id, id + ".0", id + "e0", "0x" + id, id + "\x00", strings.Repeat("9", 40), id + "," + id, "\u0664\u0665", "-" + id, id + "\ufffd", id + "/", "/" + id, id + "%20", id + "\u200b",
	}
}

// fitsScope says whether a ref can name a scope: told here in other words than in the code under test.
func fitsScope(ref string, before int) bool {
	for _, r := range ref {
		if r < 32 || r >= 0x7f && r < 0xa0 || r == 0xfffd {
			return false
		}
	}
	return ref != "" && len(ref)+before <= cache.MaxScopeName
}

// TestMatrix judges what must not be trusted, in every way that somebody may try.
func TestMatrix(t *testing.T) {
	everyEvent := githubPolicy(t, "branches: [main], events: [push, schedule, workflow_dispatch, repository_dispatch], require: {ref_protected: true, runner: github-hosted}", "      merge_queue: trusted")
	everySource := gitlabPolicy(t, "branches: [main], sources: [push, schedule, parent_pipeline]", "")
	cases := 0
	check := func(r row) {
		t.Helper()
		cases++
		r.check(t)
	}

	// Row 4 of the attacks: the exact bytes of the full ref, and its type.
	for _, base := range []string{"github/push-main", "github/schedule", "github/workflow_dispatch", "github/repository_dispatch", "gitlab/push-main", "gitlab/schedule", "gitlab/parent-pipeline"} {
		claims := fixture(t, base)
		p, claim, run := everyEvent, "ref", claims["run_id"]
		if strings.HasPrefix(base, "gitlab") {
			p, claim, run = everySource, "ref_path", claims["pipeline_id"]
		}
		check(row{base, p, claims, isTrusted, ""})
		for _, ref := range lookAlikes {
			want := denied
			switch {
			case strings.Contains(base, "push"):
				if strings.HasPrefix(ref, "refs/heads/") && fitsScope(ref, 0) {
					want = own("branch/" + ref)
				}
			case fitsScope(ref, cache.MaxScopeName-maxClaim):
				want = own("run/" + run.(string))
			}
			check(row{fmt.Sprintf("%s with %q", base, ref), p, set{claim: ref}.on(claims), want, ""})
		}
		for _, refType := range []string{"Branch", "branch ", "tags", "heads", "commit", "br\u0430nch"} {
			want := own(fmt.Sprint("run/", run))
			if strings.Contains(base, "push") {
				want = denied
			}
			check(row{base + " with ref_type " + refType, p, set{"ref_type": refType}.on(claims), want, ""})
		}
	}

	// What a pattern of branches is not for.
	released := githubPolicy(t, "branches: [main, release/*], require: {ref_protected: true}", "")
	releasedLab := gitlabPolicy(t, "branches: [release/*]", "")
	for base, p := range map[string]*Policy{"github/push-main": released, "gitlab/push-main": releasedLab} {
		claim := map[*Policy]string{released: "ref", releasedLab: "ref_path"}[p]
		check(row{base + " of the pattern", p, set{claim: "refs/heads/release/1"}.on(fixture(t, base)), isTrusted, ""})
		for _, ref := range []string{
			"release/1", "heads/release/1", "/refs/heads/release/1", "refs/tags/release/1", "refs/pull/release/1", "refs/remotes/release/1", "REFS/HEADS/release/1", "refs/heads", "refs/heads/", "refs%2Fheads%2Frelease%2F1",
			"refs/heads/release", "refs/heads/release/", "refs/heads/release//1", "refs/heads/release/1/", "refs/heads/release/1/2", "refs/heads//release/1", "refs/heads/release%2F1", "refs/heads/Release/1", "refs/heads/xrelease/1",
			"refs/heads/x/release/1", "refs/heads/refs/heads/release/1", "refs/heads/releases/1", "refs/heads/release\u2215/1", "refs/heads/\u0433elease/1",
		} {
			want := denied
			if strings.HasPrefix(ref, "refs/heads/") {
				want = own("branch/" + ref)
			}
			check(row{base + " of the pattern with " + ref, p, set{claim: ref}.on(fixture(t, base)), want, ""})
		}
	}

	// Claims that are missing, or of another type.
	for base, needed := range map[string][]string{
		"github/push-main": {"repository_id", "repository_owner_id", "event_name", "ref", "ref_type", "run_id", "ref_protected", "runner_environment"},
		"gitlab/push-main": {"job_project_id", "project_id", "pipeline_source", "ref_path", "ref_type", "ref_protected", "pipeline_id"},
	} {
		p := everyEvent
		if base == "gitlab/push-main" {
			p = everySource
		}
		for _, claim := range needed {
			for what, v := range wrongTypes {
				want := denied
				if claim == "job_project_id" && what == "missing" {
					want = own("branch/refs/heads/main") // GitLab before 18.4
				}
				check(row{claim + " is " + what, p, set{claim: v}.on(fixture(t, base)), want, ""})
			}
		}
	}
	for base, recorded := range map[string][]string{
		"github/push-main": {"sub", "repository", "sha", "run_attempt", "check_run_id", "workflow_ref", "actor", "actor_id"},
		"gitlab/push-main": {"sub", "project_path", "namespace_id", "sha", "job_id", "ci_config_ref_uri", "user_login", "user_id"},
	} {
		p := everyEvent
		if base == "gitlab/push-main" {
			p = everySource
		}
		for _, claim := range recorded {
			for what, v := range map[string]any{"a boolean": false, "a list": []any{"x"}, "an object": map[string]any{}, "of no JSON type": 1, "too long": strings.Repeat("x", maxClaim+1), "an escape": "\x1b]0;x\x07", "no text": "\ufffd"} {
				check(row{claim + " is " + what, p, set{claim: v}.on(fixture(t, base)), denied, ""})
			}
			for what, v := range map[string]any{"missing": absent{}, "null": nil, "a number": json.Number("7"), "empty": ""} {
				check(row{claim + " is " + what, p, set{claim: v}.on(fixture(t, base)), isTrusted, ""})
			}
		}
	}

	// Foreign, recycled and misspelt ids.
	for _, wrong := range wrongIDs(repositoryID) {
		check(row{"repository_id " + wrong, everyEvent, set{"repository_id": wrong}.on(fixture(t, "github/push-main")), denied, "github, another repository"})
	}
	for _, wrong := range wrongIDs("123456") {
		check(row{"repository_owner_id " + wrong, everyEvent, set{"repository_owner_id": wrong}.on(fixture(t, "github/push-main")), denied, "github, another repository"})
	}
	for _, wrong := range wrongIDs("77") {
		check(row{"job_project_id " + wrong, everySource, set{"job_project_id": wrong}.on(fixture(t, "gitlab/push-main")), denied, ""})
		check(row{"project_id " + wrong, everySource, set{"project_id": wrong}.on(fixture(t, "gitlab/push-main")), denied, ""})
	}
	for _, wrong := range wrongIDs("17650000001")[2:] {
		check(row{"run_id " + wrong, everyEvent, set{"run_id": wrong}.on(fixture(t, "github/push-main")), denied, ""})
		check(row{"pipeline_id " + wrong, everySource, set{"pipeline_id": wrong}.on(fixture(t, "gitlab/push-main")), denied, ""})
	}

	// Other issuers and audiences.
	for _, iss := range []any{
		"", nil, absent{}, json.Number("1"), []any{"https://token.actions.githubusercontent.com"}, "https://token.actions.githubusercontent.com/", "http://token.actions.githubusercontent.com", "HTTPS://token.actions.githubusercontent.com",
		"https://token.actions.githubusercontent.com.evil.example", "https://token.actions.githubusercontent.com@evil.example", "https://token.actions.githubusercontent.com:443", "https://token.actions.githubusercontent.com/acme", "https://gitlab.com",
	} {
		check(row{fmt.Sprintf("iss %v", iss), everyEvent, set{"iss": iss}.on(fixture(t, "github/push-main")), denied, ""})
	}
	for _, iss := range []string{"https://gitlab.com", "https://gitlab.example.com/", "http://gitlab.example.com", "https://gitlab.example.com.evil.example", "https://GitLab.example.com"} {
		check(row{"iss " + iss, everySource, set{"iss": iss}.on(fixture(t, "gitlab/push-main")), denied, ""})
	}
	for _, other := range []any{
		"", nil, "https://github.com/acme", aud + "/", strings.ToUpper(aud), "sts.amazonaws.com", json.Number("1"), []any{}, []any{aud, "other"}, []any{"other"}, []any{[]any{aud}}, map[string]any{aud: true}, aud + "\n",
	} {
		check(row{fmt.Sprintf("aud %v", other), everyEvent, set{"aud": other}.on(fixture(t, "github/push-main")), denied, "every token"})
	}
	check(row{"aud in a list", everyEvent, set{"aud": []any{aud}}.on(fixture(t, "github/push-main")), isTrusted, ""})

	// Names that are case or normal forms of others. Two texts that look the same are two branches.
	nfc, nfd := "refs/heads/caf\u00e9", "refs/heads/cafe\u0301"
	for listed, pushed := range map[string]string{nfc: nfd, nfd: nfc} {
		p := githubPolicy(t, "branches: ["+strings.TrimPrefix(listed, headsPrefix)+"]", "")
		check(row{"its own form", p, set{"ref": listed}.on(fixture(t, "github/push-main")), isTrusted, ""})
		check(row{"the other form", p, set{"ref": pushed}.on(fixture(t, "github/push-main")), own("branch/" + pushed), ""})
	}

	t.Logf("%d cases", cases)
	if cases < 400 {
		t.Errorf("only %d cases", cases)
	}
}

// TestScopesAreApart: of all that was isolated, no two refs, runs or requests share a scope, and none is trusted.
func TestScopesAreApart(t *testing.T) {
	p := parse(t, `
version: 1
audience: `+aud+`
workspaces:
  web:
    github:
      - {repository_id: 1, owner_id: 2, trusted: {branches: [main]}}
      - {repository_id: 12, owner_id: 2, trusted: {branches: [main]}}
    gitlab:
      - {issuer: https://gitlab.example.com, project_id: 1, trusted: {branches: [main]}}
`)
	seen := map[cache.Scope]string{cache.Trusted: "trusted"}
	see := func(what string, claims map[string]any) {
		t.Helper()
		d := p.JudgeClaims(claims, "web")
		sound(t, p, d)
		if !d.Allowed {
			t.Fatalf("%s: %s", what, d.Reason)
		}
		if other, twice := seen[d.Grant.Write]; twice {
			t.Errorf("%s and %s share %s", what, other, d.Grant.Write)
		}
		seen[d.Grant.Write] = what
	}
	for _, repository := range []string{"1", "12"} {
		github := set{"repository_id": repository, "repository_owner_id": "2"}
		for _, ref := range []string{"refs/heads/x", "refs/heads/2/refs/heads/x", "refs/heads/pr/17", "refs/heads/X", "refs/heads/x/", "refs/heads/x%2Fy", "refs/heads/x/y"} {
			see(repository+" "+ref, set{"ref": ref}.on(github.on(fixture(t, "github/push-branch"))))
		}
		see(repository+" pr", github.on(fixture(t, "github/pull_request")))
		see(repository+" run", github.on(fixture(t, "github/workflow_dispatch")))
		see(repository+" run 17", set{"run_id": "17"}.on(github.on(fixture(t, "github/workflow_dispatch"))))
		see(repository+" queue", github.on(fixture(t, "github/merge_group")))
	}
	gitlab := set{"project_id": "1", "job_project_id": "1"}
	see("gitlab branch", set{"ref_path": "refs/heads/x"}.on(gitlab.on(fixture(t, "gitlab/push-branch"))))
	see("gitlab run 17", set{"pipeline_id": "17"}.on(gitlab.on(fixture(t, "gitlab/web"))))
	see("gitlab mr", gitlab.on(fixture(t, "gitlab/merge-request")))
	see("gitlab fork", set{"job_project_id": "1"}.on(fixture(t, "gitlab/merge-request-fork-in-parent")))
	if want := cache.Scope("pr/github:12/17"); seen[want] == "" {
		t.Errorf("no %s among %v", want, seen)
	}
}
