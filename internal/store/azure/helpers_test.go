package azure

import (
	"context"
	"crypto/x509"
	"io"
	"log" //nolint:depguard // for net/http alone
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testKey is a shared key, testSignature the signature of a SAS.
const (
	testKey       = "U0VDUkVULWtleS1vZi10aGUtYWNjb3VudA=="
	testSignature = "U0VDUkVULXNpZ25hdHVyZQ=="
)

// fake plays Azure: it notes what is asked and answers as a test says.
type fake struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
}

type request struct {
	*http.Request
	body []byte
}

func play(t *testing.T, answer func(w http.ResponseWriter, r request)) *fake {
	t.Helper()
	s := new(fake)
	s.prepare(t, answer).Start()
	return s
}

func playTLS(t *testing.T, answer func(w http.ResponseWriter, r request)) *fake {
	t.Helper()
	s := new(fake)
	s.prepare(t, answer).StartTLS()
	return s
}

func (s *fake) prepare(t *testing.T, answer func(w http.ResponseWriter, r request)) *httptest.Server {
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
func (s *fake) seen() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *fake) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

// environment clears what credentials may come from, then sets what the test says: names and values.
func environment(t *testing.T, pairs ...string) {
	t.Helper()
	for _, name := range []string{connectionVariable, accountVariable, keyVariable, sasVariable, "AZURE_TOKEN_CREDENTIALS", "AZURE_CLIENT_ID"} {
		t.Setenv(name, "")
		_ = os.Unsetenv(name) // to some, empty is not the same; t.Setenv brings back what was there
	}
	for i := 0; i < len(pairs); i += 2 {
		t.Setenv(pairs[i], pairs[i+1])
	}
}

// open opens a container at the service, below "base", with the account's key.
func open(t *testing.T, s *fake, options Options) *Bucket {
	t.Helper()
	environment(t, keyVariable, testKey)
	return openAs(t, s, options)
}

func openAs(t *testing.T, s *fake, options Options) *Bucket {
	t.Helper()
	options.Container, options.Prefix, options.Account, options.Endpoint = "box", "base", "acme", s.URL
	options.retryDelay = time.Millisecond
	b, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// failing answers everything with one status and code.
func failing(status int, code string) func(http.ResponseWriter, request) {
	return func(w http.ResponseWriter, _ request) {
		if code != "" {
			w.Header().Set("X-Ms-Error-Code", code)
		}
		w.WriteHeader(status)
	}
}

func content(text, meta string) bucket.Content {
	return bucket.Content{Body: strings.NewReader(text), Size: int64(len(text)), Meta: meta}
}

// operations are all that a bucket does, on a blob called "a/b".
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
