//go:build faults || e2e

package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
)

const policy = `version: 1
audience: https://nx-cache.example.com
workspaces:
  web:
    github:
      issuer: %s
      repository: acme/web
      repository_id: 456789
      owner_id: 123456
      trusted: {branches: [main]}
    gitlab:
      issuer: %s
      project: acme/library
      project_id: 77
      trusted: {branches: [main]}
`

// issuers are those of a [trusting] world.
type issuers struct {
	github, gitlab *oidctest.Issuer
	// session is what builds send; empty in worlds without a policy.
	session string
}

// issue writes a policy with two issuers and returns its path.
func (i *issuers) issue(tb testing.TB) string {
	tb.Helper()
	i.github, i.gitlab = oidctest.New(tb), oidctest.New(tb)
	path := filepath.Join(tb.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, policy, i.github.URL, i.gitlab.URL), 0o644); err != nil {
		tb.Fatal(err)
	}
	return path
}

// outage is one of both issuers.
func (i *issuers) outage(o oidctest.Outage) {
	i.github.SetOutage(o)
	i.gitlab.SetOutage(o)
}

// login gets a session as a job does.
func (w *world) login(tb testing.TB) {
	tb.Helper()
	status, body, err := ask(tb.Context(), http.MethodPost, w.server.URL+"/v1/session", w.github.Sign(claims(tb, "github/push-main")), nil)
	var session struct{ Token string }
	if err == nil {
		err = json.Unmarshal(body, &session)
	}
	if err != nil || status != http.StatusOK {
		tb.Fatalf("no session: %d %s, %v", status, body, err)
	}
	w.session = session.Token
}

// identity is a token of GitLab, as builds there send it: without a session.
func (i *issuers) identity(tb testing.TB) string {
	tb.Helper()
	said := claims(tb, "gitlab/push-main")
	said["exp"] = time.Now().Add(time.Hour).Unix()
	return i.gitlab.Sign(said)
}

func claims(tb testing.TB, name string) map[string]any {
	tb.Helper()
	text, err := os.ReadFile("../../docs/examples/claims/" + name + ".json")
	if err != nil {
		tb.Fatal(err)
	}
	var said map[string]any
	if err := json.Unmarshal(text, &said); err != nil {
		tb.Fatal(err)
	}
	for _, name := range []string{"iss", "iat", "nbf", "exp", "jti"} {
		delete(said, name) // the issuer's own
	}
	return said
}

func askWith(ctx context.Context, client *http.Client, method, url, token string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, got, err
}
