package gcs

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log" //nolint:depguard // for net/http alone
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service plays Google Cloud Storage: it notes what is asked and answers as a test says.
type service struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
}

type request struct {
	*http.Request
	body []byte
}

func play(t *testing.T, answer func(w http.ResponseWriter, r request)) *service {
	t.Helper()
	s := new(service)
	s.prepare(t, answer).Start()
	return s
}

func playTLS(t *testing.T, answer func(w http.ResponseWriter, r request)) *service {
	t.Helper()
	s := new(service)
	s.prepare(t, answer).StartTLS()
	return s
}

func (s *service) prepare(t *testing.T, answer func(w http.ResponseWriter, r request)) *httptest.Server {
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		noted := request{r, body}
		s.mu.Lock()
		s.requests = append(s.requests, noted)
		s.mu.Unlock()
		answer(w, noted)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	return s.Server
}

// seen lists the requests so far.
func (s *service) seen() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *service) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

// open opens a bucket at the service, below "base".
func open(t *testing.T, s *service, options Options) *Bucket {
	t.Helper()
	options.Bucket, options.Prefix, options.Endpoint = "box", "base", s.URL
	b, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	b.delay = time.Millisecond
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// failing answers everything with one status and body.
func failing(status int, body string) func(http.ResponseWriter, request) {
	return func(w http.ResponseWriter, _ request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func content(text, meta string) bucket.Content {
	return bucket.Content{Body: strings.NewReader(text), Size: int64(len(text)), Meta: meta}
}

// operations are all that a bucket does, on an object called "a/b".
var operations = []struct {
	name string
	do   func(ctx context.Context, b *Bucket) error
}{
	{"head", func(ctx context.Context, b *Bucket) error { _, err := b.Head(ctx, "a/b"); return err }},
	{"get", func(ctx context.Context, b *Bucket) error {
		_, body, err := b.Get(ctx, "a/b", 0, "")
		if err == nil {
			defer body.Close()
			_, err = io.ReadAll(body)
		}
		return err
	}},
	{"put", func(ctx context.Context, b *Bucket) error {
		return b.Put(ctx, "a/b", content("body", "m"), bucket.IfAbsent)
	}},
	{"put large", func(ctx context.Context, b *Bucket) error {
		large := content("body", "m")
		large.InParts = true
		return b.Put(ctx, "a/b", large, bucket.IfAbsent)
	}},
	{"delete", func(ctx context.Context, b *Bucket) error { return b.Delete(ctx, "a/b", "") }},
	{"list", func(ctx context.Context, b *Bucket) error {
		for _, err := range b.List(ctx, "a/") {
			if err != nil {
				return err
			}
		}
		return nil
	}},
}

// keyOf writes the key file of a service account whose tokens come from tokenURL, and has it used.
func keyOf(t *testing.T, tokenURL string) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	useFile(t, map[string]any{
		"type": "service_account", "client_email": "cache@project.iam.gserviceaccount.com", "private_key_id": "1", "token_uri": tokenURL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	return key
}

// useFile has a file of credentials used.
func useFile(t *testing.T, values map[string]any) {
	t.Helper()
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
}

// giveToken answers as a token server does.
func giveToken(w http.ResponseWriter, token string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
}
