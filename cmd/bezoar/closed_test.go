package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// TestWhenAPullRequestIsClosed does what the jobs of docs/api.md do, with the identities that GitHub and GitLab give them: the scope of the pull request goes, and nobody
// else's.
func TestWhenAPullRequestIsClosed(t *testing.T) {
	doc := mustRead(t, "../../docs/api.md")
	find := func(pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(doc)
		if m == nil {
			t.Fatalf("docs/api.md has nothing like %s", pattern)
		}
		return m[1]
	}
	number := strings.NewReplacer("${{ github.event.number }}", "17", "${CI_MERGE_REQUEST_SOURCE_PROJECT_ID}", "77", "${CI_MERGE_REQUEST_SOURCE_BRANCH_NAME}", "fix-login")
	c := newCI(t)
	operator := strings.TrimSpace(mustCommand(t, "token", "create", "--data", c.data, "--name", "ops", "--role", "operator", "--workspace", "web"))
	s := c.serve()
	defer s.stop()
	server := "http://" + s.addr
	at := func(url string) string {
		return number.Replace(strings.Replace(url, "https://cache.example.com", server, 1))
	}
	body := artifacttest.Typical(1)
	pullRequest, main := s.session(c.token("github/pull_request", nil)), s.session(c.token("github/push-main", nil))
	mergeRequest := s.session(c.token("gitlab/merge-request", nil))
	store := func() {
		t.Helper()
		s.want(200, "PUT", "1", pullRequest, body)
		waitFor(t, "the entry to be known", func() bool { return strings.Contains(mustCommand(t, "ledger", "entries", "--data", c.data), "pr/17") })
	}
	s.want(200, "PUT", "2", main, body)
	s.want(200, "PUT", "3", mergeRequest, body)

	// GitHub, closed without a merge: the job has the identity of the pull request.
	store()
	file := filepath.Join(t.TempDir(), "session")
	if err := os.WriteFile(file, []byte(s.session(c.token("github/pull_request-closed", map[string]any{"ref": "refs/pull/17/merge"}))), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(command string) string {
		t.Helper()
		args := strings.Fields(strings.NewReplacer(`"$CACHE"`, server, `"$RUNNER_TEMP/session"`, file, `--token-file session`, "--token-file "+file, `"`, "").Replace(number.Replace(command)))
		return mustCommand(t, args...)
	}
	if out := run(find(`(?m)^ +bezoar (scope delete web .*)$`)); !strings.HasPrefix(out, "1 entries with ") {
		t.Error(out)
	}
	s.want(404, "GET", "1", pullRequest, nil)
	if _, stderr, status := command(t, "scope", "delete", "web", "pr/18", "--server", server, "--token-file", file); status != exitFailure || !strings.Contains(stderr, "no other one") {
		t.Error("another's scope:", status, stderr)
	}

	// GitHub, merged: a token of an operator of this workspace.
	again := s.session(c.token("github/pull_request", map[string]any{"run_id": "9"}))
	s.want(200, "PUT", "4", again, body)
	waitFor(t, "the entry to be known", func() bool { return strings.Contains(mustCommand(t, "ledger", "entries", "--data", c.data), " 4 ") })
	merged := at(find(`"(https://cache\.example\.com/api/v1/workspaces/web/scopes/pr%2F[^"]*)"`))
	if status, text := call(t, http.MethodDelete, merged, operator, nil); status != 200 || !strings.Contains(text, `"entries":1,`) || !strings.Contains(text, `"complete":true`) {
		t.Error(merged, status, text)
	}
	if status, text := call(t, http.MethodDelete, merged, main, nil); status != 403 {
		t.Error("a job of main:", status, text)
	}

	// GitLab: the job that stops the environment has the identity of the merge request.
	waitFor(t, "the entry to be known", func() bool { return strings.Contains(mustCommand(t, "ledger", "entries", "--data", c.data), " 3 ") })
	if err := os.WriteFile(file, []byte(s.session(c.token("gitlab/merge-request", nil))), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(find(`(?m)^ +- bezoar (scope delete library .*)$`)); !strings.HasPrefix(out, "1 entries with ") {
		t.Error(out)
	}
	s.want(200, "GET", "2", main, nil)
}
