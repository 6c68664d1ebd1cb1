//go:build e2e

package attack_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestRequestsMoveNoScope has a pull request's session, and everything in a request that could be taken for a wish to write elsewhere.
func TestRequestsMoveNoScope(t *testing.T) {
	s := newHouse(t).scene(t)
	for i, path := range []string{
		"/v1/cache/{}",
		"/web/v1/cache/{}",
		"/docs/v1/cache/{}",
		"/trusted/v1/cache/{}",
		"/web/trusted/v1/cache/{}",
		"/docs/web/v1/cache/{}",
		"/web/docs/v1/cache/{}",
		"//docs//v1//cache//{}",
		"/web/v1/cache/../../../docs/v1/cache/{}",
		"/docs/v1/cache/../../../web/v1/cache/{}",
		"/web/v1/cache/..%2f..%2f..%2fdocs/v1/cache/{}",
		"/%64ocs/v1/cache/{}",
		"/docs%2fv1%2fcache%2f{}",
		"/DOCS/v1/cache/{}",
		"/docs;/v1/cache/{}",
		"/docs%00/v1/cache/{}",
		"/web/v1/cache/trusted/{}",
		"/web/v1/cache/trusted%2f{}",
		"/web/v1/cache/{}/",
		"/web/v1/cache/{}%20",
		"/web/v1/cache/{}%00",
		"/web/v1/cache/{}%e2%80%8b",
		"/web/v1/cache/%48TAIL",
		"/web/v1/cache/0{}",
		"/web/v1/cache/hTAIL",
		"/web/v1/cache/{}?scope=trusted&workspace=docs",
		"/web/v1/cache/{}?access_token=" + s.main[:40],
		"/web/v1/cache/{};scope=trusted",
		"http://docs/docs/v1/cache/{}",
	} {
		hash := fmt.Sprint("H-", i)
		t.Run(path, func(t *testing.T) {
			path := strings.NewReplacer("{}", hash, "TAIL", hash[1:]).Replace(path)
			s.raw(t, "PUT "+path+" HTTP/1.1\nHost: docs\nConnection: close\nAuthorization: Bearer "+s.pull+"\nContent-Length: %d\n\n")
			s.wantClean(t, hash)
		})
	}
	for i, header := range []string{
		"Bezoar-Scope: trusted\nX-Bezoar-Scope: trusted\nScope: trusted\nX-Scope: trusted",
		"Bezoar-Workspace: docs\nX-Bezoar-Workspace: docs\nX-Forwarded-Prefix: /docs",
		"X-Original-URL: /docs/v1/cache/{}\nX-Rewrite-URL: /docs/v1/cache/{}",
		"X-Forwarded-User: main\nX-Remote-User: main\nRemote-User: main\nX-Forwarded-For: 127.0.0.1",
		"X-HTTP-Method-Override: PUT\nX-HTTP-Method: PUT\nX-Method-Override: PUT",
		"Authorization: Bearer unknown",
		"Proxy-Authorization: Bearer unknown\nCookie: token=trusted; scope=trusted",
		"Transfer-Encoding: chunked",
		"Content-Length: 7",
	} {
		hash := fmt.Sprint("header-", i)
		t.Run(header, func(t *testing.T) {
			s.raw(t, "PUT /v1/cache/"+hash+" HTTP/1.1\nHost: cache\nConnection: close\nAuthorization: Bearer "+s.pull+"\nContent-Length: %d\n"+
				strings.ReplaceAll(header, "{}", hash)+"\n\n")
			s.wantClean(t, hash)
		})
	}
}

// TestCredentialsOfADifferentForm has what is nearly a credential, or is one in another place.
func TestCredentialsOfADifferentForm(t *testing.T) {
	s := newHouse(t).scene(t)
	ci := func() string { return s.githubToken(t, "push-main", nil) }
	parts := strings.Split(s.pull, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	raised := strings.ReplaceAll(string(payload), `"`+s.own+`"`, `"trusted"`)
	if raised == string(payload) {
		t.Fatalf("the pull request's session does not name its scope: %s", payload)
	}
	elsewhere := s.house.scoped(t).session(t, ci())
	for i, c := range []struct {
		name   string
		header string
	}{
		{"a token of the CI that has to be exchanged", "Bearer " + ci()},
		{"a session with another scope in it", "Bearer " + parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(raised)) + "." + parts[2]},
		{"a session without its prefix", "Bearer " + strings.TrimPrefix(s.main, "bzs_")},
		{"a token of the CI with the prefix of a session", "Bearer bzs_" + ci()},
		{"a session with the prefix of a static token", "Bearer bzr_" + strings.TrimPrefix(s.main, "bzs_")},
		{"a session without its signature", "Bearer " + s.main[:strings.LastIndexByte(s.main, '.')+1]},
		{"a session with one more byte", "Bearer " + s.main + "A"},
		{"a session of another server", "Bearer " + elsewhere},
		{"two credentials in a header", "Bearer " + s.pull + ", Bearer " + s.main},
		{"two credentials behind one scheme", "Bearer " + s.pull + " " + s.main},
		{"no scheme", s.main},
		{"another scheme", "Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+s.main))},
		{"a scheme too many", "Bearer Bearer " + s.main},
	} {
		t.Run(c.name, func(t *testing.T) {
			hash := fmt.Sprint("form-", i)
			got := s.must(t, request{method: http.MethodPut, path: "/v1/cache/" + hash, header: http.Header{"Authorization": {c.header}}, body: poison})
			wantStatus(t, "the upload", got, http.StatusUnauthorized, http.StatusForbidden)
			s.wantClean(t, hash)
		})
	}
	for _, place := range []string{"access_token", "token", "authorization", "bearer"} {
		t.Run("in the query as "+place, func(t *testing.T) {
			hash := "query-" + place
			got := s.must(t, request{method: http.MethodPut, path: "/v1/cache/" + hash + "?" + place + "=" + s.main, body: poison})
			wantStatus(t, "the upload", got, http.StatusForbidden)
			s.wantClean(t, hash)
		})
	}
}

// TestAnonymousRequests: what has no credential reads nothing and writes nothing.
func TestAnonymousRequests(t *testing.T) {
	s := newHouse(t).scene(t)
	const path = "/v1/cache/secrets"
	wantStatus(t, "main's upload", s.put(t, s.main, path), http.StatusOK)
	for name, header := range map[string]http.Header{
		"nothing": {}, "an empty header": {"Authorization": {""}}, "a bare Bearer": {"Authorization": {"Bearer"}}, "Bearer and a blank": {"Authorization": {"Bearer "}},
	} {
		for _, prefix := range []string{"", "/web", "/docs", "/default"} {
			t.Run(name+" at "+prefix, func(t *testing.T) {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					wantStatus(t, method, s.must(t, request{method: method, path: prefix + path, header: header}), http.StatusNotFound)
				}
				wantStatus(t, "PUT", s.must(t, request{method: http.MethodPut, path: prefix + "/v1/cache/anonymous", header: header, body: poison}), http.StatusForbidden)
				wantStatus(t, "POST", s.must(t, request{method: http.MethodPost, path: prefix + "/v1/session", header: header}), http.StatusUnauthorized)
			})
		}
	}
	s.wantClean(t, "anonymous")
}
