package policy

import (
	"strings"
	"testing"
)

// A test for each row of the two tables.

const mainOnly = "branches: [main]"

func githubRow(t *testing.T, rows ...row) {
	t.Helper()
	base := githubPolicy(t, mainOnly, "")
	for _, r := range rows {
		if r.policy == nil {
			r.policy = base
		}
		r.check(t)
	}
}

func TestGitHubPushTrustedBranch(t *testing.T) {
	push := fixture(t, "github/push-main")
	const rule = "github push, trusted branch"
	strict := githubPolicy(t, "branches: [main], require: {ref_protected: true, runner: github-hosted, environment: production, workflow_ref: acme/web/.github/workflows/ci.yml@refs/heads/main}", "")
	released := githubPolicy(t, "branches: [main, release/*], require: {ref_protected: true}", "")
	production := set{"environment": "production"}
	githubRow(t,
		row{"the listed branch", nil, push, isTrusted, rule},
		row{"renamed", nil, set{"repository": "other/name", "repository_owner": "other", "sub": "anything at all"}.on(push), isTrusted, rule},
		row{"all that is required", strict, production.on(push), isTrusted, rule},
		row{"no environment", strict, push, own("branch/refs/heads/main"), ""},
		row{"another environment", strict, set{"environment": "Production"}.on(push), own("branch/refs/heads/main"), ""},
		row{"an environment in a list", strict, set{"environment": []any{"production"}}.on(push), denied, "github, a claim is missing or malformed"},
		row{"another runner", strict, set{"environment": "production", "runner_environment": "self-hosted"}.on(push), own("branch/refs/heads/main"), ""},
		row{"another workflow", strict, set{"environment": "production", "workflow_ref": "acme/web/.github/workflows/x.yml@refs/heads/main"}.on(push), own("branch/refs/heads/main"), ""},
		row{"not protected", strict, set{"environment": "production", "ref_protected": "false"}.on(push), own("branch/refs/heads/main"), ""},
		row{"protected in another spelling", strict, set{"environment": "production", "ref_protected": "True"}.on(push), own("branch/refs/heads/main"), ""},
		row{"a branch of the pattern", released, fixture(t, "github/push-release-branch"), isTrusted, rule},
		row{"the pattern without its last part", released, set{"ref": "refs/heads/release/"}.on(push), own("branch/refs/heads/release/"), ""},
		row{"the pattern without a slash", released, set{"ref": "refs/heads/release"}.on(push), own("branch/refs/heads/release"), ""},
		row{"two parts more than the pattern", released, set{"ref": "refs/heads/release/1/2"}.on(push), own("branch/refs/heads/release/1/2"), ""},
		row{"the pattern itself", released, set{"ref": "refs/heads/release/*"}.on(push), isTrusted, ""},
		row{"something before the pattern", released, set{"ref": "refs/heads/x/release/1"}.on(push), own("branch/refs/heads/x/release/1"), ""},
		row{"of the pattern, not protected", released, set{"ref": "refs/heads/release/1", "ref_protected": "false"}.on(push), own("branch/refs/heads/release/1"), ""},
	)
}

func TestGitHubScheduleTrustedBranch(t *testing.T) {
	schedule := fixture(t, "github/schedule")
	githubRow(t,
		row{"the listed branch", nil, schedule, isTrusted, "github schedule, trusted branch"},
		row{"another branch", nil, set{"ref": "refs/heads/develop"}.on(schedule), own("run/17650000006"), "github schedule, another branch"},
		row{"not listed", githubPolicy(t, "branches: [main], events: [push]", ""), schedule, own("run/17650000006"), "github schedule, another branch"},
	)
}

func TestGitHubDispatch(t *testing.T) {
	opted := githubPolicy(t, "branches: [main], events: [push, workflow_dispatch, repository_dispatch]", "")
	for _, name := range []string{"workflow_dispatch", "repository_dispatch"} {
		claims := fixture(t, "github/"+name)
		run := own("run/" + claims["run_id"].(string))
		githubRow(t,
			row{name, nil, claims, run, "github dispatch"},
			row{name + " by opt-in", opted, claims, isTrusted, "github dispatch, trusted branch"},
			row{name + " by opt-in on another branch", opted, set{"ref": "refs/heads/fix"}.on(claims), run, "github dispatch"},
			row{name + " by opt-in on a tag", opted, set{"ref": "refs/tags/main", "ref_type": "tag"}.on(claims), run, "github dispatch"},
			row{name + " by opt-in on a tag that looks like a branch", opted, set{"ref_type": "tag"}.on(claims), run, "github dispatch"},
		)
	}
}

