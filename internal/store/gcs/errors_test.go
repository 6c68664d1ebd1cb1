package gcs

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

const (
	noObject     = `{"error":{"code":404,"message":"No such object: box/base/a/b","errors":[{"reason":"notFound"}]}}`
	noBucket     = `{"error":{"code":404,"message":"The specified bucket does not exist.","errors":[{"reason":"notFound"}]}}`
	noBucketX    = `<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist.</Message></Error>`
	noKeyX       = `<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>`
	condition412 = `{"error":{"code":412,"message":"At least one of the pre-conditions you specified did not hold.","errors":[{"reason":"conditionNotMet"}]}}`
)

// errTrouble stands for an error that is none of the sentinels.
var errTrouble = errors.New("trouble")

// TestErrors says what becomes of the service's answers.
func TestErrors(t *testing.T) {
	const all = "head,get,put,put large,delete,list"
	for _, c := range []struct {
		what   string
		status int
		body   string
		ops    string
		want   error
		says   string
	}{
		{"no object", 404, noObject, "head", bucket.ErrNotExist, ""},
		{"no object", 404, noKeyX, "get", bucket.ErrNotExist, ""},
		{"no object", 404, "", "head,get", bucket.ErrNotExist, ""},
		{"no object", 404, noObject, "delete", nil, ""},
		{"no bucket", 404, noBucket, "head,put,put large,delete,list", bucket.ErrRefused, "make the bucket"},
		{"no bucket", 404, noBucketX, "get", bucket.ErrRefused, "make the bucket"},
		{"no bucket, in other words", 404, "", "put,put large,list", bucket.ErrRefused, "make the bucket"},
		{"there is one", 412, condition412, "put,put large", bucket.ErrExist, ""},
		{"another one", 412, condition412, "delete", nil, ""},
		{"who are you", 401, `{"error":{"message":"Invalid Credentials"}}`, all, bucket.ErrRefused, "GOOGLE_APPLICATION_CREDENTIALS"},
		{"no permission", 403, `{"error":{"message":"cache@x lacks storage.objects.get","errors":[{"reason":"forbidden"}]}}`, all, bucket.ErrRefused, "roles/storage.objectUser"},
		{"no permission, in XML", 403, `<Error><Code>AccessDenied</Code><Message>Access denied.</Message><Details>cache@x lacks storage.objects.get</Details></Error>`, "get", bucket.ErrRefused, "cache@x lacks storage.objects.get"},
		{"over quota", 403, `{"error":{"message":"slow down","errors":[{"reason":"rateLimitExceeded"}]}}`, "head,list", errTrouble, "slow down"},
		{"bad key", 400, `{"error":{"message":"bad key","errors":[{"reason":"customerEncryptionKeyIsIncorrect"}]}}`, all, bucket.ErrRefused, "encryption key"},
		{"a gate", 302, "", all, bucket.ErrRefused, "endpoint"},
		{"conflict", 409, "", "put,put large", errTrouble, "409"},
		{"down", 503, "", "delete", errTrouble, "503"},
		{"a page of a proxy", 418, "<html>tea", all, errTrouble, "418"},
		{"no sense", 200, "what?", "head,list,put", errTrouble, "understand"},
		{"no sense", 200, "{}", "head,put", errTrouble, "lacks"},
		{"a part", 200, `{"generation":"7","size":"3"}`, "put", errTrouble, "3 bytes, but 4"},
		{"no headers", 200, "body", "get", errTrouble, "lacks"},
		{"no session", 200, "{}", "put large", errTrouble, "session"},
	} {
		s := play(t, failing(c.status, c.body))
		b := open(t, s, Options{})
		for _, op := range operations {
			if !strings.Contains(","+c.ops+",", ","+op.name+",") {
				continue
			}
			err := op.do(t.Context(), b)
			if !is(err, c.want) {
				t.Errorf("%s (%d) to %s: got %v, want %v", c.what, c.status, op.name, err, c.want)
				continue
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s (%d) to %s: %q does not say %q", c.what, c.status, op.name, err, c.says)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%s to %s: more than a line: %q", c.what, op.name, err)
			}
		}
	}
}

func is(err, want error) bool {
	if want == nil || errors.Is(want, errTrouble) {
		known := errors.Is(err, bucket.ErrExist) || errors.Is(err, bucket.ErrNotExist) || errors.Is(err, bucket.ErrChanged) || errors.Is(err, bucket.ErrRefused)
		return (err == nil) == (want == nil) && !known
	}
	return errors.Is(err, want)
}

