package server

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

func TestAnArtifactComesBackAsItWent(t *testing.T) {
	f := newFixture(t)
	body := artifacttest.Typical(1)
	f.want(404, "GET", "/v1/cache/123", nil)
	f.want(404, "HEAD", "/v1/cache/123", nil)
	f.want(200, "PUT", "/v1/cache/123", body)
	resp, got := f.do("GET", "/v1/cache/123", nil)
	if resp.StatusCode != 200 || !bytes.Equal(got, body) {
		t.Fatalf("GET: %d, %d bytes of %d", resp.StatusCode, len(got), len(body))
	}
	if got := resp.Header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("Content-Type %q", got)
	}
	resp, _ = f.do("HEAD", "/v1/cache/123", nil)
	if resp.StatusCode != 200 || resp.ContentLength != int64(len(body)) {
		t.Errorf("HEAD: %d, length %d, want %d", resp.StatusCode, resp.ContentLength, len(body))
	}
	f.want(409, "PUT", "/v1/cache/123", artifacttest.Typical(2))
	if got := f.want(200, "GET", "/v1/cache/123", nil); !bytes.Equal(got, body) {
		t.Error("the second upload changed the entry")
	}
}

func TestPathsThatClientsSend(t *testing.T) {
	f := newFixture(t)
	f.want(200, "PUT", "//v1/cache/1", artifacttest.Typical(1))
	for _, path := range []string{"/v1/cache/1", "//v1/cache/1", "/team-a/v1/cache/1", "/a/b//c/v1/cache/1", "/default/v1/cache/1", "/v1/cache/1?x=y"} {
		f.want(200, "GET", path, nil)
	}
	for _, path := range []string{"/v1/cache/", "/v1/cache/a.b", "/v1/cache/..", "/v1/cache/%31", "/v1/cache/" + strings.Repeat("1", 129)} {
		f.want(404, "GET", path, nil)
		f.want(403, "PUT", path, artifacttest.Typical(1))
	}
	f.want(405, "POST", "/v1/cache/1", nil)
	f.want(405, "DELETE", "/v1/cache/1", nil)
	f.want(404, "GET", "/nothing", nil)
	if n := f.stored(); n != 1 {
		t.Errorf("%d entries", n)
	}
}

func TestHostileArchivesAreRefused(t *testing.T) {
	f := newFixture(t)
	for _, c := range artifacttest.Hostile() {
		got := f.want(403, "PUT", "/v1/cache/1", c.Body)
		member := ""
		if c.WantMember != "" {
			member = strconv.Quote(c.WantMember)
		}
		if !strings.Contains(string(got), c.WantReason) || !strings.Contains(string(got), member) {
			t.Errorf("%s: the client is told %q; it should hear of %s and %q", c.Name, got, member, c.WantReason)
		}
	}
	if n := f.stored(); n != 0 {
		t.Errorf("%d hostile archives were stored", n)
	}
	f.want(200, "PUT", "/v1/cache/1", artifacttest.Typical(1))
}

func TestA401IsPlainText(t *testing.T) {
	f := newFixture(t)
	f.auth.set(&trust.DeniedError{Err: trust.ErrRevoked, Reason: "the token 0123 was revoked"})
	for _, method := range []string{"GET", "PUT"} {
		resp, body := f.do(method, "/v1/cache/1", nil, "Authorization", "Bearer bzr_x")
		if got := resp.Header["Content-Type"]; len(got) != 1 || got[0] != "text/plain" {
			t.Errorf("%s: Content-Type %q; Nx hides the text of any other", method, got)
		}
		if resp.StatusCode != 401 || string(body) != "the token 0123 was revoked\n" {
			t.Errorf("%s: %d %q", method, resp.StatusCode, body)
		}
	}
}

func TestARevokedCredentialDoesNotFinishItsUpload(t *testing.T) {
	f := newFixture(t)
	f.auth.invalidate(&trust.DeniedError{Err: trust.ErrRevoked, Reason: "revoked"})
	f.want(401, "PUT", "/v1/cache/1", artifacttest.Typical(1))
	if n := f.stored(); n != 0 {
		t.Errorf("%d entries were stored", n)
	}
}

func TestTroubleInTheStoreBreaksNoBuild(t *testing.T) {
	trouble := errors.New("dial tcp 10.0.0.1: connection refused")
	for name, fault := range map[string]func(op string) error{
		"every operation fails": func(string) error { return trouble },
		"only commits fail": func(op string) error {
			if op == "commit" {
				return trouble
			}
			return nil
		},
		"only writes fail": func(op string) error {
			if op == "write" {
				return trouble
			}
			return nil
		},
		"a panic": func(string) error { panic("a bug") },
	} {
		f := newFixture(t)
		f.store.set(fault)
		got := f.want(403, "PUT", "/v1/cache/1", artifacttest.Typical(1))
		if strings.Contains(string(got), "10.0.0.1") {
			t.Errorf("%s: the client is told %q", name, got)
		}
		if resp, _ := f.do("GET", "/v1/cache/1", nil); resp.StatusCode != 404 {
			t.Errorf("%s: GET %d", name, resp.StatusCode)
		}
		f.store.set(nil)
		f.want(200, "PUT", "/v1/cache/1", artifacttest.Typical(1))
	}
}