func TestGitHubMergeQueue(t *testing.T) {
	group := fixture(t, "github/merge_group")
	ref := group["ref"].(string)
	const pr = "/pr-17-6f0d2c1b9e8a7f6d5c4b3a2918070605f4e3d2c1"
	opted := githubPolicy(t, mainOnly, "      merge_queue: trusted")
	strict := githubPolicy(t, "branches: [main, release/*], require: {ref_protected: true}", "      merge_queue: trusted")
	queue := func(ref string) set { return set{"ref": ref} }
	const head = "refs/heads/gh-readonly-queue/"
	rows := []row{
		{"isolated", nil, group, own("queue/" + ref), "github merge queue"},
		{"by opt-in", opted, group, isTrusted, "github merge queue, trusted branch"},
		{"by opt-in with a protected queue", strict, group, isTrusted, "github merge queue, trusted branch"},
		{"by opt-in with a queue that is not protected", strict, set{"ref_protected": "false"}.on(group), own("queue/" + ref), ""},
		{"the queue of a branch of the pattern", strict, queue(head + "release/1" + pr).on(group), isTrusted, ""},
		{"a tag", opted, set{"ref_type": "tag"}.on(group), denied, "github merge queue"},
	}
	for _, r := range []string{
		head + "develop" + pr, head + "main/a" + pr, head + "Main" + pr, head + "main/pr-17-", head + "main/pr-0-abc", head + "main/pr--abc", head + "main/pr-x-abc",
		head + "main/17-abc", head + "main/pr-17", head + "main/pr-17-ABC", head + "main/pr-17-abc-d", head + "main" + pr + "/x", head + "pr-17-abc", head + "main",
	} {
		rows = append(rows, row{"by opt-in, " + r, opted, queue(r).on(group), own("queue/" + r), "github merge queue"})
	}
	for _, r := range []string{"refs/heads/main", "refs/tags/gh-readonly-queue/main" + pr, "refs/heads/refs/heads/gh-readonly-queue/main" + pr, "gh-readonly-queue/main" + pr} {
		rows = append(rows, row{"by opt-in, " + r, opted, queue(r).on(group), denied, "github merge queue"})
	}
	// A push to a queue's branch is a push to another branch.
	rows = append(rows, row{"pushed", opted, queue(ref).on(fixture(t, "github/push-main")), own("branch/" + ref), "github push, another branch"})
	githubRow(t, rows...)
}

func TestGitHubPushAnotherBranch(t *testing.T) {
	push := fixture(t, "github/push-branch")
	githubRow(t,
		row{"isolated", nil, push, own("branch/refs/heads/fix/login"), "github push, another branch"},
		row{"read-only", githubPolicy(t, mainOnly, "      branches: read-only"), push, readsOnly, ""},
		row{"off", githubPolicy(t, mainOnly, "      branches: off"), push, denied, ""},
		row{"main, if pushes are not trusted", githubPolicy(t, "branches: [main], events: [schedule]", ""), fixture(t, "github/push-main"), own("branch/refs/heads/main"), ""},
		row{"the longest name of a scope", nil, set{"ref": "refs/heads/" + strings.Repeat("x", 501)}.on(push), own("branch/refs/heads/" + strings.Repeat("x", 501)), ""},
		row{"a longer one", nil, set{"ref": "refs/heads/" + strings.Repeat("x", 502)}.on(push), denied, ""},
		row{"longer than any claim", nil, set{"ref": "refs/heads/" + strings.Repeat("x", 1014)}.on(push), denied, "github, a claim is missing or malformed"},
	)
}

