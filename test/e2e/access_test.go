//go:build e2e

package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/nx"
)

// credentials goes through what a CI job may come with, on one server and in this order: what one build stored, or was not
// allowed to, decides what the next one finds.
func credentials(t *testing.T, h house) {
	data := t.TempDir()
	read := h.binary.CreateToken(t, data, "reader", "read").Secret
	trusted := h.binary.CreateToken(t, data, "builder", "trusted").Secret
	unknown := h.binary.CreateToken(t, t.TempDir(), "stranger", "trusted").Secret // of another server
	malformed, empty := "no-token-at-all", ""
	server := h.binary.Serve(t, data)
	projects := []nx.Project{written("one"), written("two")}
	ws := nx.NewWorkspace(t, h.release, projects...)
	both := names(projects)

	for _, step := range []struct {
		name        string
		token       *string
		ran, remote []string
		results     map[string]int
	}{
		{"no credential", nil, both, nil, map[string]int{"GET denied": 2, "PUT denied": 2}},
		{"an empty credential", &empty, both, nil, map[string]int{"GET denied": 2, "PUT denied": 2}},
		{"a token to read, before anything is stored", &read, both, nil, map[string]int{"PUT denied": 2}},
		{"a trusted token", &trusted, both, nil, map[string]int{"PUT stored": 2}},
		{"the trusted token again", &trusted, nil, both, map[string]int{"GET hit": 2}},
		{"the token to read", &read, nil, both, map[string]int{"GET hit": 2}},
		{"no credential, after all is stored", nil, both, nil, map[string]int{"GET denied": 2, "PUT denied": 2}},
	} {
		t.Run(step.name, func(t *testing.T) {
			ws.Forget(t)
			before := bezoar.Results(server.Requests(t))
			delete(before, "GET miss")
			got := ws.Run(t, nx.Run{Server: server.URL, Token: step.token})
			wantGreen(t, step.name, got, step.ran, step.remote)
			server.AwaitResults(t, sum(before, step.results))
		})
	}
	for _, step := range []struct {
		name, token, reason string
	}{
		{"a malformed token", malformed, "this is no token of bezoar"},
		{"a token of another server", unknown, "this server does not know the token"},
	} {
		t.Run(step.name, func(t *testing.T) {
			ws.Forget(t)
			got := ws.Run(t, nx.Run{Server: server.URL, Token: &step.token})
			wantShut(t, step.name, got, step.reason)
		})
	}
}

func revokedToken(t *testing.T, h house) {
	data := t.TempDir()
	token := h.binary.CreateToken(t, data, "builder", "trusted")
	server := h.binary.Serve(t, data)
	ws := nx.NewWorkspace(t, h.release, written("one"))
	wantGreen(t, "before", ws.Run(t, nx.Run{Server: server.URL, Token: &token.Secret}), []string{"one"}, nil)

	h.binary.RevokeToken(t, data, token)
	awaitShut(t, server.URL, token.Secret)
	ws.Forget(t)
	wantShut(t, "after", ws.Run(t, nx.Run{Server: server.URL, Token: &token.Secret}), "revoked")
}

// wantShut checks a build with a credential that is surely wrong: it fails and says why, and not by a task.
func wantShut(t *testing.T, run string, got nx.Result, reason string) {
	t.Helper()
	wantExit(t, run, got, 1)
	if remote := got.Remote(); len(remote) > 0 {
		t.Errorf("%s: nx reports %q as from the remote cache", run, remote)
	}
	if !strings.Contains(got.Output, reason) {
		t.Errorf("%s: nx does not show the reason, %q", run, reason)
	}
	if strings.Contains(got.Output, "misconfigured") {
		t.Errorf("%s: nx blames the server's configuration", run)
	}
}

// awaitShut waits until a running server has learned that a token is revoked.
func awaitShut(t *testing.T, url, token string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/cache/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusUnauthorized {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("a revoked token is still answered with %s", resp.Status)
		case <-poll.C:
		}
	}
}

// addresses: one server under every form of its address that people write. What one form stored, the others find.
func addresses(t *testing.T, h house) {
	server := h.serve(t)
	projects := []nx.Project{written("one"), written("two")}
	ws := nx.NewWorkspace(t, h.release, projects...)
	both := names(projects)
	wantGreen(t, "a trailing slash, cold", ws.Run(t, nx.Run{Server: server.URL + "/"}), both, nil)
	for _, suffix := range []string{"", "/team-a", "//team-a//cache//"} {
		ws.Forget(t)
		wantGreen(t, "address with "+suffix, ws.Run(t, nx.Run{Server: server.URL + suffix}), nil, both)
	}
	ws.Forget(t)
	ws.Write(t, "projects/two/new", "a change, so that there is something to store under a prefix as well\n")
	wantGreen(t, "a prefix, cold", ws.Run(t, nx.Run{Server: server.URL + "/team-a/"}), []string{"two"}, []string{"one"})
	server.AwaitResults(t, map[string]int{"PUT stored": 3, "GET hit": 7})
}

// sum adds counts.
func sum(a, b map[string]int) map[string]int {
	total := map[string]int{}
	for _, m := range []map[string]int{a, b} {
		for k, n := range m {
			total[k] += n
		}
	}
	return total
}
