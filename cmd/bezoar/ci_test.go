package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
)

const testAudience = "https://cache.example.com"

// ci is an issuer that signs tokens as GitHub and GitLab do, and the policy of one repository of each.
type ci struct {
	t      *testing.T
	issuer *oidctest.Issuer // GitHub's
	gitlab *oidctest.Issuer
	policy string // the path of the file
	data   string // the server's data directory
}

func newCI(t *testing.T) *ci {
	t.Helper()
	dir := t.TempDir()
	c := &ci{t: t, issuer: oidctest.New(t), gitlab: oidctest.New(t), policy: filepath.Join(dir, "policy.yaml"), data: filepath.Join(dir, "data")}
	c.write(c.rules("isolated"))
	return c
}

// rules is a policy in which pull requests get this.
func (c *ci) rules(pullRequests string) string {
	return fmt.Sprintf(`version: 1
audience: %s
workspaces:
  web:
    github:
      issuer: %s
      repository: acme/web
      repository_id: 456789
      owner_id: 123456
      trusted: {branches: [main]}
      pull_requests: %s
  library:
    gitlab:
      issuer: %s
      project: acme/library
      project_id: 77
      trusted: {branches: [main]}
`, testAudience, c.issuer.URL, pullRequests, c.gitlab.URL)
}

// write puts another policy in place, as editors and deployments do.
func (c *ci) write(text string) {
	c.t.Helper()
	temp := c.policy + ".new"
	if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(temp, c.policy); err != nil {
		c.t.Fatal(err)
	}
}

func (c *ci) serve(args ...string) *running {
	c.t.Helper()
	return startServe(c.t, append([]string{"--data", c.data, "--listen", "127.0.0.1:0", "--policy", c.policy}, args...)...)
}

// token signs the claims of an example, with changes; the example's times and ids are left to the issuer.
func (c *ci) token(example string, change map[string]any) string {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join("../../docs/examples/claims", example+".json"))
	if err != nil {
		c.t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(data, &claims); err != nil {
		c.t.Fatal(err)
	}
	for _, name := range []string{"iss", "iat", "nbf", "exp", "jti"} {
		delete(claims, name)
	}
	claims["aud"] = testAudience
	maps.Copy(claims, change)
	if strings.HasPrefix(example, "gitlab/") {
		return c.gitlab.Sign(claims)
	}
	return c.issuer.Sign(claims)
}

// call sends one request with a credential and returns the status and the body.
func call(t *testing.T, method, url, bearer string, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}

// session exchanges an identity token.
func (s *running) session(identity string) string {
	s.t.Helper()
	status, body := call(s.t, "POST", "http://"+s.addr+"/v1/session", identity, nil)
	var got struct{ Token string }
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || got.Token == "" {
		s.t.Fatalf("no session: %d %s\n%s", status, body, s.stderr)
	}
	return got.Token
}

// want sends one request for an artifact and checks the status.
func (s *running) want(status int, method, hash, bearer string, body []byte) {
	s.t.Helper()
	if got, text := call(s.t, method, "http://"+s.addr+"/v1/cache/"+hash, bearer, body); got != status {
		s.t.Errorf("%s %s: %d %.200s, want %d", method, hash, got, text, status)
	}
}

// metric reports whether a line is among the metrics.
func (s *running) metric(line string) bool {
	_, page := call(s.t, "GET", "http://"+s.addr+"/metrics", "", nil)
	return strings.Contains(page, line+"\n")
}

// TestAPullRequestCannotReachMain is the whole way, with everything real but the issuer.
func TestAPullRequestCannotReachMain(t *testing.T) {
	c := newCI(t)
	s := c.serve()
	for _, want := range []string{c.policy, "web", "library", c.issuer.URL, "bezoar session --github --server http://" + s.addr + " --audience " + testAudience, "by the policy"} {
		if !strings.Contains(s.banner, want) {
			t.Errorf("the start says nothing of %q:\n%s", want, s.banner)
		}
	}
	poison, good := artifacttest.Typical(1), artifacttest.Typical(2)
	pr := s.session(c.token("github/pull_request", nil))
	s.want(200, "PUT", "1", pr, poison)
	s.want(200, "GET", "1", pr, nil)
	main := s.session(c.token("github/push-main", nil))
	s.want(404, "GET", "1", main, nil)
	s.want(200, "PUT", "1", main, good)
	if _, body := call(t, "GET", "http://"+s.addr+"/v1/cache/1", pr, nil); body != string(good) {
		t.Error("the pull request does not read what main stored")
	}
	// A session is for its own workspace, and nobody without one gets in.
	s.want(404, "GET", "1", "", nil)
	if status, _ := call(t, "GET", "http://"+s.addr+"/library/v1/cache/1", main, nil); status != 404 {
		t.Errorf("another workspace: %d", status)
	}
	// GitHub's own token must be exchanged; GitLab's is good as it is.
	s.want(404, "GET", "1", c.token("github/push-main", nil), nil)
	gitlab := c.token("gitlab/push-main", nil)
	s.want(404, "GET", "1", gitlab, nil) // its own workspace, which is empty
	s.want(200, "PUT", "1", gitlab, poison)
	for _, want := range []string{"rule=", "session=", "run_id="} {
		if !strings.Contains(s.stderr.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, s.stderr)
		}
	}
	for _, secret := range []string{"bzs_", "eyJ"} {
		if strings.Contains(s.stderr.String(), secret) {
			t.Errorf("the log holds a token:\n%s", s.stderr)
		}
	}
	s.stop()
}