func TestGitHubPullRequest(t *testing.T) {
	pr := fixture(t, "github/pull_request")
	githubRow(t,
		row{"isolated", nil, pr, own("pr/17"), "github pull request"},
		row{"read-only", githubPolicy(t, mainOnly, "      pull_requests: read-only"), pr, readsOnly, ""},
		row{"off", githubPolicy(t, mainOnly, "      pull_requests: off"), pr, denied, ""},
		row{"another number in head_ref", nil, set{"head_ref": "refs/pull/18/merge"}.on(pr), own("pr/17"), ""},
		row{"main as head_ref", nil, set{"head_ref": "main", "base_ref": "main", "ref_protected": "true"}.on(pr), own("pr/17"), ""},
		row{"after it was closed", nil, fixture(t, "github/pull_request-closed"), denied, "github pull request"},
	)
	for _, ref := range []string{
		"refs/pull/17/head", "refs/pull/017/merge", "refs/pull/0/merge", "refs/pull//merge", "refs/pull/-1/merge", "refs/pull/1 7/merge", "refs/pull/17/merge/", "refs/pull/17/merge/merge",
		"refs/pull/17", "refs/heads/refs/pull/17/merge", "refs/heads/main", "refs/tags/main", "pull/17/merge", "refs/Pull/17/merge", "refs/pull/\u0661\u0667/merge",
		"refs/pull/123456789012345678901/merge", "refs/pull/0x11/merge", "refs/pull/1_7/merge", "refs/pull/17%2F/merge",
	} {
		githubRow(t, row{ref, nil, set{"ref": ref}.on(pr), denied, "github pull request"})
	}
}

// TestGitHubEventsBesideTheCode: pull_request_target, workflow_run, issue_comment and the like, whose ref is the default branch.
func TestGitHubEventsBesideTheCode(t *testing.T) {
	all := githubPolicy(t, "branches: [main], events: [push, schedule, workflow_dispatch, repository_dispatch]", "      merge_queue: trusted")
	push := fixture(t, "github/push-main")
	for _, event := range append(besideEvents, reviewEvents...) {
		githubRow(t, row{event, all, set{"event_name": event}.on(push), own("run/17650000001"), ""})
	}
	for name, want := range map[string]string{
		"pull_request_target": "run/17650000012", "pull_request_review": "run/17650000013", "workflow_run": "run/17650000014", "issue_comment": "run/17650000015", "deployment_status": "run/17650000018",
	} {
		githubRow(t, row{name, all, fixture(t, "github/"+name), own(want), ""})
	}
	githubRow(t,
		row{"no pull requests", githubPolicy(t, mainOnly, "      pull_requests: off"), fixture(t, "github/pull_request_target"), denied, "github pull request, beside its code"},
		row{"pull requests read only", githubPolicy(t, mainOnly, "      pull_requests: read-only"), fixture(t, "github/pull_request_review"), readsOnly, ""},
	)
}

func TestGitHubTagOrRelease(t *testing.T) {
	reads := githubPolicy(t, mainOnly, "      releases: read")
	const rule = "github tag or release"
	tag := fixture(t, "github/push-tag")
	githubRow(t,
		row{"a tag", nil, tag, misses, rule},
		row{"a tag that reads", reads, tag, readsOnly, rule},
		row{"a release", nil, fixture(t, "github/release"), misses, rule},
		row{"a release that reads", reads, fixture(t, "github/release"), readsOnly, rule},
		row{"a release on main", nil, set{"ref": "refs/heads/main", "ref_type": "branch"}.on(fixture(t, "github/release")), misses, rule},
		row{"a tag with the ref of a branch", nil, set{"ref": "refs/heads/main"}.on(tag), denied, rule},
		row{"a tag with a bare ref", nil, set{"ref": "v1.2.0"}.on(tag), denied, rule},
	)
}

func TestGitHubUnknownEvent(t *testing.T) {
	for _, event := range []string{"tomorrow", "Push", "PUSH", "push ", " push", "pushed", "pull-request", "pull_request_", "merge_queue", "workflow_call", "dynamic", "\u0440ush", "push\u200b", "release_", "schedule,push"} {
		githubRow(t, row{event, nil, set{"event_name": event}.on(fixture(t, "github/push-main")), denied, "github unknown event"})
	}
}

func gitlabRow(t *testing.T, rows ...row) {
	t.Helper()
	base := gitlabPolicy(t, mainOnly, "")
	for _, r := range rows {
		if r.policy == nil {
			r.policy = base
		}
		r.check(t)
	}
}

