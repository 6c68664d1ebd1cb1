package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// do calls one method of b by name.
func do(ctx context.Context, b *Bucket, method string) error {
	switch method {
	case "head":
		_, err := b.Head(ctx, "name")
		return err
	case "get":
		_, body, err := b.Get(ctx, "name", 0, `"old"`)
		if err == nil {
			body.Close()
		}
		return err
	case "put":
		return b.Put(ctx, "name", content(5), bucket.IfAbsent)
	case "replace":
		return b.Put(ctx, "name", content(5), bucket.Replace)
	case "parts":
		in := content(5)
		in.InParts = true
		return b.Put(ctx, "name", in, bucket.IfAbsent)
	case "delete":
		return b.Delete(ctx, "name", "")
	case "delete version":
		return b.Delete(ctx, "name", `"now"`)
	case "list":
		for _, err := range b.List(ctx, "v1/") {
			return err
		}
		return nil
	}
	panic(method)
}

// TestAnswers holds each error of the service to what is made of it.
func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		method string
		op     string
		status int
		code   string
		want   error // nil: success, unless says is given
		says   string
	}{
		{"head", "HEAD", 404, "", bucket.ErrNotExist, ""},
		{"head", "HEAD", 412, "", bucket.ErrChanged, ""},
		{"head", "HEAD", 403, "", bucket.ErrRefused, "need the permission s3:GetObject on arn:aws:s3:::bucket/team/*; or there is no such object, which S3 tells only those who have s3:ListBucket on arn:aws:s3:::bucket"},
		{"head", "HEAD", 400, "", bucket.ErrRefused, "no reason given"},
		{"head", "HEAD", 301, "", bucket.ErrRefused, "another region"},
		{"get", "GET", 404, "NoSuchKey", bucket.ErrNotExist, ""},
		{"get", "GET", 404, "NoSuchBucket", bucket.ErrRefused, "there is no bucket bucket"},
		{"get", "GET", 412, "PreconditionFailed", bucket.ErrChanged, ""},
		{"get", "GET", 403, "AccessDenied", bucket.ErrRefused, "s3:GetObject"},
		{"get", "GET", 403, "InvalidAccessKeyId", bucket.ErrRefused, "AWS_ACCESS_KEY_ID"},
		{"get", "GET", 403, "SignatureDoesNotMatch", bucket.ErrRefused, "AWS_SECRET_ACCESS_KEY"},
		{"get", "GET", 400, "ExpiredToken", bucket.ErrRefused, "expired"},
		{"get", "GET", 403, "InvalidObjectState", bucket.ErrRefused, "archived"},
		{"get", "GET", 301, "PermanentRedirect", bucket.ErrRefused, "?region="},
		{"get", "GET", 400, "AuthorizationHeaderMalformed", bucket.ErrRefused, "?region="},
		{"put", "PUT", 412, "PreconditionFailed", bucket.ErrExist, ""},
		{"put", "PUT", 412, "", bucket.ErrExist, ""},
		{"put", "PUT", 403, "AccessDenied", bucket.ErrRefused, "s3:PutObject on arn:aws:s3:::bucket/team/*"},
		{"put", "PUT", 501, "NotImplemented", bucket.ErrRefused, "?checksums=off"},
		{"put", "PUT", 400, "InvalidRequest", bucket.ErrRefused, "?checksums=off"},
		{"put", "PUT", 400, "KMS.DisabledException", bucket.ErrRefused, "the key in KMS"},
		{"put", "PUT", 400, "BadRequest", nil, "S3 answers 400 BadRequest: it says so (request REQUEST): "},
		{"put", "PUT", 404, "NoSuchBucket", bucket.ErrRefused, "there is no bucket"},
		{"put", "PUT", 500, "InternalError", nil, "S3 answers 500 InternalError: it says so (request REQUEST)"},
		{"put", "PUT", 507, "Full", nil, "S3 answers 507"},
		{"replace", "PUT", 403, "AccessDenied", bucket.ErrRefused, "s3:PutObject"},
		{"parts", "POST begin", 403, "AccessDenied", bucket.ErrRefused, "s3:PutObject"},
		{"parts", "PUT part", 404, "NoSuchUpload", nil, "NoSuchUpload"},
		{"parts", "POST complete", 412, "PreconditionFailed", bucket.ErrExist, ""},
		{"parts", "POST complete", 200, "PreconditionFailed", bucket.ErrExist, ""},
		{"parts", "POST complete", 200, "InternalError", nil, "InternalError"},
		{"delete", "DELETE", 404, "NoSuchKey", nil, ""},
		{"delete", "DELETE", 403, "AccessDenied", bucket.ErrRefused, "s3:DeleteObject"},
		{"list", "GET list", 403, "AccessDenied", bucket.ErrRefused, "s3:ListBucket on arn:aws:s3:::bucket: "},
		{"list", "GET list", 404, "NoSuchBucket", bucket.ErrRefused, "there is no bucket"},
	} {
		t.Run(strings.Join([]string{test.method, test.op, http.StatusText(test.status), test.code}, " "), func(t *testing.T) {
			s := serve(t, false, map[string]step{test.op: fail(test.status, test.code, "it says so")})
			b := openAt(t, s, Options{})
			err := do(t.Context(), b, test.method)
			for _, sentinel := range []error{bucket.ErrNotExist, bucket.ErrExist, bucket.ErrChanged, bucket.ErrRefused} {
				if got := errors.Is(err, sentinel); got != (sentinel == test.want) { //nolint:errorlint // the very sentinel
					t.Errorf("is %q: %v; error: %v", sentinel, got, err)
				}
			}
			if (err == nil) != (test.want == nil && test.says == "") {
				t.Errorf("got %v", err)
			}
			if err != nil && !strings.Contains(err.Error()+": ", test.says) {
				t.Errorf("got %q, which does not say %q", err, test.says)
			}
		})
	}
}

