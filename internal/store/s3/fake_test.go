package s3

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testKeyID  = "AKIATESTTESTTEST"
	testSecret = "very-secret-secret-key"
	testToken  = "very-secret-session-token"
)

// setCredentials is all that the SDK finds.
func setCredentials(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": testKeyID, "AWS_SECRET_ACCESS_KEY": testSecret, "AWS_SESSION_TOKEN": testToken, "AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CA_BUNDLE": "",
		"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_ROLE_ARN": "",
	} {
		t.Setenv(name, value)
	}
}

// service answers requests by a script and keeps what it was asked.
type service struct {
	*httptest.Server

	mu    sync.Mutex
	seen  []*http.Request
	bytes map[string]int64 // received, by request
}

// op names a request: "PUT", "PUT part", "POST begin", "POST complete", "DELETE upload", "GET", "GET list", "HEAD", "DELETE".
func op(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Has("list-type"):
		return "GET list"
	case q.Has("partNumber"):
		return "PUT part"
	case q.Has("uploads"):
		return "POST begin"
	case q.Has("uploadId") && r.Method == http.MethodPost:
		return "POST complete"
	case q.Has("uploadId"):
		return r.Method + " upload"
	}
	return r.Method
}

// ops lists the requests so far.
func (s *service) ops() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ops []string
	for _, r := range s.seen {
		ops = append(ops, op(r))
	}
	return strings.Join(ops, ", ")
}

// all returns the requests of one kind.
func (s *service) all(want string) []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*http.Request
	for _, r := range s.seen {
		if op(r) == want {
			list = append(list, r)
		}
	}
	return list
}

// step answers a request; n counts those of its kind, from 0.
type step func(w http.ResponseWriter, r *http.Request, n int)

// serve answers by op. What is not in the script is done as a service does it that keeps nothing: writes succeed, nothing is there.
func serve(t *testing.T, secure bool, script map[string]step) *service {
	t.Helper()
	s := &service{bytes: make(map[string]int64)}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := op(r)
		n := len(s.all(name))
		s.mu.Lock()
		s.seen = append(s.seen, r)
		s.mu.Unlock()
		if do := script[name]; do != nil {
			do(w, r, n)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		fallback(w, r)
	})
	s.Server = httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func fallback(w http.ResponseWriter, r *http.Request) {
	switch op(r) {
	case "PUT", "PUT part":
		w.Header().Set("ETag", `"etag"`)
	case "POST begin":
		fmt.Fprint(w, `<InitiateMultipartUploadResult><UploadId>upload</UploadId></InitiateMultipartUploadResult>`)
	case "POST complete":
		fmt.Fprint(w, `<CompleteMultipartUploadResult><ETag>"etag"</ETag></CompleteMultipartUploadResult>`)
	case "DELETE", "DELETE upload":
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

// fail answers with an error as S3 does.
func fail(status int, code, message string) step {
	return func(w http.ResponseWriter, r *http.Request, _ int) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.Header().Set("X-Amz-Request-Id", "REQUEST")
		w.WriteHeader(status)
		if r.Method != http.MethodHead && code != "" {
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
		}
	}
}

// broken takes a request and breaks the line.
func broken(w http.ResponseWriter, r *http.Request, _ int) {
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
}

// there answers for an object of 5 bytes.
func there(w http.ResponseWriter, _ *http.Request, _ int) {
	w.Header().Set("ETag", `"now"`)
	w.Header().Set("Content-Length", "5")
	w.Header().Set("X-Amz-Meta-Bezoar", "note")
}

// each answers by turns: nil is the fallback. The last one goes on.
func each(steps ...step) step {
	return func(w http.ResponseWriter, r *http.Request, n int) {
		if do := steps[min(n, len(steps)-1)]; do != nil {
			do(w, r, n)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		fallback(w, r)
	}
}

// openAt opens the bucket "bucket" on a service, below "team". Nobody waits between tries.
func openAt(t *testing.T, s *service, options Options) *Bucket {
	t.Helper()
	setCredentials(t)
	options.Bucket, options.Prefix, options.Endpoint, options.PathStyle, options.maxBackoff = "bucket", "team", s.URL, true, time.Millisecond
	if strings.HasPrefix(s.URL, "https") && options.RootCAs == nil {
		t.Setenv("AWS_CA_BUNDLE", writeCA(t, s))
	}
	b, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	b.pause = func(context.Context, int) error { return nil }
	t.Cleanup(func() { b.Close() })
	return b
}

func writeCA(t *testing.T, s *service) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func content(n int) bucket.Content {
	return bucket.Content{Body: bytes.NewReader(make([]byte, n)), Size: int64(n), Meta: "note"}
}
