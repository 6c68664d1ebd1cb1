//go:build e2e

package attack_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
)

// lookalike is a token that is nearly that of a trusted build.
type lookalike struct {
	name string
	// example is what it is made from, "github/push-main" or "gitlab/push-main".
	example string
	changes claims
	// refused says that it must get no grant at all; else it may have one, but not for what trusted builds read.
	refused bool
}

const (
	githubMain = "github/push-main"
	mainOfLab  = "gitlab/push-main"
)

// lookalikes are tokens of the right issuer for the right audience: of other events and refs, of other repositories, of forks.
var lookalikes = []lookalike{
	{"another case", githubMain, claims{"ref": "refs/heads/Main"}, false},
	{"all capitals", githubMain, claims{"ref": "REFS/HEADS/MAIN"}, false},
	{"a slash behind", githubMain, claims{"ref": "refs/heads/main/"}, false},
	{"a blank behind", githubMain, claims{"ref": "refs/heads/main "}, false},
	{"a line end behind", githubMain, claims{"ref": "refs/heads/main\n"}, false},
	{"a branch of that full name", githubMain, claims{"ref": "refs/heads/refs/heads/main"}, false},
	{"a folder below", githubMain, claims{"ref": "refs/heads/main/fix"}, false},
	{"a folder above", githubMain, claims{"ref": "refs/heads/x/main"}, false},
	{"dots", githubMain, claims{"ref": "refs/heads/x/../main"}, false},
	{"percent-encoded", githubMain, claims{"ref": "refs%2Fheads%2Fmain"}, false},
	{"a fullwidth letter", githubMain, claims{"ref": "refs/heads/\uff4dain"}, false},
	{"a Cyrillic letter", githubMain, claims{"ref": "refs/heads/m\u0430in"}, false},
	{"a letter of no width", githubMain, claims{"ref": "refs/heads/main\u200b"}, false},
	{"a combining mark", githubMain, claims{"ref": "refs/heads/main\u0301"}, false},
	{"no prefix", githubMain, claims{"ref": "main"}, false},
	{"a tag of that name", githubMain, claims{"ref": "refs/tags/main", "ref_type": "tag"}, false},
	{"a tag, by its type", githubMain, claims{"ref_type": "tag"}, false},
	{"a tag, by its ref", githubMain, claims{"ref": "refs/tags/main"}, false},
	{"a pull request's ref in a push", githubMain, claims{"ref": "refs/pull/17/merge"}, false},
	{"main as the head of a pull request", "github/pull_request", claims{"head_ref": "main", "ref": "refs/heads/main"}, false},
	{"no ref", githubMain, claims{"ref": nil}, false},
	{"no type of the ref", githubMain, claims{"ref_type": nil}, false},
	{"a list for a ref", githubMain, claims{"ref": []string{"refs/heads/main"}}, false},
	{"no event", githubMain, claims{"event_name": nil}, false},
	{"an event in capitals", githubMain, claims{"event_name": "PUSH"}, false},
	{"an event of the future", githubMain, claims{"event_name": "push_v2"}, false},
	{"a list of events", githubMain, claims{"event_name": []string{"push"}}, false},
	{"pull_request_target", githubMain, claims{"event_name": "pull_request_target"}, false},
	{"workflow_run", githubMain, claims{"event_name": "workflow_run"}, false},
	{"issue_comment", githubMain, claims{"event_name": "issue_comment"}, false},
	{"workflow_dispatch", githubMain, claims{"event_name": "workflow_dispatch"}, false},
	{"repository_dispatch", githubMain, claims{"event_name": "repository_dispatch"}, false},
	{"deployment", githubMain, claims{"event_name": "deployment"}, false},
	{"pull_request_review", githubMain, claims{"event_name": "pull_request_review"}, false},
	{"merge_group", githubMain, claims{"event_name": "merge_group"}, false},
	{"another repository of that name", githubMain, claims{"repository_id": "999"}, true},
	{"a fork's main", githubMain, claims{"repository": "mallory/web", "repository_id": "999", "repository_owner": "mallory", "repository_owner_id": "666"}, true},
	{"the repository given to another owner", githubMain, claims{"repository_owner_id": "666"}, true},
	{"an id with a zero before", githubMain, claims{"repository_id": "0456789"}, true},
	{"an id with a blank", githubMain, claims{"repository_id": "456789 "}, true},
	{"a longer id", githubMain, claims{"repository_id": "4567890"}, true},
	{"a list of ids", githubMain, claims{"repository_id": []string{"456789"}}, true},
	{"no id", githubMain, claims{"repository_id": nil}, true},

	{"a merge request from a branch main", mainOfLab, claims{"pipeline_source": "merge_request_event"}, false},
	{"a pipeline by hand", mainOfLab, claims{"pipeline_source": "web"}, false},
	{"a pipeline by API", mainOfLab, claims{"pipeline_source": "api"}, false},
	{"a pipeline by trigger", mainOfLab, claims{"pipeline_source": "trigger"}, false},
	{"a child pipeline", mainOfLab, claims{"pipeline_source": "parent_pipeline"}, false},
	{"a source of the future", mainOfLab, claims{"pipeline_source": "push_v2"}, false},
	{"no source", mainOfLab, claims{"pipeline_source": nil}, false},
	{"a branch that is not protected", mainOfLab, claims{"ref_protected": "false"}, false},
	{"protection that is not said", mainOfLab, claims{"ref_protected": nil}, false},
	{"a tag main", mainOfLab, claims{"ref_type": "tag", "ref_path": "refs/tags/main"}, false},
	{"a tag main, by its type", mainOfLab, claims{"ref_type": "tag"}, false},
	{"a tag main, by its path", mainOfLab, claims{"ref_path": "refs/tags/main"}, false},
	{"a bare ref alone", mainOfLab, claims{"ref_path": nil}, false},
	{"a path in another case", mainOfLab, claims{"ref_path": "refs/heads/Main"}, false},
	{"a branch of that full name", mainOfLab, claims{"ref_path": "refs/heads/refs/heads/main", "ref": "refs/heads/main"}, false},
	{"a fork's code, run in the parent", mainOfLab, claims{"project_id": "901", "project_path": "mallory/library"}, false},
	{"the parent's code, run in a fork", mainOfLab, claims{"job_project_id": "901", "job_project_path": "mallory/library"}, true},
	{"a fork's main", mainOfLab, claims{"project_id": "901", "job_project_id": "901"}, true},
	{"no project of the job", mainOfLab, claims{"job_project_id": nil}, false},
	{"an id with a zero before", mainOfLab, claims{"project_id": "077", "job_project_id": "077"}, true},
}