// TestSessionsOutliveTheServer: what signs them lies in the data directory.
func TestSessionsOutliveTheServer(t *testing.T) {
	c := newCI(t)
	s := c.serve()
	if !strings.Contains(s.stderr.String(), "made a key file") {
		t.Errorf("nothing is said of the new key file:\n%s", s.stderr)
	}
	identity := c.token("github/push-main", nil)
	token := s.session(identity)
	s.want(200, "PUT", "1", token, artifacttest.Typical(1))
	s.stop()

	s = c.serve()
	if strings.Contains(s.stderr.String(), "made a key file") {
		t.Errorf("a second key file:\n%s", s.stderr)
	}
	s.want(200, "GET", "1", token, nil)
	if status, body := call(t, "POST", "http://"+s.addr+"/v1/session", identity, nil); status != 403 || !strings.Contains(body, "exchanged before") {
		t.Errorf("a replay after a restart: %d %s", status, body)
	}
	s.stop()

	// Another server with other keys takes it for what it is there: nothing it knows.
	c.data = t.TempDir()
	s = c.serve()
	if status, _ := call(t, "GET", "http://"+s.addr+"/v1/cache/1", token, nil); status == 200 {
		t.Error("a server took a session that another one signed")
	}
	s.stop()
}

// TestPolicyIsTakenUpLive: a new policy judges sessions that run, one that does not load changes nothing and shows.
func TestPolicyIsTakenUpLive(t *testing.T) {
	c := newCI(t)
	s := c.serve()
	pr := s.session(c.token("github/pull_request", nil))
	s.want(200, "PUT", "1", pr, artifacttest.Typical(1))

	c.write("version: 1\n")
	waitFor(t, "the broken policy to be refused", func() bool { return s.metric(`bezoar_degraded{cause="policy"} 1`) })
	s.want(200, "GET", "1", pr, nil)
	if n := strings.Count(s.stderr.String(), "the policy file cannot be used"); n != 1 {
		t.Errorf("the log speaks of it %d times:\n%s", n, s.stderr)
	}
	c.write(c.rules("off"))
	waitFor(t, "the new policy", func() bool { return s.metric(`bezoar_degraded{cause="policy"} 0`) })
	s.want(404, "GET", "1", pr, nil)
	s.want(403, "PUT", "2", pr, artifacttest.Typical(1))
	if status, body := call(t, "POST", "http://"+s.addr+"/v1/session", c.token("github/pull_request", nil), nil); status != 403 || !strings.Contains(body, "pull_requests: off") {
		t.Errorf("a session by the new policy: %d %s", status, body)
	}
	if !strings.Contains(s.stderr.String(), "took up the policy anew") {
		t.Errorf("nothing is said of it:\n%s", s.stderr)
	}
	s.stop()
}