// TestPermissionsForKMS names the permissions on the key too.
func TestPermissionsForKMS(t *testing.T) {
	s := serve(t, false, map[string]step{"PUT": fail(403, "AccessDenied", "no")})
	b := openAt(t, s, Options{SSE: SSEKMS, KMSKey: "arn:aws:kms:eu-central-1:1:key/k"})
	if err := do(t.Context(), b, "put"); err == nil || !strings.Contains(err.Error(), "kms:GenerateDataKey and kms:Decrypt") {
		t.Errorf("got %v", err)
	}
}

// TestSecretsStaySecret has a service send back what it was sent.
func TestSecretsStaySecret(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request, _ int) {
		message := testSecret
		for name, values := range r.Header {
			message += " " + name + "=" + strings.Join(values, ",")
		}
		message = r.Header.Get("X-Amz-Security-Token") + " " + r.Header.Get("X-Amz-Server-Side-Encryption-Customer-Key") + "\n\x1b[31m" + message
		message = strings.NewReplacer("&", "&amp;", "<", "&lt;", "\x1b", "?").Replace(message)
		fail(400, "Weird", message)(w, r, 0)
	}
	s := serve(t, true, map[string]step{"GET": echo, "PUT": echo, "GET list": echo, "DELETE": echo, "POST begin": echo})
	b := openAt(t, s, Options{CustomerKey: []byte(strings.Repeat("k", 32))})
	for _, method := range []string{"get", "put", "replace", "parts", "delete", "list"} {
		err := do(t.Context(), b, method)
		if err == nil {
			t.Fatalf("%s: no error", method)
		}
		for _, secret := range []string{testSecret, testToken, strings.Repeat("k", 32), *b.customer.key} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error holds %q: %v", method, secret, err)
			}
		}
		if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 1500 {
			t.Errorf("%s: the error is not one short line: %q", method, err)
		}
	}
}

// TestUnreachable says what is wrong with the line.
func TestUnreachable(t *testing.T) {
	s := serve(t, false, nil)
	b := openAt(t, s, Options{})
	s.Close()
	err := do(t.Context(), b, "put")
	if err == nil || !strings.Contains(err.Error(), "connection refused") || errors.Is(err, bucket.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

// TestBodyBreaksOff has the line break in the middle of a body.
func TestBodyBreaksOff(t *testing.T) {
	s := serve(t, false, map[string]step{"GET": func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "only this")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}})
	b := openAt(t, s, Options{})
	_, body, err := b.Get(t.Context(), "name", 0, "")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if text, err := io.ReadAll(body); err == nil || string(text) != "only this" {
		t.Errorf("read %q, %v", text, err)
	}
}
