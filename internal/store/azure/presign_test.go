package azure

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// TestPresignWithKey: the signature itself is verified by azurite, in the tests end to end.
func TestPresignWithKey(t *testing.T) {
	s := play(t, failing(http.StatusTeapot, ""))
	b := open(t, s, Options{})
	text, err := b.Presign(t.Context(), "a/b c", 90*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if u.Path != "/box/base/a/b c" || u.Query().Get("sp") != "r" || u.Query().Get("sr") != "b" || u.Query().Get("sig") == "" {
		t.Errorf("the URL is %s", text)
	}
	until, err := time.Parse(time.RFC3339, u.Query().Get("se"))
	if left := time.Until(until); err != nil || left > 90*time.Second {
		t.Errorf("it is valid for %v, %v", left, err)
	}
	if len(s.seen()) != 0 {
		t.Error("a key of one's own asks nobody")
	}
	for _, ttl := range []time.Duration{0, -time.Second, maxTTL + time.Second} {
		if _, err := b.Presign(t.Context(), "a/b", ttl); err == nil {
			t.Errorf("a URL for %v was signed", ttl)
		}
	}
}

// TestPresignForIdentity goes through a managed identity, as App Service has it, to a key of the service's that signs many URLs.
func TestPresignForIdentity(t *testing.T) {
	identity := play(t, func(w http.ResponseWriter, r request) {
		if r.Header.Get("X-IDENTITY-HEADER") != "SECRET-header" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":"TOKEN-abc","expires_on":"%d","token_type":"Bearer","resource":"https://storage.azure.com/"}`, time.Now().Add(time.Hour).Unix())
	})
	status := http.StatusOK
	s := playTLS(t, func(w http.ResponseWriter, r request) {
		if status != http.StatusOK {
			failing(status, "AuthorizationPermissionMismatch")(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/xml")
		_, _ = fmt.Fprint(w, `<UserDelegationKey><SignedOid>o</SignedOid><SignedTid>t</SignedTid><SignedStart>2026-11-01T10:00:00Z</SignedStart>`+
			`<SignedExpiry>2026-11-02T10:00:00Z</SignedExpiry><SignedService>b</SignedService><SignedVersion>2025-01-05</SignedVersion><Value>a2V5</Value></UserDelegationKey>`)
	})
	environment(t, "AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential", "IDENTITY_ENDPOINT", identity.URL, "IDENTITY_HEADER", "SECRET-header")
	b := openAs(t, s, Options{RootCAs: s.roots()})

	status = http.StatusForbidden
	if _, err := b.Presign(t.Context(), "a/b", time.Minute); !errors.Is(err, bucket.ErrRefused) || !strings.Contains(err.Error(), "Storage Blob Data Contributor") {
		t.Errorf("got %v", err)
	}
	if err := b.Delete(t.Context(), "a/b", ""); !errors.Is(err, bucket.ErrRefused) {
		t.Errorf("got %v", err)
	}
	status = http.StatusOK
	before := len(s.seen())
	for range 3 {
		text, err := b.Presign(t.Context(), "a/b", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(text)
		if q := u.Query(); q.Get("skoid") != "o" || q.Get("sig") == "" || q.Get("spr") != "https" {
			t.Errorf("the URL is %s", text)
		}
	}
	if n := len(s.seen()) - before; n != 1 {
		t.Errorf("%d keys were asked for, want 1", n)
	}
	for _, r := range s.seen() {
		if r.Header.Get("Authorization") != "Bearer TOKEN-abc" && r.Header.Get("Authorization") != "" { // the first request asks who gives tokens
			t.Errorf("it came with %q", r.Header.Get("Authorization"))
		}
	}
}

// TestIdentityTrouble: who refuses a token refuses, and what was sent is not told.
func TestIdentityTrouble(t *testing.T) {
	for _, c := range []struct {
		status int
		want   error
	}{{http.StatusBadRequest, bucket.ErrRefused}, {http.StatusInternalServerError, errTrouble}} {
		identity := play(t, func(w http.ResponseWriter, r request) {
			w.WriteHeader(c.status)
			_, _ = fmt.Fprintf(w, `{"error":"no","error_description":"you sent %s"}`, r.Header.Get("X-IDENTITY-HEADER"))
		})
		s := playTLS(t, serveBlob)
		environment(t, "AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential", "IDENTITY_ENDPOINT", identity.URL, "IDENTITY_HEADER", "SECRET-header",
			"AZURE_CLIENT_ID", fmt.Sprint("identity-", c.status)) // tokens are kept for the whole process, by identity
		b := openAs(t, s, Options{RootCAs: s.roots()})
		_, err := b.Head(t.Context(), "a/b")
		if !is(err, c.want) {
			t.Errorf("%d: got %v, want %v", c.status, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%d: it tells too much: %v", c.status, err)
		}
	}
}

// TestCannotPresign says why.
func TestCannotPresign(t *testing.T) {
	s := play(t, failing(http.StatusTeapot, ""))
	keyed := open(t, s, Options{CustomerKey: make([]byte, 32)})
	environment(t, sasVariable, "sv=1&sig="+testSignature)
	signed := openAs(t, s, Options{})
	for says, b := range map[string]*Bucket{"customer's encryption key": keyed, "a SAS cannot": signed} {
		if _, err := b.Presign(t.Context(), "a/b", time.Minute); !errors.Is(err, bucket.ErrRefused) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want one that says %q", err, says)
		}
	}
}