// TestTriesAgain: what the service asks to repeat is repeated, a few times.
func TestTriesAgain(t *testing.T) {
	for _, op := range operations {
		s := play(t, failing(http.StatusServiceUnavailable, ""))
		b := open(t, s, Options{})
		if err := op.do(t.Context(), b); !is(err, errTrouble) {
			t.Errorf("%s: got %v, want trouble", op.name, err)
		}
		if n := len(s.seen()); n != attempts {
			t.Errorf("%s: %d requests, want %d", op.name, n, attempts)
		}
	}
}

// TestOwnWriteIsNoOther: an object that a first attempt may have made is not taken for another's.
func TestOwnWriteIsNoOther(t *testing.T) {
	first := true
	s := play(t, func(w http.ResponseWriter, _ request) {
		if first {
			first = false
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusPreconditionFailed)
	})
	if err := open(t, s, Options{}).Put(t.Context(), "a/b", content("body", ""), bucket.IfAbsent); !is(err, errTrouble) {
		t.Errorf("got %v, want an error that leaves it open", err)
	}
}

// TestBrokenPutIsNotRepeated: the caller looks at what became of it.
func TestBrokenPutIsNotRepeated(t *testing.T) {
	s := play(t, func(http.ResponseWriter, request) { panic(http.ErrAbortHandler) })
	b := open(t, s, Options{})
	if err := b.Put(t.Context(), "a/b", content("body", ""), bucket.IfAbsent); !is(err, errTrouble) {
		t.Errorf("got %v, want trouble", err)
	}
	if n := len(s.seen()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	if _, err := b.Head(t.Context(), "a/b"); !is(err, errTrouble) {
		t.Errorf("got %v, want trouble", err)
	}
	if n := len(s.seen()); n != 1+attempts {
		t.Errorf("%d requests, want %d", n, 1+attempts)
	}
}

// TestEndsWithItsContext: calls and bodies do.
func TestEndsWithItsContext(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			asked := make(chan struct{}, 100)
			s := play(t, func(w http.ResponseWriter, r request) {
				if op.name == "get" {
					w.Header().Set("X-Goog-Generation", "1")
					w.Header().Set("Content-Length", "10")
					_, _ = io.WriteString(w, "half")
					w.(http.Flusher).Flush()
				}
				asked <- struct{}{}
				<-r.Context().Done()
			})
			b := open(t, s, Options{})
			done := make(chan error, 1)
			go func() { done <- op.do(ctx, b) }()
			<-asked
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %v", err, context.Canceled)
			}
		})
	}
}

// TestSecretsStaySecret: a service that says back all it was told, and one that is gone.
func TestSecretsStaySecret(t *testing.T) {
	s := playTLS(t, func(w http.ResponseWriter, r request) {
		if r.URL.Path == "/token" {
			giveToken(w, "TOKEN-abc")
			return
		}
		if r.Method == http.MethodPost && r.URL.Query().Get("uploadType") == "resumable" {
			w.Header().Set("Location", "https://elsewhere.example.com/upload/x?upload_id=SESSION-abc")
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"error":{"message":"no: `+r.Header.Get("Authorization")+" "+r.Header.Get("X-Goog-Encryption-Key")+" "+r.URL.RawQuery+`"}}`)
	})
	keyOf(t, s.URL+"/token")
	b := open(t, s, Options{RootCAs: s.roots(), CustomerKey: []byte("KEY-abcdefghijklmnopqrstuvwxyz-1")})
	check := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: no error", what)
			return
		}
		for _, secret := range []string{"TOKEN-abc", "SESSION-abc", "KEY-abc", "S0VZLWFi", "PRIVATE KEY"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s tells %q: %v", what, secret, err)
			}
		}
	}
	for _, op := range operations {
		check(op.name, op.do(t.Context(), b))
	}
	for _, r := range s.seen() {
		if r.URL.Path != "/token" && r.Header.Get("Authorization") != "Bearer TOKEN-abc" {
			t.Errorf("%s %s came with %q", r.Method, r.URL.Path, r.Header.Get("Authorization"))
		}
	}
	session := &session{bucket: b, content: content("body", ""), url: b.endpoint + "/upload?upload_id=SESSION-abc"}
	_, err := session.send(t.Context())
	check("session", err)
	s.Close()
	for _, op := range operations {
		check(op.name+" without a service", op.do(t.Context(), b))
	}
	_, err = session.send(t.Context())
	check("session without a service", err)
}