func TestGitLabTrustedBranch(t *testing.T) {
	strict := gitlabPolicy(t, "branches: [main], require: {runner: self-hosted, environment: production}", "")
	released := gitlabPolicy(t, "branches: [release/*]", "")
	push := fixture(t, "gitlab/push-main")
	const rule = "gitlab push, trusted branch"
	branch := own("branch/refs/heads/main")
	gitlabRow(t,
		row{"a push", nil, push, isTrusted, rule},
		row{"renamed", nil, set{"project_path": "x/y", "job_project_path": "x/y", "sub": "anything at all"}.on(push), isTrusted, rule},
		row{"a schedule", nil, fixture(t, "gitlab/schedule"), isTrusted, "gitlab schedule, trusted branch"},
		row{"a schedule on another branch", nil, set{"ref": "x", "ref_path": "refs/heads/x"}.on(fixture(t, "gitlab/schedule")), own("run/1519139003"), "gitlab schedule, another branch"},
		row{"a schedule that is not listed", gitlabPolicy(t, "branches: [main], sources: [push]", ""), fixture(t, "gitlab/schedule"), own("run/1519139003"), ""},
		row{"not protected", nil, set{"ref_protected": "false"}.on(push), branch, "gitlab push, another branch"},
		row{"protected in another spelling", nil, set{"ref_protected": "TRUE"}.on(push), branch, ""},
		row{"before job_project_id", nil, fixture(t, "gitlab/push-main-before-18"), branch, ""},
		row{"all that is required", strict, fixture(t, "gitlab/push-main-environment"), isTrusted, rule},
		row{"no environment", strict, push, branch, ""},
		row{"an environment of another type", strict, set{"environment": true}.on(push), denied, "gitlab, a claim is missing or malformed"},
		row{"another runner", strict, set{"runner_environment": "gitlab-hosted"}.on(fixture(t, "gitlab/push-main-environment")), branch, ""},
		row{"a branch of the pattern", released, set{"ref_path": "refs/heads/release/1"}.on(push), isTrusted, rule},
		row{"of the pattern, not protected", released, set{"ref_path": "refs/heads/release/1", "ref_protected": "false"}.on(push), own("branch/refs/heads/release/1"), ""},
		row{"the bare name does not count", nil, set{"ref": "main", "ref_path": "refs/heads/x"}.on(push), own("branch/refs/heads/x"), ""},
	)
}

func TestGitLabParentPipeline(t *testing.T) {
	child := fixture(t, "gitlab/parent-pipeline")
	opted := gitlabPolicy(t, "branches: [main], sources: [push, schedule, parent_pipeline]", "")
	gitlabRow(t,
		row{"isolated", nil, child, own("run/1519139004"), "gitlab parent pipeline"},
		row{"by opt-in", opted, child, isTrusted, "gitlab parent pipeline, trusted branch"},
		row{"by opt-in on another branch", opted, set{"ref_path": "refs/heads/x"}.on(child), own("run/1519139004"), ""},
		row{"by opt-in, not protected", opted, set{"ref_protected": "false"}.on(child), own("run/1519139004"), ""},
		row{"by opt-in, before job_project_id", opted, set{"job_project_id": absent{}}.on(child), own("run/1519139004"), ""},
		row{"by opt-in, of a fork's merge request", opted, set{"project_id": "901"}.on(child), denied, "gitlab merge request of a fork"},
	)
}

func TestGitLabByHandOrByAnother(t *testing.T) {
	opted := gitlabPolicy(t, "branches: [main], sources: [push, schedule, parent_pipeline]", "")
	for _, source := range byHandSources {
		claims := fixture(t, "gitlab/"+source)
		run := own("run/" + claims["pipeline_id"].(string))
		const rule = "gitlab web, api, trigger, pipeline or chat"
		gitlabRow(t,
			row{source, nil, claims, run, rule},
			row{source + " beside opt-ins", opted, claims, run, rule},
			row{source + " on another branch", nil, set{"ref_path": "refs/heads/x"}.on(claims), run, rule},
		)
	}
}

func TestGitLabMergeRequest(t *testing.T) {
	mr := fixture(t, "gitlab/merge-request")
	const rule = "gitlab merge request"
	gitlabRow(t,
		row{"isolated", nil, mr, own("mr/77/refs/heads/fix-login"), rule},
		row{"of a protected branch", nil, fixture(t, "gitlab/merge-request-protected"), own("mr/77/refs/heads/main"), rule},
		row{"read-only", gitlabPolicy(t, mainOnly, "      merge_requests: read-only"), mr, readsOnly, rule},
		row{"off", gitlabPolicy(t, mainOnly, "      merge_requests: off"), mr, denied, rule},
		row{"no branch", nil, set{"ref_path": "refs/merge-requests/3/head"}.on(mr), denied, rule},
		row{"before job_project_id", nil, set{"job_project_id": absent{}}.on(mr), own("run/1519139010"), "gitlab merge request, perhaps of a fork"},
		row{"too long", nil, set{"ref_path": "refs/heads/" + strings.Repeat("x", 500)}.on(mr), denied, rule},
	)
}

