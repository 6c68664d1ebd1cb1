package s3

import (
	"bytes"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// TestOpen tells what is wrong with settings, without asking the service.
func TestOpen(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		env     map[string]string
		says    string // empty: it opens
		url     string
	}{
		"Amazon":             {Options{Bucket: "b", Region: "eu-central-1"}, nil, "", "s3://b"},
		"prefix":             {Options{Bucket: "b", Region: "eu-central-1", Prefix: "/a/b/"}, nil, "", "s3://b/a/b"},
		"region by variable": {Options{Bucket: "b"}, map[string]string{"AWS_REGION": "eu-central-1"}, "", "s3://b"},
		"no region":          {Options{Bucket: "b"}, nil, "AWS_REGION", ""},
		"endpoint":           {Options{Bucket: "b", Endpoint: "http://minio:9000/"}, nil, "", "s3://b"},
		"endpoint, variable": {Options{Bucket: "b"}, map[string]string{"AWS_ENDPOINT_URL_S3": "https://minio:9000"}, "", "s3://b"},
		"user in endpoint":   {Options{Bucket: "b", Endpoint: "https://me:hidden@minio"}, nil, "credentials belong into", ""},
		"no endpoint":        {Options{Bucket: "b", Endpoint: "minio:9000"}, nil, "https://HOST", ""},
		"odd endpoint":       {Options{Bucket: "b", Endpoint: "https://%zz:hidden@"}, nil, "no URL", ""},
		"query in endpoint":  {Options{Bucket: "b", Endpoint: "https://minio?x=hidden"}, nil, "https://HOST", ""},
		"no bucket":          {Options{}, nil, "no name of a bucket", ""},
		"bad bucket":         {Options{Bucket: "a/b"}, nil, "no name of a bucket", ""},
		"bad prefix":         {Options{Bucket: "b", Prefix: "a//b"}, nil, "empty part", ""},
		"bad encryption":     {Options{Bucket: "b", SSE: "rot13"}, nil, "is not known", ""},
		"key without KMS":    {Options{Bucket: "b", SSE: SSES3, KMSKey: "k"}, nil, "needs the encryption", ""},
		"bucket key":         {Options{Bucket: "b", SSE: SSEKMSDSSE, BucketKey: true}, nil, "bucket key", ""},
		"short key":          {Options{Bucket: "b", CustomerKey: []byte("hidden")}, nil, "must have 32", ""},
		"two encryptions":    {Options{Bucket: "b", CustomerKey: make([]byte, 32), SSE: SSES3}, nil, "choose one", ""},
		"key in the clear":   {Options{Bucket: "b", CustomerKey: make([]byte, 32), Endpoint: "http://minio"}, nil, "use https", ""},
		"checksums":          {Options{Bucket: "b", Checksums: "md5"}, nil, "checksums", ""},
		"small parts":        {Options{Bucket: "b", PartSize: 1}, nil, "parts cannot have", ""},
		"large piece":        {Options{Bucket: "b", MultipartFrom: 6 << 30}, nil, "in one piece", ""},
		"no profile":         {Options{Bucket: "b", Region: "r", Profile: "nobody"}, nil, "nobody", ""},
		"no credentials":     {Options{Bucket: "b", Region: "r"}, map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no usable credentials", ""},
		"no CA bundle":       {Options{Bucket: "b", Region: "r"}, map[string]string{"AWS_CA_BUNDLE": "/nonexistent"}, "cannot be read", ""},
	} {
		t.Run(name, func(t *testing.T) {
			setCredentials(t)
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			b, err := Open(t.Context(), test.options)
			if err == nil {
				defer b.Close()
				if test.says != "" || b.URL() != test.url {
					t.Errorf("it opens, as %s", b.URL())
				}
				return
			}
			if test.says == "" || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("got %v, want that it says %q", err, test.says)
			}
			if errors.Is(err, bucket.ErrRefused) != (name == "no credentials") {
				t.Errorf("is ErrRefused: %v", err)
			}
		})
	}
}

// TestProfile takes region and credentials from the shared files.
func TestProfile(t *testing.T) {
	setCredentials(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	path := filepath.Join(t.TempDir(), "config")
	text := "[profile ci]\nregion = eu-west-1\naws_access_key_id = AKIAFILE\naws_secret_access_key = from-the-file\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", path)
	b, err := Open(t.Context(), Options{Bucket: "bucket", Profile: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	url, err := b.Presign(t.Context(), "name", maxExpiry)
	if err != nil || !strings.Contains(url, "AKIAFILE") || !strings.Contains(url, "bucket.s3.eu-west-1.amazonaws.com/name") {
		t.Errorf("got %s, %v", url, err)
	}
}

// TestPlainHTTPIsTold once, at the start.
func TestPlainHTTPIsTold(t *testing.T) {
	for endpoint, want := range map[string]bool{"http://minio:9000": true, "https://minio:9000": false} {
		setCredentials(t)
		var log bytes.Buffer
		b, err := Open(t.Context(), Options{Bucket: "b", Endpoint: endpoint, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		if got := strings.Contains(log.String(), "unencrypted"); got != want {
			t.Errorf("%s: the log says %q", endpoint, log.String())
		}
	}
}

// TestAuthorities trusts those that it is told to, and nobody else.
func TestAuthorities(t *testing.T) {
	s := serve(t, true, map[string]step{"HEAD": there})
	own := x509.NewCertPool()
	own.AddCert(s.Certificate())
	for name, test := range map[string]struct {
		roots  *x509.CertPool
		bundle string
		ok     bool
	}{
		"nobody":               {nil, "", false},
		"option":               {own, "", true},
		"variable":             {nil, writeCA(t, s), true},
		"others":               {x509.NewCertPool(), "", false},
		"others, and variable": {x509.NewCertPool(), writeCA(t, s), true},
	} {
		t.Run(name, func(t *testing.T) {
			setCredentials(t)
			t.Setenv("AWS_CA_BUNDLE", test.bundle)
			b, err := Open(t.Context(), Options{Bucket: "b", Endpoint: s.URL, PathStyle: true, RootCAs: test.roots})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if _, err := b.Head(t.Context(), "name"); (err == nil) != test.ok || err != nil && !strings.Contains(err.Error(), "?ca_file=") {
				t.Errorf("got %v", err)
			}
			if err := do(t.Context(), b, "put"); (err == nil) != test.ok || err != nil && !strings.Contains(err.Error(), "?ca_file=") {
				t.Errorf("put: got %v", err)
			}
		})
	}
}

func TestTooMuchMetadata(t *testing.T) {
	s := serve(t, false, nil)
	in := content(1)
	in.Meta = strings.Repeat("m", bucket.MaxMeta+1)
	if err := openAt(t, s, Options{}).Put(t.Context(), "name", in, bucket.Replace); err == nil || s.ops() != "" {
		t.Errorf("got %v after %q", err, s.ops())
	}
}
