package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

const (
	identity = "eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiJzM2NyM3QifQ.c2ln"
	issued   = "bzs_eyJ.s3cr3t.sig"
	formType = "application/x-www-form-urlencoded"
)

// asked is what the authenticator was asked.
type asked struct {
	credential string
	named      cache.Workspace
	ttl        time.Duration
}

// newSessions is a server that takes one identity, and remembers what it was asked.
func newSessions(t *testing.T, change ...func(*Options)) (*fixture, *[]asked) {
	change = append(change, func(o *Options) { o.Audience = func() string { return "https://cache.example.com" } })
	f := newFixture(t, change...)
	f.auth.mustBeOpen(false)
	seen := new([]asked)
	f.auth.exchange = func(credential string, named cache.Workspace, ttl time.Duration) (trust.Issued, error) {
		*seen = append(*seen, asked{credential, named, ttl})
		if credential != identity {
			return trust.Issued{}, &trust.DeniedError{Err: trust.ErrForged, Reason: "the signature does not fit"}
		}
		return trust.Issued{
			Token: issued, ID: "0123456789ab", Expires: time.Now().Add(time.Hour), Workspace: "web",
			Read: []cache.Scope{cache.Trusted, "pr/17"}, Write: "pr/17", Rule: "github pull_request", Producer: cache.Producer{Session: "0123456789ab", RepositoryID: "456789", RunID: "7321", ActorID: "4242"},
		}, nil
	}
	return f, seen
}

func TestASessionInOneLine(t *testing.T) {
	f, seen := newSessions(t)
	resp, body := f.do("POST", "/v1/session", nil, "Authorization", "Bearer "+identity)
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %s %v", resp.StatusCode, body, err)
	}
	expires, err := time.Parse(time.RFC3339, got["expires_at"].(string))
	if err != nil || time.Until(expires) > time.Hour || time.Until(expires) < 50*time.Minute {
		t.Errorf("expires_at %v", got["expires_at"])
	}
	delete(got, "expires_at")
	if want := fmt.Sprint(map[string]any{"token": issued, "workspace": "web", "read": []any{"trusted", "pr/17"}, "write": "pr/17"}); fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if resp.Header.Get(name) != want {
			t.Errorf("%s: %q", name, resp.Header.Get(name))
		}
	}
	if want := []asked{{identity, "", 0}}; !slices.Equal(*seen, want) {
		t.Errorf("asked %v", *seen)
	}
}

// TestAnEmptyWriteIsSaid: a client can tell "writes nothing" from a field that is not there.
func TestAnEmptyWriteIsSaid(t *testing.T) {
	f, _ := newSessions(t)
	f.auth.exchange = func(string, cache.Workspace, time.Duration) (trust.Issued, error) {
		return trust.Issued{Token: issued, Workspace: "web", Expires: time.Now()}, nil
	}
	if got := string(f.want(200, "POST", "/v1/session", nil, "Authorization", "Bearer "+identity)); !strings.Contains(got, `"read":[],"write":""`) {
		t.Errorf("got %s", got)
	}
}

func TestPathsOfSessions(t *testing.T) {
	f, seen := newSessions(t)
	for path, named := range map[string]cache.Workspace{
		"/v1/session": "", "//v1/session": "", "/v1//session": "", "/default/v1/session": "default", "/a/b//default//v1/session": "default",
		"/unknown/v1/session": "", "/v1/session?x=y": "",
	} {
		*seen = nil
		f.want(200, "POST", path, nil, "Authorization", "Bearer "+identity)
		if len(*seen) != 1 || (*seen)[0].named != named {
			t.Errorf("%s names %v, want %q", path, *seen, named)
		}
	}
	for _, path := range []string{"/v1/session/", "/v1/session/x", "/v1/sessions", "/session", "/v2/session", "/v1/%73ession", "v1/session"} {
		if _, ok := parseSessionTarget(path); ok {
			t.Errorf("%s is taken for a session", path)
		}
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		resp, _ := f.do(method, "/v1/session", nil)
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", method, resp.StatusCode, resp.Header)
		}
	}
}

func TestRefusedIdentities(t *testing.T) {
	for err, want := range map[error]struct {
		status int
		cause  string
	}{
		trust.ErrNoCredential: {401, "no_credential"}, trust.ErrMalformed: {401, "malformed_credential"}, trust.ErrForged: {401, "forged_credential"},
		trust.ErrUnknown: {401, "unknown_credential"}, trust.ErrRevoked: {401, "revoked"},
		trust.ErrExpired: {403, "expired"}, trust.ErrOtherWorkspace: {403, "other_workspace"}, trust.ErrNotAllowed: {403, "not_allowed"},
		trust.ErrAudience: {403, "audience"}, trust.ErrUnverifiable: {403, "unverifiable"}, trust.ErrReplayed: {403, "replayed"},
		trust.ErrNeedsExchange: {403, "needs_exchange"}, trust.ErrLedger: {403, "ledger"},
	} {
		f, _ := newSessions(t)
		f.auth.exchange = func(string, cache.Workspace, time.Duration) (trust.Issued, error) {
			return trust.Issued{}, &trust.DeniedError{Err: err, Reason: `because of "this"`, Producer: cache.Producer{RunID: "7321", ActorID: "4242"}}
		}
		resp, body := f.do("POST", "/v1/session", nil, "Authorization", "Bearer "+identity)
		if got := resp.Header["Content-Type"]; resp.StatusCode != want.status || len(got) != 1 || got[0] != "text/plain" || string(body) != "because of \"this\"\n" {
			t.Errorf("%v: %d %v %s, want %d", err, resp.StatusCode, resp.Header, body, want.status)
		}
		if resp.Header.Get("Bezoar-Cause") != want.cause || resp.Header.Get("Cache-Control") != "no-store" || (resp.Header.Get("WWW-Authenticate") != "") != (want.status == 401) {
			t.Errorf("%v: %v", err, resp.Header)
		}
		// RFC 8693, section 2.2.2.
		resp, body = f.do("POST", "/v1/session", []byte(exchangeForm().Encode()), "Content-Type", formType)
		if got := resp.Header.Get("Content-Type"); resp.StatusCode != 400 || got != "application/json" || string(body) != `{"error":"invalid_request","error_description":"because of 'this'"}`+"\n" {
			t.Errorf("%v, as a form: %d %v %s", err, resp.StatusCode, resp.Header, body)
		}
		if resp.Header.Get("Bezoar-Cause") != want.cause || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%v, as a form: %v", err, resp.Header)
		}
		f.waitForLog(2, `"cause":"`+want.cause+`"`)
		if log := f.log.String(); strings.Count(log, `"run_id":"7321"`) != 2 || strings.Contains(log, identity) {
			t.Errorf("%v: the log:\n%s", err, log)
		}
		if got := string(f.want(200, "GET", "/metrics", nil)); !strings.Contains(got, fmt.Sprintf(`bezoar_sessions_total{cause=%q,`, want.cause)) {
			t.Errorf("%v is not counted", err)
		}
	}
}