func TestGitLabMergeRequestOfAFork(t *testing.T) {
	mr := fixture(t, "gitlab/merge-request-fork-in-parent")
	const rule, scope = "gitlab merge request of a fork", "fork/901/refs/heads/main"
	protected := set{"ref_protected": "true"}.on(mr)
	gitlabRow(t,
		row{"its own alone", nil, mr, scope + " <- " + scope, rule},
		row{"protected", nil, protected, scope + " <- " + scope, rule},
		row{"trusted by opt-in", gitlabPolicy(t, mainOnly, "      fork_merge_requests: isolated"), mr, own(scope), rule},
		row{"off", gitlabPolicy(t, mainOnly, "      fork_merge_requests: off"), mr, denied, rule},
		row{"no merge requests of the project itself", gitlabPolicy(t, mainOnly, "      merge_requests: off"), mr, scope + " <- " + scope, rule},
		row{"a push", nil, set{"pipeline_source": "push"}.on(protected), denied, rule},
		row{"a schedule", nil, set{"pipeline_source": "schedule"}.on(protected), denied, rule},
		row{"started by hand", nil, set{"pipeline_source": "web"}.on(protected), denied, rule},
		row{"a tag", nil, set{"ref_type": "tag", "ref_path": "refs/tags/main"}.on(mr), denied, rule},
		row{"before job_project_id", nil, set{"job_project_id": absent{}}.on(mr), denied, ""},
	)
}

func TestGitLabForksOwnPipeline(t *testing.T) {
	fork := fixture(t, "gitlab/fork-pipeline")
	const rule = "gitlab, another project or a fork's own pipeline"
	gitlabRow(t,
		row{"a push to main", nil, fork, denied, rule},
		row{"that says it is of the project", nil, set{"project_id": "77", "project_path": "acme/library"}.on(fork), denied, rule},
		row{"before job_project_id", nil, set{"job_project_id": absent{}}.on(fork), denied, rule},
	)
}

func TestGitLabPushAnotherBranch(t *testing.T) {
	push := fixture(t, "gitlab/push-branch")
	const rule = "gitlab push, another branch"
	gitlabRow(t,
		row{"isolated", nil, push, own("branch/refs/heads/fix-login"), rule},
		row{"read-only", gitlabPolicy(t, mainOnly, "      branches: read-only"), push, readsOnly, rule},
		row{"off", gitlabPolicy(t, mainOnly, "      branches: off"), push, denied, rule},
		row{"neither branch nor tag", nil, set{"ref_path": "refs/x/y"}.on(push), denied, rule},
		row{"of another type", nil, set{"ref_type": "commit"}.on(push), denied, rule},
	)
}

func TestGitLabTag(t *testing.T) {
	tag := fixture(t, "gitlab/tag")
	reads := gitlabPolicy(t, mainOnly, "      releases: read")
	gitlabRow(t,
		row{"bypass", nil, tag, misses, "gitlab tag"},
		row{"read", reads, tag, readsOnly, "gitlab tag"},
		row{"called main", nil, set{"ref": "main", "ref_path": "refs/tags/main"}.on(tag), misses, "gitlab tag"},
		row{"with the ref of a branch", nil, set{"ref": "main", "ref_path": "refs/heads/main"}.on(tag), misses, "gitlab tag"},
		row{"of a schedule", nil, set{"pipeline_source": "schedule"}.on(tag), misses, "gitlab tag"},
		row{"started by hand", nil, set{"pipeline_source": "web"}.on(tag), misses, "gitlab tag"},
	)
}

func TestGitLabUnknownSource(t *testing.T) {
	for _, source := range []string{"unknown", "external", "webide", "external_pull_request_event", "ondemand_dast_scan", "security_orchestration_policy", "container_registry_push", "Push", "push ", "\u0440ush", "tomorrow"} {
		gitlabRow(t, row{source, nil, set{"pipeline_source": source}.on(fixture(t, "gitlab/push-main")), denied, "gitlab unknown source"})
	}
}