func TestLookalikes(t *testing.T) {
	s := newHouse(t).scene(t)
	for i, l := range lookalikes {
		t.Run(l.example+", "+l.name, func(t *testing.T) {
			issuer := s.github
			if strings.HasPrefix(l.example, "gitlab/") {
				issuer = s.gitlab
			}
			s.wantUntrusted(t, fmt.Sprint("lookalike-", i), l.refused, func() string { return issuer.Sign(example(t, l.example).with(l.changes)) })
		})
	}
}

// TestForgeries has what no issuer of the policy signed, or not for this server.
func TestForgeries(t *testing.T) {
	s := newHouse(t).scene(t)
	stranger := oidctest.New(t)
	onHub, onLab := example(t, githubMain), example(t, mainOfLab)
	for i, f := range []struct {
		name string
		sign func() string
	}{
		{"an issuer that the policy does not name", func() string { return stranger.Sign(onHub) }},
		{"a stranger's key, another's name", func() string { return stranger.Sign(onHub.with(claims{"iss": s.github.URL})) }},
		{"GitHub's key, GitLab's name", func() string { return s.github.Sign(onHub.with(claims{"iss": s.gitlab.URL})) }},
		{"GitHub's words from GitLab", func() string { return s.gitlab.Sign(onHub) }},
		{"GitLab's words from GitHub", func() string { return s.github.Sign(onLab) }},
		{"an issuer with a slash behind", func() string { return s.github.Sign(onHub.with(claims{"iss": s.github.URL + "/"})) }},
		{"another audience", func() string { return s.github.Sign(onHub.with(claims{"aud": "https://github.com/acme"})) }},
		{"an audience with a slash behind", func() string { return s.github.Sign(onHub.with(claims{"aud": audience + "/"})) }},
		{"an audience in capitals", func() string { return s.github.Sign(onHub.with(claims{"aud": strings.ToUpper(audience)})) }},
		{"two audiences", func() string {
			return s.github.Sign(onHub.with(claims{"aud": []string{audience, "https://example.org"}}))
		}},
		{"no audience", func() string { return s.github.Sign(onHub.with(claims{"aud": nil})) }},
		{"expired", func() string {
			return s.github.Sign(onHub.with(claims{"iat": time.Now().Add(-2 * time.Hour).Unix(), "nbf": nil, "exp": time.Now().Add(-time.Hour).Unix()}))
		}},
		{"of tomorrow", func() string { return s.github.Sign(onHub.with(claims{"nbf": time.Now().Add(24 * time.Hour).Unix()})) }},
		{"without a signature", func() string { return unsigned(t, s.github, onHub) }},
		{"a MAC with the issuer's public key", func() string { return macWithPublicKey(t, s.github, onHub) }},
		{"another payload under a good signature", func() string {
			parts := strings.Split(s.github.Sign(example(t, "github/pull_request")), ".")
			return parts[0] + "." + segment(t, s.github.Claims(onHub)) + "." + parts[2]
		}},
		{"a key from elsewhere", func() string {
			return stranger.SignHeader(map[string]any{"jku": stranger.URL + oidctest.KeysPath}, onHub.with(claims{"iss": s.github.URL}))
		}},
	} {
		t.Run(f.name, func(t *testing.T) { s.wantUntrusted(t, fmt.Sprint("forgery-", i), true, f.sign) })
	}
}

