package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// github is a runner: it has a token service and the file for variables.
func (c *ci) github() (environ []string, file string) {
	c.t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer runner-secret" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		token := c.token("github/pull_request", map[string]any{"aud": r.URL.Query().Get("audience")})
		json.NewEncoder(w).Encode(map[string]any{"count": 1, "value": token})
	}))
	c.t.Cleanup(service.Close)
	file = filepath.Join(c.t.TempDir(), "env")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return []string{
		"GITHUB_ENV=" + file, "ACTIONS_ID_TOKEN_REQUEST_URL=" + service.URL + "/?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=runner-secret",
	}, file
}

func TestSessionForGitHub(t *testing.T) {
	c := newCI(t)
	s := c.serve()
	environ, file := c.github()
	// An earlier command of the step left its line open.
	const others = "OTHER=1"
	if err := os.WriteFile(file, []byte(others), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := runConfig(t, environ, "session", "--github", "--server", "http://"+s.addr+"/web/", "--audience", testAudience)
	written, err := os.ReadFile(file)
	if err != nil || status != exitOK {
		t.Fatalf("%d %s %s %v", status, stdout, stderr, err)
	}
	vars := map[string]string{}
	ours, ok := strings.CutPrefix(string(written), others+"\n")
	if !ok {
		t.Fatalf("glued to another line:\n%s", written)
	}
	for lines := strings.Split(ours, "\n"); len(lines) > 3; lines = lines[3:] {
		name, end, _ := strings.Cut(lines[0], "<<")
		if lines[2] != end {
			t.Fatalf("not in the runner's form:\n%s", written)
		}
		vars[name] = lines[1]
	}
	token := vars["NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN"]
	if vars["NX_SELF_HOSTED_REMOTE_CACHE_SERVER"] != "http://"+s.addr+"/web" || !strings.HasPrefix(token, "bzs_") {
		t.Errorf("handed on:\n%s", written)
	}
	if stdout != "::add-mask::"+token+"\n" || strings.Contains(stderr, token) || !strings.Contains(stderr, "writes pr/") {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
	s.want(200, "PUT", "1", token, artifacttest.Typical(1))
	s.stop()
}

func TestSessionForGitLab(t *testing.T) {
	c := newCI(t)
	s := c.serve()
	identity := c.token("gitlab/push-main", nil)
	environ := []string{"BEZOAR_ID_TOKEN=" + identity}
	evaluate := func() (server, token string) {
		status, stdout, stderr := runConfig(t, environ, "session", "--gitlab", "--server", "http://"+s.addr)
		if status != exitOK {
			t.Fatalf("%d %s", status, stderr)
		}
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", stdout+`echo "$NX_SELF_HOSTED_REMOTE_CACHE_SERVER $NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN"`).Output()
		if err != nil {
			t.Fatal(err)
		}
		server, token, _ = strings.Cut(strings.TrimSpace(string(out)), " ")
		return server, token
	}
	server, token := evaluate()
	if server != "http://"+s.addr || !strings.HasPrefix(token, "bzs_") {
		t.Errorf("a shell gets %q and %q", server, token)
	}
	s.want(200, "PUT", "1", token, artifacttest.Typical(1))
	// The next step of the job has the same token, which cannot be exchanged again, and is good by itself.
	if _, token = evaluate(); token != identity {
		t.Errorf("the second step gets %.20q", token)
	}
	s.want(200, "GET", "1", token, nil)
	s.stop()
}

// TestSessionFailsOpen: whatever goes wrong, nothing is handed on, a person is told, and the job goes on.
func TestSessionFailsOpen(t *testing.T) {
	c := newCI(t)
	s := c.serve()
	environ, file := c.github()
	dead := httptest.NewServer(nil)
	dead.Close()
	for name, run := range map[string]struct {
		environ []string
		args    []string
		warning string
	}{
		"a fork":              {environ[:1], []string{"--github", "--server", "http://" + s.addr}, "id-token: write"},
		"another audience":    {environ, []string{"--github", "--server", "http://" + s.addr}, "for another audience"},
		"nobody answers":      {environ, []string{"--github", "--server", dead.URL}, "cannot be reached"},
		"no server":           {environ, []string{"--github"}, "no cache server is named"},
		"http":                {environ, []string{"--github", "--server", "http://cache.example.com"}, "anybody on the way"},
		"no file":             {environ[1:], []string{"--github", "--server", "http://" + s.addr, "--audience", testAudience}, "GITHUB_ENV is not set"},
		"a file that is gone": {append([]string{"GITHUB_ENV=" + file + ".gone"}, environ[1:]...), []string{"--github", "--server", "http://" + s.addr, "--audience", testAudience}, "cannot be written"},
		"no token":            {nil, []string{"--gitlab", "--server", "http://" + s.addr}, "id_tokens"},
		"another variable":    {nil, []string{"--token-variable", "CI_JWT", "--server", "http://" + s.addr}, "CI_JWT"},
		"forged":              {[]string{"BEZOAR_ID_TOKEN=eyJhbGciOiJub25lIn0.e30.x"}, []string{"--gitlab", "--server", "http://" + s.addr}, "401"},
	} {
		status, stdout, stderr := runConfig(t, run.environ, append([]string{"session"}, run.args...)...)
		onGitHub := run.args[0] == "--github"
		if status != exitOK || !strings.Contains(stdout+stderr, run.warning) || strings.Contains(stdout, "export ") {
			t.Errorf("%s: %d %q %q, want %q", name, status, stdout, stderr, run.warning)
		}
		if onGitHub != strings.Contains(stdout, "::warning::no remote cache for this job: ") || onGitHub == strings.Contains(stderr, "bezoar: warning: no remote cache") {
			t.Errorf("%s: the warning is at the wrong place: %q %q", name, stdout, stderr)
		}
		if status, _, _ := runConfig(t, run.environ, append([]string{"session", "--strict"}, run.args...)...); status != exitFailure {
			t.Errorf("%s: --strict ends with %d", name, status)
		}
	}
	if written, _ := os.ReadFile(file); len(written) > 0 {
		t.Errorf("handed on:\n%s", written)
	}
	// A server in the environment that does not answer would fail Nx: it is turned off. One that refuses would not: it stays.
	for server, off := range map[string]bool{dead.URL: true, "http://" + s.addr: false} {
		_, stdout, _ := runConfig(t, []string{"NX_SELF_HOSTED_REMOTE_CACHE_SERVER=" + server, "BEZOAR_ID_TOKEN=eyJhbGciOiJub25lIn0.e30.x"}, "session", "--gitlab")
		if (stdout == "export NX_SELF_HOSTED_REMOTE_CACHE_SERVER=''\n") != off || !off && stdout != "" {
			t.Errorf("%s: %q", server, stdout)
		}
	}
	s.stop()
}

func TestSessionUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"--github", "--gitlab"}, {"--github", "--token-variable", "X"}, {"--gitlab", "--format", "yaml"}, {"--gitlab", "--ttl", "0s"},
		{"--gitlab", "--ttl", "-1h"}, {"--gitlab", "--timeout", "0s"}, {"--gitlab", "https://x"},
	} {
		if status, stdout, stderr := runConfig(t, nil, append([]string{"session"}, args...)...); status != exitUsage || stdout != "" || !strings.Contains(stderr, "bezoar session --help") {
			t.Errorf("%v: %d %q %q", args, status, stdout, stderr)
		}
	}
}
