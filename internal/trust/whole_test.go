package trust_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

const audience = "https://nx-cache.example.com"

// wholePolicy has both kinds of CI; more goes below the workspace web.
func wholePolicy(t *testing.T, github, gitlab *oidctest.Issuer, more string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("policy.yaml", []byte(fmt.Sprintf(`version: 1
audience: %s
workspaces:
  web:
    github:
      issuer: %s
      repository: acme/web
      repository_id: 456789
      owner_id: 123456
      trusted:
        branches: [main]
%s
  library:
    gitlab:
      issuer: %s
      project: acme/library
      project_id: 77
      trusted: {branches: [main]}
`, audience, github.URL, more, gitlab.URL)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// replica is a server's authenticator with its parts: a ledger handle and a verifier of its own.
type replica struct {
	*trust.Authenticator
	verifier *oidc.Verifier
}

func (r replica) take(p *policy.Policy) {
	var issuers []oidc.Issuer
	for _, i := range p.Issuers() {
		issuers = append(issuers, oidc.Issuer{URL: i.URL, Keys: i.Keys})
	}
	r.verifier.Configure(p.Audience(), issuers)
	r.SetPolicy(p)
}

func newReplica(t *testing.T, dir string, keys keyring.Keys, p *policy.Policy) replica {
	t.Helper()
	records, err := ledger.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	verifier := oidc.New(oidc.Options{Now: time.Now, Logger: log})
	auth, err := trust.NewAuthenticator(t.Context(), trust.Options{
		Source: records, Uses: records, Identities: verifier, Keys: keys, Now: time.Now, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := replica{auth, verifier}
	r.take(p)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{auth.Run, verifier.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := records.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func githubJob(event, ref string) map[string]any {
	return map[string]any{
		"aud": audience, "sub": "repo:acme/web:x", "repository": "acme/web", "repository_id": "456789", "repository_owner": "acme",
		"repository_owner_id": "123456", "event_name": event, "ref": ref, "ref_type": "branch", "ref_protected": "true",
		"run_id": "1001", "run_attempt": "1", "actor": "jo", "actor_id": "9", "sha": strings.Repeat("a", 40), "workflow_ref": "acme/web/.github/workflows/ci.yml@" + ref,
		"head_ref": "", "base_ref": "", "runner_environment": "github-hosted",
	}
}

func gitlabJob(source, ref string) map[string]any {
	return map[string]any{
		"aud": audience, "sub": "project_path:acme/library:ref_type:branch:ref:main", "project_id": "77", "job_project_id": "77", "project_path": "acme/library",
		"pipeline_source": source, "ref": strings.TrimPrefix(ref, "refs/heads/"), "ref_path": ref, "ref_type": "branch", "ref_protected": "true",
		"pipeline_id": "2002", "job_id": "3003", "user_login": "jo", "user_id": "9", "sha": strings.Repeat("b", 40), "namespace_id": "5",
	}
}

// From the CI's signed token to a grant, through every part, on two replicas.
func TestTheWholeWay(t *testing.T) {
	github, gitlab := oidctest.New(t), oidctest.New(t)
	p := wholePolicy(t, github, gitlab, "")
	dir, keys := t.TempDir(), keyring.Keys{{ID: "one", Secret: &keyring.Secret{1}}}
	one, other := newReplica(t, dir, keys, p), newReplica(t, dir, keys, p)

	for _, tt := range []struct {
		name   string
		claims map[string]any
		read   []cache.Scope
		write  cache.Scope
	}{
		{"main", githubJob("push", "refs/heads/main"), []cache.Scope{"trusted"}, "trusted"},
		{"pull request", githubJob("pull_request", "refs/pull/17/merge"), []cache.Scope{"trusted", "pr/17"}, "pr/17"},
		{"branch", githubJob("push", "refs/heads/fix"), []cache.Scope{"trusted", "branch/refs/heads/fix"}, "branch/refs/heads/fix"},
		{"beside", githubJob("pull_request_target", "refs/heads/main"), []cache.Scope{"trusted", "run/1001"}, "run/1001"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := github.Sign(tt.claims)
			// GitHub's tokens are no bearers.
			_, err := one.Grant(t.Context(), "Bearer "+token, "web")
			wantOnly(t, err, trust.ErrNeedsExchange, token)
			issued, err := one.Exchange(t.Context(), token, "", 0)
			if err != nil {
				t.Fatal(err)
			}
			if issued.Workspace != "web" || !slices.Equal(issued.Read, tt.read) || issued.Write != tt.write || issued.Rule == "" || issued.Producer.RunID != "1001" || issued.Producer.Session != issued.ID {
				t.Fatalf("issued %+v", issued)
			}
			a, err := one.Grant(t.Context(), "Bearer "+issued.Token, "")
			if err != nil {
				t.Fatal(err)
			}
			b, err := other.Grant(t.Context(), "Bearer "+issued.Token, "web")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(a, b); diff != "" {
				t.Fatal(diff)
			}
			if who := a.Producer; who.Kind != "ci" || who.Provider != "github" || who.Issuer != github.URL || who.Session != issued.ID ||
				who.RunID != "1001" || who.RepositoryID != "456789" || who.ActorID != "9" || who.Subject != "repo:acme/web:x" {
				t.Errorf("the producer is %+v", who)
			}
			for _, r := range []replica{one, other} {
				_, err := r.Exchange(t.Context(), token, "", 0)
				wantOnly(t, err, trust.ErrReplayed, token)
			}
			// What a session carries is enough to judge it again as its identity was judged: under another policy that says the same of it.
			same := wholePolicy(t, github, gitlab, "    sessions: {ttl: 2h}")
			if same.Fingerprint() == p.Fingerprint() {
				t.Fatal("the other policy is the same")
			}
			other.take(same)
			again, err := other.Grant(t.Context(), "Bearer "+issued.Token, "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(a, again); diff != "" {
				t.Fatal(diff)
			}
			other.take(p)
		})
	}
	t.Run("gitlab, as the bearer and exchanged", func(t *testing.T) {
		token := gitlab.Sign(gitlabJob("push", "refs/heads/main"))
		g, err := one.Grant(t.Context(), "Bearer "+token, "")
		if err != nil || g.Workspace != "library" || g.Write != "trusted" {
			t.Fatal(g, err)
		}
		issued, err := other.Exchange(t.Context(), token, "library", time.Minute)
		if err != nil || issued.Write != "trusted" {
			t.Fatal(issued, err)
		}
		_, err = one.Grant(t.Context(), "Bearer "+token, "web")
		wantOnly(t, err, trust.ErrNotAllowed, token)
	})
}

func TestRefusedOnTheWholeWay(t *testing.T) {
	github, gitlab, stranger := oidctest.New(t), oidctest.New(t), oidctest.New(t)
	p := wholePolicy(t, github, gitlab, "")
	r := newReplica(t, t.TempDir(), keyring.Keys{{ID: "one", Secret: &keyring.Secret{1}}}, p)
	with := func(claims map[string]any, more map[string]any) map[string]any {
		maps.Copy(claims, more)
		return claims
	}
	good := func() map[string]any { return githubJob("push", "refs/heads/main") }
	for name, tt := range map[string]struct {
		token string
		want  error
	}{
		"another repository": {github.Sign(with(good(), map[string]any{"repository_id": "1"})), trust.ErrNotAllowed},
		"recycled owner":     {github.Sign(with(good(), map[string]any{"repository_owner_id": "1"})), trust.ErrNotAllowed},
		"unknown event":      {github.Sign(githubJob("full_moon", "refs/heads/main")), trust.ErrNotAllowed},
		"another audience":   {github.Sign(with(good(), map[string]any{"aud": "https://other.example"})), trust.ErrAudience},
		"expired":            {github.Sign(with(good(), map[string]any{"iat": time.Now().Add(-time.Hour).Unix(), "nbf": nil, "exp": time.Now().Add(-30 * time.Minute).Unix()})), trust.ErrExpired},
		"unknown issuer":     {stranger.Sign(good()), trust.ErrNotAllowed},
		"impostor":           {stranger.Sign(with(good(), map[string]any{"iss": github.URL})), trust.ErrForged},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Exchange(t.Context(), tt.token, "", 0)
			if name == "impostor" && errors.Is(err, trust.ErrUnverifiable) {
				return // the kid is new to the verifier, and may be one that was published just now
			}
			wantOnly(t, err, tt.want, tt.token)
			_, err = r.Grant(t.Context(), "Bearer "+tt.token, "")
			if !errors.Is(err, trust.ErrUnverifiable) {
				wantOnly(t, err, tt.want, tt.token)
			}
		})
	}
}

// Fifty at once, on two replicas with handles of their own: one gets a session.
func TestOneExchangeWinsOnTwoReplicas(t *testing.T) {
	github, gitlab := oidctest.New(t), oidctest.New(t)
	p := wholePolicy(t, github, gitlab, "")
	dir, keys := t.TempDir(), keyring.Keys{{ID: "one", Secret: &keyring.Secret{1}}}
	replicas := []replica{newReplica(t, dir, keys, p), newReplica(t, dir, keys, p)}
	token := github.Sign(githubJob("push", "refs/heads/main"))
	const many = 50
	var won, lost atomic.Int32
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			<-start
			switch _, err := replicas[i%2].Exchange(t.Context(), token, "", 0); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, trust.ErrReplayed):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	if won.Load() != 1 || lost.Load() != many-1 {
		t.Fatalf("%d won, %d lost", won.Load(), lost.Load())
	}
}

func TestTheRealPolicyNarrowsARunningSession(t *testing.T) {
	github, gitlab := oidctest.New(t), oidctest.New(t)
	p := wholePolicy(t, github, gitlab, "")
	r := newReplica(t, t.TempDir(), keyring.Keys{{ID: "one", Secret: &keyring.Secret{1}}}, p)
	issued, err := r.Exchange(t.Context(), github.Sign(githubJob("pull_request", "refs/pull/17/merge")), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	header := "Bearer " + issued.Token
	during, err := r.Grant(t.Context(), header, "")
	if err != nil {
		t.Fatal(err)
	}
	r.take(wholePolicy(t, github, gitlab, "      pull_requests: read-only"))
	g, err := r.Grant(t.Context(), header, "")
	if err != nil || g.Write != "" || !slices.Equal(g.Read, []cache.Scope{"trusted"}) {
		t.Fatal(g, err)
	}
	wantOnly(t, r.Valid(t.Context(), header, "", during), trust.ErrNotAllowed, issued.Token)
	r.take(wholePolicy(t, github, gitlab, "      pull_requests: off"))
	_, err = r.Grant(t.Context(), header, "")
	wantOnly(t, err, trust.ErrNotAllowed, issued.Token)
	r.take(p)
	if err := r.Valid(t.Context(), header, "", during); err != nil {
		t.Fatal(err)
	}
}

// wantOnly checks the kind of a denial, and that no part of the credential is in it.
func wantOnly(t *testing.T, err, want error, credential string) {
	t.Helper()
	d, ok := errors.AsType[*trust.DeniedError](err)
	if !ok || !errors.Is(err, want) || d.Reason == "" {
		t.Fatalf("got %v, want a denial for %v", err, want)
	}
	for i := 0; i+20 <= len(credential); i++ {
		if strings.Contains(err.Error(), credential[i:i+20]) {
			t.Fatalf("%q gives away a part of what was presented", err)
		}
	}
}