// wantUntrusted tries a token in both ways, exchanged and as it is, and uploads with what comes of it. Trusted builds must not see it.
func (s *scene) wantUntrusted(t *testing.T, hash string, refused bool, sign func() string) {
	t.Helper()
	token := sign()
	exchanged := s.must(t, request{method: http.MethodPost, path: "/v1/session", token: &token})
	var issued session
	if exchanged.status == http.StatusOK {
		if err := json.Unmarshal(exchanged.body, &issued); err != nil {
			t.Fatalf("%v: %v", exchanged, err)
		}
		if refused {
			t.Errorf("it was given a session that writes %q", issued.Write)
		}
		if issued.Write == "trusted" {
			t.Errorf("it was given a session that writes what trusted builds read")
		}
		s.put(t, issued.Token, "/v1/cache/"+hash)
	} else {
		wantStatus(t, "the exchange", exchanged, http.StatusUnauthorized, http.StatusForbidden)
	}
	direct := s.put(t, sign(), "/v1/cache/"+hash)
	if refused && direct.status == http.StatusOK {
		t.Errorf("as the credential itself it may upload")
	}
	s.wantClean(t, hash)
}

func segment(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func unsigned(t *testing.T, issuer *oidctest.Issuer, c claims) string {
	t.Helper()
	return segment(t, map[string]any{"alg": "none", "typ": "JWT"}) + "." + segment(t, issuer.Claims(c)) + "."
}

// macWithPublicKey is for verifiers that let the token choose the algorithm, and take the key that everybody knows for the secret.
func macWithPublicKey(t *testing.T, issuer *oidctest.Issuer, c claims) string {
	t.Helper()
	key, id := issuer.Key()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	text := segment(t, map[string]any{"alg": "HS256", "typ": "JWT", "kid": id}) + "." + segment(t, issuer.Claims(c))
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
