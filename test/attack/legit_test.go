//go:build e2e

package attack_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/test/nx"
)

// TestBuildsGoOn is the other half: whoever does no harm has his cache. Main's work reaches everybody, and everybody else's work himself.
func TestBuildsGoOn(t *testing.T) {
	h := newHouse(t)
	for _, version := range extremes() {
		t.Run(version, func(t *testing.T) {
			w := h.scoped(t)
			c := newCommit(t, nx.Install(t, version))
			changed := c.Copy(t)
			changed.Write(t, "projects/"+ahead+"/change", "what the pull request changes\n")
			pull, laptopToken := w.credential(t, pullRequest), w.credential(t, laptop)
			for _, step := range []struct {
				name   string
				token  *string
				commit *nx.Workspace
				// built says that the project that the pull request changed is built anew; the others always come from the cache, but for the first.
				first, built bool
			}{
				{"main builds", w.credential(t, mainPush), c.Workspace, true, false},
				{"main again", w.credential(t, mainPush), c.Workspace, false, false},
				{"main at night", w.credential(t, mainSchedule), c.Workspace, false, false},
				{"main on GitLab, of the same workspace", w.credential(t, gitlabMain), c.Workspace, false, false},
				{"a pull request restores main's", pull, c.Workspace, false, false},
				{"a merge request restores main's", w.credential(t, mergeRequest), c.Workspace, false, false},
				{"a laptop restores main's", laptopToken, c.Workspace, false, false},
				{"a laptop that only reads restores main's", w.credential(t, reader), c.Workspace, false, false},
				{"the pull request builds what it changed", pull, changed, false, true},
				{"the pull request restores its own", pull, changed, false, false},
				{"its next run, in a session of its own, too", w.credential(t, pullRequest), changed, false, false},
				{"a laptop builds what the pull request changed", laptopToken, changed, false, true},
				{"the laptop restores its own", laptopToken, changed, false, false},
				{"another laptop builds it", w.credential(t, otherLaptop), changed, false, true},
				{"main builds what was merged", w.credential(t, mainPush), changed, false, true},
				{"the pull request restores main's from now on", pull, changed, false, false},
			} {
				ws := step.commit.Copy(t)
				got := ws.Run(t, nx.Run{Server: w.url, Token: step.token})
				want := map[string]nx.Status{}
				for _, p := range orders {
					want[p] = nx.Remote
					if step.first || step.built && p == ahead {
						want[p] = nx.Ran
					}
				}
				if diff := cmp.Diff(want, got.Tasks); diff != "" || got.Exit != 0 {
					t.Errorf("%s: nx ended with %d and reports (-want +got):\n%s", step.name, got.Exit, diff)
				}
			}
			w.wantNoAlarm(t, *w.credential(t, mainPush), *pull)
		})
	}
}

// TestSessionCommand takes the way of a workflow: `bezoar session` asks the runner for a token, and the steps behind read $GITHUB_ENV.
func TestSessionCommand(t *testing.T) {
	h := newHouse(t)
	w := h.scoped(t)
	c := newCommit(t, nx.Install(t, extremes()[1]))
	for _, job := range []struct {
		name, example string
		status        nx.Status
	}{
		{"a pull request builds", "pull_request", nx.Ran},
		{"main is given nothing of it", "push-main", nx.Ran},
		{"the pull request is given main's", "pull_request", nx.Remote},
	} {
		got := c.Copy(t).Run(t, nx.Run{Env: w.job(t, h, job.example)})
		for _, p := range orders {
			if got.Exit != 0 || got.Tasks[p] != job.status {
				t.Errorf("%s: nx ended with %d and reports %s as %q, want %q", job.name, got.Exit, p, got.Tasks[p], job.status)
			}
		}
	}
}

// job runs `bezoar session --github` as the first step of a job that has the claims of an example, and returns what the next steps find in their
// environment.
func (w *world) job(t *testing.T, h *house, example string) []string {
	t.Helper()
	const permission = "of-the-runner"
	runner := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+permission {
			http.Error(rw, "no", http.StatusForbidden)
			return
		}
		token := h.githubToken(t, example, claims{"aud": r.FormValue("audience")})
		if err := json.NewEncoder(rw).Encode(map[string]string{"value": token}); err != nil {
			t.Error(err)
		}
	}))
	defer runner.Close()
	env := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(env, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := h.binary.Command(t.Context(), "session", "--github", "--strict", "--server", w.url, "--audience", audience)
	cmd.Env = append(cmd.Env, "GITHUB_ACTIONS=true", "GITHUB_ENV="+env, "ACTIONS_ID_TOKEN_REQUEST_URL="+runner.URL+"/token?api-version=2.0",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN="+permission)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("bezoar session: %v\n%s", err, out)
	}
	data, err := os.ReadFile(env)
	if err != nil {
		t.Fatal(err)
	}
	variables := readEnv(t, string(data))
	if len(variables) != 2 {
		t.Fatalf("the steps behind get %d variables, want 2", len(variables))
	}
	return variables
}

// readEnv reads what a step wrote to $GITHUB_ENV, as the runner does: NAME=value, or NAME<<DELIMITER and lines up to it.
func readEnv(t *testing.T, text string) []string {
	t.Helper()
	var variables []string
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		name, delimiter, multiline := strings.Cut(lines[i], "<<")
		if !multiline {
			variables = append(variables, lines[i])
			continue
		}
		var value []string
		for i++; i < len(lines) && lines[i] != delimiter; i++ {
			value = append(value, lines[i])
		}
		variables = append(variables, fmt.Sprintf("%s=%s", name, strings.Join(value, "\n")))
	}
	return variables
}
