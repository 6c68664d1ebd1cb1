//go:build e2e

package attack_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// jobTimeout is how long a job of GitLab may run, and its token lives.
const jobTimeout = time.Hour

// audience is what the servers of this suite are called in tokens; it is the one of the examples.
const audience = "https://nx-cache.example.com"

// policy has a repository that is on GitHub and mirrored to GitLab, and another one of the same owner.
const policy = `version: 1
audience: ` + audience + `
workspaces:
  web:
    github:
      issuer: %[1]s
      repository: acme/web
      repository_id: 456789
      owner_id: 123456
      trusted: {branches: [main]}
    gitlab:
      issuer: %[2]s
      project: acme/library
      project_id: 77
      trusted: {branches: [main]}
  docs:
    github:
      issuer: %[1]s
      repository: acme/docs
      repository_id: 456790
      owner_id: 123456
      trusted: {branches: [main]}
`

// house has what all attacks share: the command, and issuers that sign whatever they are asked to.
type house struct {
	binary         bezoar.Binary
	github, gitlab *oidctest.Issuer
	policy         string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{binary: bezoar.Build(t), github: oidctest.New(t), gitlab: oidctest.New(t)}
	h.policy = filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(h.policy, fmt.Appendf(nil, policy, h.github.URL, h.gitlab.URL), 0o644); err != nil {
		t.Fatal(err)
	}
	return h
}

// world is a server and those who may ask it.
type world struct {
	command bezoar.Binary
	server  *bezoar.Server
	url     string
	data    string
	// credential is what a build of an identity sends; nil: nothing.
	credential func(*testing.T, identity) *string
}

// open is a world of one key space: everybody reads and writes the same entries, as with one token for all.
func (h *house) open(t *testing.T) *world {
	t.Helper()
	data := t.TempDir()
	server := h.binary.Serve(t, data)
	return &world{h.binary, server, server.URL, data, func(*testing.T, identity) *string { return nil }}
}

// scoped is a world in which the identity decides.
func (h *house) scoped(t *testing.T) *world {
	t.Helper()
	data := t.TempDir()
	server := h.binary.Serve(t, data, "--policy", h.policy)
	w := &world{command: h.binary, server: server, url: server.URL, data: data}
	w.credential = func(t *testing.T, who identity) *string {
		t.Helper()
		credential := who.credential(t, h, w)
		return &credential
	}
	return w
}

// session exchanges a token of a CI, as curl does in a job.
func (w *world) session(t *testing.T, token string) string {
	t.Helper()
	return w.exchange(t, "", token).Token
}

// session is what the server says of one.
type session struct {
	Token     string
	Expires   time.Time `json:"expires_at"`
	Workspace string
	Read      []string
	Write     string
}

// exchange asks for a session under a path such as "/web", and fails the test without one.
func (w *world) exchange(t *testing.T, prefix, token string) session {
	t.Helper()
	got := w.must(t, request{method: http.MethodPost, path: prefix + "/v1/session", token: &token})
	var s session
	if err := json.Unmarshal(got.body, &s); err != nil || got.status != http.StatusOK || s.Token == "" {
		t.Fatalf("no session was given: %v, %v", got, err)
	}
	return s
}

// staticToken makes a token of the workspace web.
func (w *world) staticToken(t *testing.T, binary bezoar.Binary, flags ...string) bezoar.Token {
	t.Helper()
	args := append([]string{"token", "create", "--data", w.data, "--workspace", "web", "--json", "--name", rand.Text()}, flags...)
	out, err := binary.Command(t.Context(), args...).Output()
	var token bezoar.Token
	if err == nil {
		err = json.Unmarshal(out, &token)
	}
	if err != nil {
		t.Fatalf("bezoar %q: %v", args, err)
	}
	return token
}

// request is one as an attacker makes it by hand.
type request struct {
	method, path string
	token        *string
	header       http.Header
	body         []byte
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %.200q", a.status, a.body) }

// client follows no redirect and keeps no connection.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       time.Minute,
}

func (w *world) do(ctx context.Context, r request) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, w.url+r.path, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, err
	}
	if r.header != nil {
		req.Header = r.header.Clone()
	}
	if r.token != nil {
		req.Header.Set("Authorization", "Bearer "+*r.token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body}, err
}

// must is do for requests that are answered.
func (w *world) must(t *testing.T, r request) answer {
	t.Helper()
	a, err := w.do(t.Context(), r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	return a
}
