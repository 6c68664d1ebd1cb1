package gcs

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// TestPresign checks the signature as https://cloud.google.com/storage/docs/authentication/signatures says.
func TestPresign(t *testing.T) {
	s := playTLS(t, failing(http.StatusTeapot, ""))
	key := keyOf(t, s.URL+"/token")
	b := open(t, s, Options{RootCAs: s.roots()})
	text, err := b.Presign(t.Context(), "a/b c~é", 90*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	address, query, _ := strings.Cut(text, "?")
	if want := s.URL + "/box/base/a/b%20c~%C3%A9"; address != want {
		t.Errorf("the URL is of %s, want %s", address, want)
	}
	signed, signature, _ := strings.Cut(query, "&X-Goog-Signature=")
	values, _ := url.ParseQuery(signed)
	if got := values.Get("X-Goog-Expires"); got != "90" {
		t.Errorf("it expires after %s s", got)
	}
	account, scope, _ := strings.Cut(values.Get("X-Goog-Credential"), "/")
	if account != "cache@project.iam.gserviceaccount.com" || !strings.HasSuffix(scope, "/auto/storage/goog4_request") {
		t.Errorf("the credential is %s", values.Get("X-Goog-Credential"))
	}
	canonical := sha256.Sum256([]byte("GET\n/box/base/a/b%20c~%C3%A9\n" + signed + "\nhost:" + strings.TrimPrefix(s.URL, "https://") + "\n\nhost\nUNSIGNED-PAYLOAD"))
	digest := sha256.Sum256([]byte("GOOG4-RSA-SHA256\n" + values.Get("X-Goog-Date") + "\n" + scope + "\n" + hex.EncodeToString(canonical[:])))
	raw, _ := hex.DecodeString(signature)
	if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], raw); err != nil {
		t.Error(err)
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

// TestIAMSigns for an account whose key is with Google.
func TestIAMSigns(t *testing.T) {
	status := http.StatusOK
	s := playTLS(t, func(w http.ResponseWriter, _ request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"signedBlob": []byte("signature")})
	})
	b := open(t, play(t, nil), Options{})
	b.creds = &credentials{
		client: s.Client(), iam: s.URL, source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "TOKEN-abc"}),
		file: keyFile{Type: "external_account", ImpersonationURL: "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/cache@p.iam:generateAccessToken"},
	}
	text, err := b.Presign(t.Context(), "a/b", time.Minute)
	if err != nil || !strings.HasSuffix(text, "&X-Goog-Signature="+hex.EncodeToString([]byte("signature"))) {
		t.Errorf("%q, %v", text, err)
	}
	asked := s.seen()[0]
	var body struct{ Payload string }
	_ = json.Unmarshal(asked.body, &body)
	payload, _ := base64.StdEncoding.DecodeString(body.Payload)
	if asked.URL.Path != "/v1/projects/-/serviceAccounts/cache@p.iam:signBlob" || !strings.HasPrefix(string(payload), "GOOG4-RSA-SHA256\n") {
		t.Errorf("%s was asked to sign %q", asked.URL.Path, payload)
	}
	status = http.StatusForbidden
	if _, err = b.Presign(t.Context(), "a/b", time.Minute); !errors.Is(err, bucket.ErrRefused) || !strings.Contains(err.Error(), "roles/iam.serviceAccountTokenCreator") {
		t.Errorf("got %v", err)
	}
}

// TestCannotPresign says why.
func TestCannotPresign(t *testing.T) {
	plain := open(t, play(t, nil), Options{})
	keyed := open(t, play(t, nil), Options{CustomerKey: make([]byte, 32)})
	keyed.creds = &credentials{client: http.DefaultClient}
	person := open(t, play(t, nil), Options{})
	person.creds = &credentials{client: http.DefaultClient, file: keyFile{Type: "authorized_user"}}
	for says, b := range map[string]*Bucket{"without credentials": plain, "customer's encryption key": keyed, "authorized_user": person} {
		if _, err := b.Presign(t.Context(), "a/b", time.Minute); !errors.Is(err, bucket.ErrRefused) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want one that says %q", err, says)
		}
	}
}

// TestMetadataServer: where there is one, it gives tokens and says which account signs.
func TestMetadataServer(t *testing.T) {
	machine := play(t, func(w http.ResponseWriter, r request) {
		w.Header().Set("Metadata-Flavor", "Google")
		switch r.URL.Path {
		case "/computeMetadata/v1/instance/service-accounts/default/token":
			giveToken(w, "TOKEN-abc")
		case "/computeMetadata/v1/instance/service-accounts/default/email":
			_, _ = w.Write([]byte("machine@p.iam"))
		case "/computeMetadata/v1/project/project-id":
			_, _ = w.Write([]byte("p"))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	s := playTLS(t, func(w http.ResponseWriter, r request) {
		if strings.HasSuffix(r.URL.Path, ":signBlob") {
			_ = json.NewEncoder(w).Encode(map[string]any{"signedBlob": []byte("signature")})
			return
		}
		serveObject(w, r)
	})
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("APPDATA", t.TempDir())
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(machine.URL, "http://"))
	b := open(t, s, Options{RootCAs: s.roots()})
	if _, err := b.Head(t.Context(), "a/b"); err != nil {
		t.Error(err)
	}
	b.creds.iam = s.URL
	if text, err := b.Presign(t.Context(), "a/b", time.Minute); err != nil || !strings.Contains(text, "X-Goog-Credential=machine%40p.iam%2F") {
		t.Errorf("%q, %v", text, err)
	}
	for _, r := range s.seen() {
		if r.Header.Get("Authorization") != "Bearer TOKEN-abc" {
			t.Errorf("%s came with %q", r.URL.Path, r.Header.Get("Authorization"))
		}
	}
}
