//go:build e2e

// Package replicas_test runs three servers that share a ledger in PostgreSQL, a directory and a key file.
package replicas_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/postgres"
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
`

// fleet is three servers over one ledger, and the commands beside them.
type fleet struct {
	database *postgres.Server
	binary   bezoar.Binary
	github   *oidctest.Issuer
	ledger   string
	servers  []*bezoar.Server
	data     string // of commands that work on artifacts; they have none to remember
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{database: postgres.New(t), github: oidctest.New(t)}
	f.ledger = f.database.NewDatabase(t)
	f.binary = bezoar.Build(t)
	key := f.binary.AddKey(t)
	f.binary = f.binary.With("BEZOAR_LEDGER="+f.ledger, "PGPASSWORD="+postgres.Password)
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, policy, f.github.URL), 0o644); err != nil {
		t.Fatal(err)
	}
	store := "file://" + t.TempDir()
	f.servers = make([]*bezoar.Server, 3)
	var wg sync.WaitGroup
	for i := range f.servers { // at once, over an empty database
		dir := t.TempDir()
		wg.Go(func() {
			f.servers[i] = f.binary.Serve(t, dir, "--store", store, "--seal-key-file", key, "--policy", file)
		})
	}
	wg.Wait()
	return f
}

// command runs a command beside the servers.
func (f *fleet) command(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := f.binary.Command(ctx, append(args, "--data", cmp.Or(f.data, "/nonexistent"))...).Output()
	if exit, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok && exit.ExitCode() == 2 {
		t.Fatalf("bezoar %v: %v", args, err)
	}
	return out, err
}

func (f *fleet) must(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := f.command(t, args...)
	if err != nil {
		t.Fatalf("bezoar %v: %v", args, err)
	}
	return out
}

func (f *fleet) createToken(t *testing.T, name string) bezoar.Token {
	t.Helper()
	var token bezoar.Token
	out := f.must(t, "token", "create", "--workspace", "web", "--name", name, "--access", "trusted", "--json")
	if err := json.Unmarshal(out, &token); err != nil || token.Secret == "" {
		t.Fatalf("no token: %v, %s", err, out)
	}
	return token
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}, Timeout: time.Minute}

func do(ctx context.Context, method, url, token string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, got, err
}

// eventually waits for what a broken fleet never does, on all servers, and logs how long each took.
func (f *fleet) eventually(t *testing.T, what string, happened func(s *bezoar.Server) bool) {
	t.Helper()
	began := time.Now()
	var took []string
	for _, s := range f.servers {
		deadline := time.After(30 * time.Second)
		for !happened(s) {
			select {
			case <-deadline:
				t.Fatalf("%s: waited in vain for this: %s", s.URL, what)
			case <-time.After(5 * time.Millisecond):
			}
		}
		took = append(took, time.Since(began).Round(time.Millisecond).String())
	}
	t.Logf("%s, on one server after the other after %s", what, strings.Join(took, ", "))
}

// answers says whether a server answers a look for an artifact with a status.
func answers(t *testing.T, token string, want int) func(*bezoar.Server) bool {
	return func(s *bezoar.Server) bool {
		status, _, err := do(t.Context(), http.MethodGet, s.URL+"/web/v1/cache/1", token, nil)
		if err != nil {
			t.Error(err)
		}
		return status == want
	}
}

func (f *fleet) claims(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile("../../docs/examples/claims/github/push-main.json")
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iss", "iat", "nbf", "exp", "jti"} {
		delete(claims, name) // the issuer's own
	}
	return claims
}

// What a command writes is in force on all servers.
func TestTokensAreThoseOfAll(t *testing.T) {
	f := newFleet(t)
	token := f.createToken(t, "ci")
	f.eventually(t, "a new token is taken", answers(t, token.Secret, http.StatusNotFound))
	f.must(t, "token", "revoke", token.ID)
	f.eventually(t, "a revoked token is refused", answers(t, token.Secret, http.StatusUnauthorized))
}

// An identity token is exchanged once, whichever servers are asked at once; its session is good on all, until its run is revoked.
func TestAnIdentityIsExchangedOnce(t *testing.T) {
	f := newFleet(t)
	for round := range 3 {
		identity := f.github.Sign(f.claims(t))
		var given atomic.Pointer[string]
		var won atomic.Int32
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 24 {
			url := f.servers[i%len(f.servers)].URL + "/v1/session"
			wg.Go(func() {
				<-start
				status, body, err := do(t.Context(), http.MethodPost, url, identity, nil)
				switch {
				case err != nil:
					t.Error(err)
				case status == http.StatusOK:
					var session struct{ Token string }
					if err := json.Unmarshal(body, &session); err != nil {
						t.Error(err)
					}
					won.Add(1)
					given.Store(&session.Token)
				case status != http.StatusForbidden:
					t.Errorf("an exchange is answered %d %s", status, body)
				}
			})
		}
		close(start)
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d: %d sessions were given", round, won.Load())
		}
		session := *given.Load()
		if round < 2 {
			f.eventually(t, "a session is taken", answers(t, session, http.StatusNotFound))
			continue
		}
		f.must(t, "revoke", "run", fmt.Sprint(f.claims(t)["run_id"]))
		f.eventually(t, "the session of a revoked run is refused", answers(t, session, http.StatusUnauthorized))
	}
}

// traffic uploads through one server and reads through the next, all the time, until it is ended.
type traffic struct {
	stop chan struct{}
	done sync.WaitGroup
	n    atomic.Int64
}

func (f *fleet) traffic(t *testing.T, token string) *traffic {
	tr := &traffic{stop: make(chan struct{})}
	ctx := context.WithoutCancel(t.Context())
	tr.done.Go(func() {
		for {
			select {
			case <-tr.stop:
				return
			default:
			}
			i := int(tr.n.Add(1))
			path := fmt.Sprintf("/web/v1/cache/busy-%d", i)
			body := artifacttest.Random(10_000, uint64(i))
			if status, text, err := do(ctx, http.MethodPut, f.servers[i%3].URL+path, token, body); err != nil || status != http.StatusOK {
				t.Errorf("upload %d: %d %s, %v", i, status, text, err)
			}
			if status, got, err := do(ctx, http.MethodGet, f.servers[(i+1)%3].URL+path, token, nil); err != nil || status != http.StatusOK || !bytes.Equal(got, body) {
				t.Errorf("read %d: %d, %d bytes, %v", i, status, len(got), err)
			}
		}
	})
	return tr
}

func (tr *traffic) end() int {
	close(tr.stop)
	tr.done.Wait()
	return int(tr.n.Load())
}

func degraded(t *testing.T, want float64) func(*bezoar.Server) bool {
	return func(s *bezoar.Server) bool { return s.Metric(t, `bezoar_degraded{cause="tokens"}`) == want }
}

// A database that hangs, ends and comes back costs no request, and what was missed is made up for.
func TestADatabaseThatIsAwayCostsNoRequest(t *testing.T) {
	f := newFleet(t)
	token, doomed := f.createToken(t, "ci"), f.createToken(t, "doomed")
	for _, secret := range []string{token.Secret, doomed.Secret} {
		f.eventually(t, "a new token is taken", answers(t, secret, http.StatusNotFound))
	}
	tr := f.traffic(t, token.Secret)
	f.database.Pause(t)
	f.eventually(t, "a hanging database is told", degraded(t, 1))
	unknown := answers(t, "bzr_no-token", http.StatusUnauthorized)
	for _, s := range f.servers {
		if !unknown(s) {
			t.Errorf("%s: who has no token is let in", s.URL)
		}
	}
	f.database.Resume(t)
	f.eventually(t, "all is well after a database hung", degraded(t, 0))

	f.database.Stop(t)
	f.eventually(t, "a stopped database is told", degraded(t, 1))
	if out, err := f.command(t, "token", "revoke", doomed.ID); err == nil {
		t.Errorf("a token is revoked without a database: %s", out)
	}
	before := tr.n.Load()
	f.eventually(t, "uploads go on without a database", func(*bezoar.Server) bool { return tr.n.Load() > before+10 })
	f.database.Restart(t)
	f.must(t, "token", "revoke", doomed.ID)
	f.eventually(t, "a token that was revoked after the database came back is refused", answers(t, doomed.Secret, http.StatusUnauthorized))
	f.eventually(t, "all is well after a database was stopped", degraded(t, 0))

	stored := tr.end()
	t.Logf("%d artifacts were stored and read meanwhile", stored)
	began := time.Now()
	known := 0
	for deadline := time.After(time.Minute); known != stored; {
		var entries []json.RawMessage
		if err := json.Unmarshal(f.must(t, "ledger", "entries", "--workspace", "web", "--limit", "0", "--json"), &entries); err != nil {
			t.Fatal(err)
		}
		known = len(entries)
		select {
		case <-deadline:
			t.Fatalf("the ledger knows %d entries of %d", known, stored)
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Logf("the ledger knew all of them %v later", time.Since(began).Round(time.Millisecond))
	for _, s := range f.servers {
		if strings.Contains(s.Log(), postgres.Password) {
			t.Error("a log holds the password")
		}
		s.Stop(t)
	}
}
