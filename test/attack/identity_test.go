//go:build e2e

package attack_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// identity is somebody who builds with a cache that has scopes.
type identity struct {
	name string
	// credential is what its builds send.
	credential func(*testing.T, *house, *world) string
	// writes says that it may store what it builds, wherever.
	writes bool
}

// The identities of a repository on GitHub. What they say is taken from the examples of the documentation.
var (
	mainPush          = github("a push to main", "push-main")
	mainSchedule      = github("a nightly build of main", "schedule")
	branch            = github("a collaborator's branch", "push-branch")
	pullRequest       = github("a pull request", "pull_request")
	pullRequestTarget = github("pull_request_target on main", "pull_request_target")
	workflowRun       = github("workflow_run on main", "workflow_run")
	issueComment      = github("a comment on an issue, on main", "issue_comment")
	workflowDispatch  = github("a run by hand on main", "workflow_dispatch")
)

// Those of a project on GitLab. They send GitLab's own token, without a session.
var (
	gitlabMain   = gitlab("GitLab's main", "push-main")
	gitlabBranch = gitlab("a branch on GitLab", "push-branch")
	gitlabWeb    = gitlab("a pipeline by hand on GitLab's main", "web")
	mergeRequest = gitlab("a merge request", "merge-request")
	forkInParent = gitlab("a fork's merge request, run in the parent", "merge-request-fork-in-parent")
)

// Those who have a static token.
var (
	isolatedToken = static("an isolated token", true, "--access", "isolated")
	reader        = static("a laptop with a read token", false, "--access", "read")
	laptop        = static("Jo's laptop", true, "--access", "isolated", "--developer", "jo")
	otherLaptop   = static("Kim's laptop", true, "--access", "isolated", "--developer", "kim")
)

func github(name, example string) identity {
	return identity{name, func(t *testing.T, h *house, w *world) string {
		t.Helper()
		return w.session(t, h.githubToken(t, example, nil))
	}, true}
}

func gitlab(name, example string) identity {
	return identity{name, func(t *testing.T, h *house, _ *world) string {
		t.Helper()
		return h.gitlabToken(t, example, nil)
	}, true}
}

func static(name string, writes bool, flags ...string) identity {
	return identity{name, func(t *testing.T, h *house, w *world) string {
		t.Helper()
		return w.staticToken(t, h.binary, flags...).Secret
	}, writes}
}

// claims is what a token says.
type claims map[string]any

// with returns the claims changed; what is nil is left out of the token.
func (c claims) with(changes claims) claims {
	changed := maps.Clone(c)
	maps.Copy(changed, changes)
	return changed
}

// example reads claims from the examples of the documentation, without those that an issuer fills in.
func example(t *testing.T, name string) claims {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "examples", "claims", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var c claims
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, filled := range []string{"iss", "iat", "nbf", "exp", "jti"} {
		delete(c, filled)
	}
	return c
}

// githubToken is a token of the fake GitHub that says what the example says, but for the changes.
func (h *house) githubToken(t *testing.T, name string, changes claims) string {
	t.Helper()
	return h.github.Sign(example(t, "github/"+name).with(changes))
}

// gitlabToken is one of the fake GitLab. It lives as long as its job.
func (h *house) gitlabToken(t *testing.T, name string, changes claims) string {
	t.Helper()
	lasting := claims{"exp": h.gitlab.Now().Add(jobTimeout).Unix()}
	return h.gitlab.Sign(example(t, "gitlab/"+name).with(lasting).with(changes))
}