func TestNoCredentialForASession(t *testing.T) {
	f, seen := newSessions(t)
	for header, cause := range map[string]string{"": "no_credential", "Bearer": "no_credential", " bearer ": "no_credential", "Basic Zm9v": "malformed_credential"} {
		resp, body := f.do("POST", "/v1/session", nil, "Authorization", header)
		if resp.StatusCode != 401 || resp.Header.Get("Bezoar-Cause") != cause || strings.Contains(string(body), "Zm9v") {
			t.Errorf("%q: %d %s", header, resp.StatusCode, body)
		}
	}
	if len(*seen) > 0 {
		t.Errorf("asked %v", *seen)
	}
}

func TestAnOpenServerHasNothingToExchange(t *testing.T) {
	f, seen := newSessions(t)
	f.auth.mustBeOpen(true)
	if got := string(f.want(403, "POST", "/v1/session", nil, "Authorization", "Bearer "+identity)); !strings.Contains(got, "this server is open") {
		t.Errorf("got %s", got)
	}
	if len(*seen) > 0 {
		t.Errorf("asked %v", *seen)
	}
}

func TestSessionsAreLoggedWithoutSecrets(t *testing.T) {
	f, _ := newSessions(t)
	f.want(200, "POST", "/v1/session", nil, "Authorization", "Bearer "+identity)
	f.want(401, "POST", "/v1/session", nil, "Authorization", "Bearer "+identity+"x")
	f.want(200, "POST", "/v1/session", []byte(exchangeForm().Encode()), "Content-Type", formType)
	f.waitForLog(3, `"msg":"session"`)
	log := f.log.String()
	for _, want := range []string{`"session":"0123456789ab"`, `"repository_id":"456789"`, `"run_id":"7321"`, `"actor_id":"4242"`, `"rule":"github pull_request"`, `"workspace":"web"`, `"scope":"pr/17"`, `"result":"issued"`, `"expires":`, `"cause":"forged_credential"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
	for _, secret := range []string{"s3cr3t", "eyJ"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds a secret:\n%s", log)
		}
	}
	metrics := string(f.want(200, "GET", "/metrics", nil))
	for _, want := range []string{`bezoar_sessions_total{cause="",result="issued"} 2`, `bezoar_sessions_total{cause="forged_credential",result="denied"} 1`} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// TestRequestsSayWhoseTheyAre: what 'bezoar revoke' takes is in the line of each request.
func TestRequestsSayWhoseTheyAre(t *testing.T) {
	f := newFixture(t)
	f.auth.producer = cache.Producer{Kind: "ci", Session: "0123456789ab", RepositoryID: "456789", RunID: "7321", ActorID: "4242", Subject: "repo:x"}
	f.want(404, "GET", "/v1/cache/1", nil)
	f.auth.set(&trust.DeniedError{Err: trust.ErrExpired, Reason: "expired", TokenID: "aaaabbbbcccc"})
	f.want(404, "GET", "/v1/cache/1", nil)
	f.waitForLog(2, `"msg":"request"`)
	for _, want := range []string{`"session":"0123456789ab"`, `"repository_id":"456789"`, `"run_id":"7321"`, `"actor_id":"4242"`, `"token_id":"aaaabbbbcccc"`} {
		if strings.Count(f.log.String(), want) != 1 {
			t.Errorf("the log has %s %d times:\n%s", want, strings.Count(f.log.String(), want), f.log)
		}
	}
}

// TestABugCostsASessionOnly: a panic is answered, counted and logged.
func TestABugCostsASessionOnly(t *testing.T) {
	f, _ := newSessions(t)
	f.auth.exchange = func(string, cache.Workspace, time.Duration) (trust.Issued, error) { panic("a bug at " + identity[:3]) }
	if got := string(f.want(500, "POST", "/v1/session", nil, "Authorization", "Bearer "+identity)); strings.Contains(got, "a bug") {
		t.Errorf("the client is told %q", got)
	}
	f.auth.exchange = func(string, cache.Workspace, time.Duration) (trust.Issued, error) {
		return trust.Issued{}, errors.New("open /var/lib/secret")
	}
	if got := string(f.want(500, "POST", "/v1/session", nil, "Authorization", "Bearer "+identity)); strings.Contains(got, "secret") {
		t.Errorf("the client is told %q", got)
	}
	f.waitForLog(2, `"cause":"internal"`)
}
