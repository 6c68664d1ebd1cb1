//go:build e2e

package attack_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// longest is the most that a session lasts by a policy that does not say.
const longest = 6 * time.Hour

// TestExchangeGivesNothingTwice has tokens that are used again, by who has read them in a log, and credentials that are not a CI's.
func TestExchangeGivesNothingTwice(t *testing.T) {
	s := newHouse(t).scene(t)
	t.Run("one after the other", func(t *testing.T) {
		token := s.githubToken(t, "push-main", nil)
		s.exchange(t, "", token)
		for _, again := range []request{
			{path: "/v1/session"}, {path: "/web/v1/session"}, {path: "//v1//session"}, {path: "/v1/session?ttl=5m"},
		} {
			again.method, again.token = http.MethodPost, &token
			wantStatus(t, again.path, s.must(t, again), http.StatusForbidden)
		}
		wantStatus(t, "as a form", s.must(t, s.form(token, nil)), http.StatusBadRequest)
	})
	t.Run("all at once", func(t *testing.T) {
		token := s.githubToken(t, "push-main", nil)
		var given atomic.Int32
		var group errgroup.Group
		for range 16 {
			group.Go(func() error {
				got, err := s.do(t.Context(), request{method: http.MethodPost, path: "/v1/session", token: &token})
				if got.status == http.StatusOK {
					given.Add(1)
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if n := given.Load(); n != 1 {
			t.Errorf("one token was exchanged for %d sessions, want 1", n)
		}
	})
	t.Run("a token without an id, its signature written otherwise", func(t *testing.T) {
		token := s.githubToken(t, "push-main", claims{"jti": nil})
		s.must(t, request{method: http.MethodPost, path: "/v1/session", token: &token})
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		last := strings.IndexByte(alphabet, token[len(token)-1])
		for _, other := range []string{token + "=", token + "==", token[:len(token)-1] + string(alphabet[last^1]), token} {
			got := s.must(t, request{method: http.MethodPost, path: "/v1/session", token: &other})
			wantStatus(t, "the second exchange", got, http.StatusUnauthorized, http.StatusForbidden)
		}
	})
	t.Run("a token under the id of another", func(t *testing.T) {
		// An id is its issuer's: nobody can use up one of GitHub's with a token of GitLab's.
		id := rand.Text()
		s.exchange(t, "", s.gitlabToken(t, "push-main", claims{"jti": id}))
		s.exchange(t, "", s.githubToken(t, "push-main", claims{"jti": id}))
	})
	t.Run("a session for another session", func(t *testing.T) {
		for _, token := range []string{s.main, s.pull} {
			wantStatus(t, "the exchange", s.must(t, request{method: http.MethodPost, path: "/v1/session", token: &token}), http.StatusUnauthorized)
			wantStatus(t, "as a form", s.must(t, s.form(token, nil)), http.StatusBadRequest)
		}
	})
	t.Run("a static token for a session", func(t *testing.T) {
		token := s.staticToken(t, s.binary, "--access", "trusted").Secret
		wantStatus(t, "the exchange", s.must(t, request{method: http.MethodPost, path: "/v1/session", token: &token}), http.StatusUnauthorized)
	})
	t.Run("a token in the query", func(t *testing.T) {
		token := s.githubToken(t, "push-main", nil)
		query := "?subject_token=" + token + "&token=" + token + "&grant_type=" + url.QueryEscape(grantType)
		wantStatus(t, "the exchange", s.must(t, request{method: http.MethodPost, path: "/v1/session" + query}), http.StatusUnauthorized)
		s.exchange(t, "", token) // it was not used up
	})
}

// TestExchangeGivesNoMore has wishes for more than the identity is good for.
func TestExchangeGivesNoMore(t *testing.T) {
	s := newHouse(t).scene(t)
	for i, form := range []url.Values{
		{"scope": {"trusted"}}, {"write": {"trusted"}, "read": {"trusted"}}, {"workspace": {"docs"}}, {"audience": {"docs"}}, {"resource": {s.url + "/docs"}},
		{"actor_token": {s.githubToken(t, "push-main", nil)}, "actor_token_type": {"urn:ietf:params:oauth:token-type:jwt"}},
		{"subject_token": {s.githubToken(t, "pull_request", nil), s.main}},
		{"ttl": {"8760h"}}, {"ttl": {"-1h"}}, {"ttl": {"9223372036s", "1h"}},
	} {
		t.Run(fmt.Sprint(form.Encode()[:min(60, len(form.Encode()))]), func(t *testing.T) {
			s.wantModest(t, fmt.Sprint("more-", i), s.must(t, s.form(s.githubToken(t, "pull_request", nil), form)))
		})
	}
	for i, query := range []string{"ttl=8760h", "ttl=2562047h47m16.854775807s", "ttl=-1h", "ttl=1h&ttl=8760h", "scope=trusted&write=trusted&workspace=docs"} {
		t.Run(query, func(t *testing.T) {
			token := s.githubToken(t, "pull_request", nil)
			s.wantModest(t, fmt.Sprint("query-", i), s.must(t, request{method: http.MethodPost, path: "/v1/session?" + query, token: &token}))
		})
	}
	t.Run("another workspace", func(t *testing.T) {
		token := s.githubToken(t, "push-main", nil)
		wantStatus(t, "the exchange", s.must(t, request{method: http.MethodPost, path: "/docs/v1/session", token: &token}), http.StatusForbidden)
	})
}

// wantModest checks that an exchange was refused, or gave a pull request what it would have had anyway, for no longer than anybody.
func (s *scene) wantModest(t *testing.T, hash string, got answer) {
	t.Helper()
	if got.status != http.StatusOK {
		wantStatus(t, "the exchange", got, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden)
		return
	}
	var issued session
	if err := json.Unmarshal(got.body, &issued); err != nil {
		t.Fatal(err)
	}
	if issued.Workspace != "web" || issued.Write != s.own {
		t.Errorf("a pull request was given a session that writes %q of the workspace %q", issued.Write, issued.Workspace)
	}
	if left := time.Until(issued.Expires); left > longest+time.Minute {
		t.Errorf("the session lasts for %v, and the policy allows %v", left, longest)
	}
	s.put(t, issued.Token, "/v1/cache/"+hash)
	s.wantClean(t, hash)
}

const grantType = "urn:ietf:params:oauth:grant-type:token-exchange"

// form is an exchange by RFC 8693 with more parameters.
func (s *scene) form(token string, more url.Values) request {
	form := url.Values{"grant_type": {grantType}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "subject_token": {token}}
	maps.Copy(form, more)
	return request{
		method: http.MethodPost, path: "/v1/session", body: []byte(form.Encode()),
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	}
}