// TestALostLedgerEndsNoSession: requests do not ask it.
func TestALostLedgerEndsNoSession(t *testing.T) {
	c := newCI(t)
	s := c.serve()
	token := s.session(c.token("github/push-main", nil))
	s.want(200, "PUT", "1", token, artifacttest.Typical(1))
	for _, name := range []string{"ledger.db", "ledger.db-wal", "ledger.db-shm"} {
		if err := os.RemoveAll(filepath.Join(c.data, name)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the loss to be noticed", func() bool { return s.metric(`bezoar_degraded{cause="tokens"} 1`) })
	s.want(200, "GET", "1", token, nil)
	s.want(200, "PUT", "2", token, artifacttest.Typical(2))
	// What is noted in a file that is gone, nobody else would see.
	if status, body := call(t, "POST", "http://"+s.addr+"/v1/session", c.token("github/push-main", nil), nil); status != 403 || !strings.Contains(body, "ledger") {
		t.Errorf("an exchange that cannot be noted: %d %s", status, body)
	}
	s.stop()
}

// TestAnIssuerThatIsDown: keys that are at hand go on to serve, and what cannot be verified is a miss.
func TestAnIssuerThatIsDown(t *testing.T) {
	c := newCI(t)
	c.issuer.SetDown(true)
	c.gitlab.SetDown(true)
	s := c.serve()
	waitFor(t, "the outage to show", func() bool { return s.metric(`bezoar_degraded{cause="issuer"} 1`) })
	s.want(404, "GET", "1", c.token("gitlab/push-main", nil), nil)
	s.want(403, "PUT", "1", c.token("gitlab/push-main", nil), artifacttest.Typical(1))
	if status, body := call(t, "POST", "http://"+s.addr+"/v1/session", c.token("github/push-main", nil), nil); status != 403 {
		t.Errorf("an exchange that cannot be judged: %d %s", status, body)
	}
	s.stop()
}

func TestServeIsStrictAboutPolicyAndKeys(t *testing.T) {
	c := newCI(t)
	start := func(args ...string) (int, string) {
		status, _, stderr := runConfig(t, []string{"HOME=" + t.TempDir()}, append([]string{"serve", "--data", c.data, "--listen", "127.0.0.1:0"}, args...)...)
		return status, stderr
	}
	c.write("version: 2\naudiance: x\nworkspaces: {}\n")
	status, stderr := start("--policy", c.policy)
	if status != exitUsage || !strings.Contains(stderr, "problems") || !strings.Contains(stderr, "audiance") || !strings.Contains(stderr, c.policy+":1:") {
		t.Errorf("a bad policy: %d %s", status, stderr)
	}
	if status, stderr = start("--policy", c.policy+".missing"); status != exitUsage || !strings.Contains(stderr, "the policy cannot be read") {
		t.Errorf("no policy: %d %s", status, stderr)
	}
	if _, err := os.Stat(filepath.Join(c.data, "ledger.db")); err == nil {
		t.Error("a refused start made a ledger")
	}
	key := filepath.Join(t.TempDir(), "seal.key")
	status, stderr = start("--seal-key-file", key)
	if status != exitUsage || !strings.Contains(stderr, "bezoar key add") || !strings.Contains(stderr, key) {
		t.Errorf("no key file: %d %s", status, stderr)
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("a key file was made where the operator named one")
	}
	// With a policy a server is not open, and may be reached by others.
	c.write(c.rules("isolated"))
	s := startServe(t, "--data", c.data, "--listen", "0.0.0.0:0", "--policy", c.policy)
	s.stop()
}

func TestExplainVerifies(t *testing.T) {
	c := newCI(t)
	explain := func(token string) string {
		var out, errs bytes.Buffer
		status := run(t.Context(), []string{"policy", "explain", "--policy", c.policy, "--verify", "-"},
			&environment{Environ: []string{"HOME=" + t.TempDir()}, Stdin: strings.NewReader(token), Stdout: &out, Stderr: &errs})
		if status != exitOK {
			t.Fatalf("%d %s", status, &errs)
		}
		return out.String()
	}
	genuine := c.token("github/pull_request", nil)
	if got := explain(genuine + "\n"); !strings.HasPrefix(got, "token, verified with the keys of its issuer\n") || !strings.Contains(got, "writes     pr/") {
		t.Errorf("genuine:\n%s", got)
	}
	forged := genuine[:strings.LastIndex(genuine, ".")+1] + strings.Repeat("A", 342)
	if got := explain(forged); !strings.HasPrefix(got, "token, NOT VERIFIED: ") || !strings.Contains(got, "A server refuses it before it asks the policy.") {
		t.Errorf("forged:\n%s", got)
	}
	if n := c.gitlab.Fetches() + c.gitlab.Discoveries(); n != 0 {
		t.Errorf("%d requests to an issuer whose token it is not", n)
	}
	c.issuer.SetDown(true)
	if got := explain(genuine); !strings.HasPrefix(got, "token, NOT VERIFIED: ") {
		t.Errorf("down:\n%s", got)
	}
	// It does not wait for a server, or anything else, to write down what it saw.
	if _, err := os.Stat(c.data); err == nil {
		t.Error("explaining made a data directory")
	}
}