func TestABrokenReadDoesNotPassForAWholeOne(t *testing.T) {
	f := newFixture(t)
	f.want(200, "PUT", "/v1/cache/1", artifacttest.Random(1<<20, 1))
	f.store.set(func(op string) error {
		if op == "read" {
			return errors.New("input/output error")
		}
		return nil
	})
	req, _ := http.NewRequestWithContext(t.Context(), "GET", f.url+"/v1/cache/1", nil)
	resp, err := f.client.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Fatal("the client took a part for the whole")
	}
	f.waitForLog(1, `"cause":"broken_off"`)
}

func TestAnOpenServerTakesNothingThatAProxyPassesOn(t *testing.T) {
	f := newFixture(t)
	for header, ok := range map[string]bool{
		"X-Forwarded-For: 127.0.0.1": true, "X-Forwarded-For: ::1, 127.0.0.1": true, "X-Real-IP: 127.0.0.1": true, "X-Forwarded-Proto: https": true,
		"X-Forwarded-For: 192.0.2.7": false, "X-Forwarded-For: 127.0.0.1, 192.0.2.7": false, "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 192.0.2.7": false,
		"X-Forwarded-For: unknown": false, "X-Real-IP: 192.0.2.7": false, "Forwarded: for=192.0.2.7": false, "forwarded: for=_hidden": false,
	} {
		f.raw("GET", "GET /v1/cache/1 HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n\r\n")
		if denied := strings.Contains(f.log.String(), `"cause":"foreign_host"`); denied == ok {
			t.Errorf("%s: denied: %v", header, denied)
		}
		f.log.Reset()
	}
}

// TestOtherPathsBreakNoBuildEither: what a client takes for an upload is answered as one, and nothing is redirected.
func TestOtherPathsBreakNoBuildEither(t *testing.T) {
	f := newFixture(t)
	big := artifacttest.Random(1<<20, 1)
	for _, path := range []string{"/v1/cache/a/b", "/v1/cache/1/", "/cache/1", "/v1/cache/../cache/1", "/v1/cache", "/", "//", "/livez", "/metrics"} {
		f.want(403, "PUT", path, big)
		if resp, _ := f.do("GET", path, nil); resp.StatusCode != 404 && resp.StatusCode != 200 {
			t.Errorf("GET %s: %d", path, resp.StatusCode)
		}
	}
	if n := f.stored(); n != 0 {
		t.Errorf("%d entries were stored", n)
	}
}

func TestAnOpenServerAnswersToItsOwnNamesOnly(t *testing.T) {
	f := newFixture(t)
	for host, ok := range map[string]bool{
		"127.0.0.1:8099": true, "localhost": true, "LOCALHOST:1": true, "[::1]:8099": true, "bezoar.localhost": true,
		"evil.example.com": false, "localhost.evil.com": false, "192.168.0.7": false, "evillocalhost": false,
	} {
		f.auth.mustBeOpen(true)
		resp, err := f.raw("GET", "GET /v1/cache/1 HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		denied := strings.Contains(f.log.String(), `"cause":"foreign_host"`)
		if resp.StatusCode != 404 || denied == ok {
			t.Errorf("Host %s: %d, denied: %v", host, resp.StatusCode, denied)
		}
		f.log.Reset()
		f.auth.mustBeOpen(false)
		f.raw("GET", "GET /v1/cache/1 HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		if strings.Contains(f.log.String(), "foreign_host") {
			t.Errorf("Host %s is denied although credentials are asked for", host)
		}
		f.log.Reset()
	}
}

func TestNoCacheInBetweenKeepsAnAnswer(t *testing.T) {
	f := newFixture(t)
	body := artifacttest.Typical(1)
	for _, c := range []struct {
		method, path string
		body         []byte
		status       int
	}{
		{"GET", "/v1/cache/1", nil, 404},
		{"PUT", "/v1/cache/1", body, 200},
		{"GET", "/v1/cache/1", nil, 200},
		{"HEAD", "/v1/cache/1", nil, 200},
		{"PUT", "/v1/cache/1", body, 409},
		{"GET", "/v1/cache/not.a.hash", nil, 404},
		{"DELETE", "/v1/cache/1", nil, 405},
	} {
		resp, _ := f.do(c.method, c.path, c.body)
		if resp.StatusCode != c.status || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: %d, Cache-Control %q", c.method, c.path, resp.StatusCode, resp.Header.Get("Cache-Control"))
		}
	}
}

func TestSeveralCredentialsAreNone(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/cache/1", nil)
	if authorization(r) != "" {
		t.Error("no header is a credential")
	}
	r.Header["Authorization"] = []string{"Bearer one", "Bearer two"}
	if credential, err := trust.ParseAuthorization(authorization(r)); err == nil && (credential == "one" || credential == "two") {
		t.Errorf("of two credentials %q was taken", credential)
	}
}
