package gcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// TestPutSaysWhatSettingsSay looks at what is sent, in one request and in a session.
func TestPutSaysWhatSettingsSay(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	for _, c := range []struct {
		what    string
		options Options
		mode    bucket.Mode
		query   map[string]string
		object  map[string]any
		header  map[string]string
	}{
		{
			"nothing", Options{}, bucket.IfAbsent,
			map[string]string{"ifGenerationMatch": "0", "kmsKeyName": "", "name": "base/a/b"},
			map[string]any{"name": "base/a/b", "contentType": contentType, "metadata": map[string]any{"bezoar": "m"}}, nil,
		},
		{
			"a key in KMS and a class", Options{KMSKey: "projects/p/k", StorageClass: "NEARLINE"}, bucket.Replace,
			map[string]string{"ifGenerationMatch": "", "kmsKeyName": "projects/p/k"},
			map[string]any{"name": "base/a/b", "contentType": contentType, "storageClass": "NEARLINE", "metadata": map[string]any{"bezoar": "m"}}, nil,
		},
		{
			"a customer's key", Options{CustomerKey: key}, bucket.IfAbsent, nil,
			map[string]any{"name": "base/a/b", "contentType": contentType, "metadata": map[string]any{"bezoar": "m"}},
			map[string]string{
				"X-Goog-Encryption-Algorithm": "AES256", "X-Goog-Encryption-Key": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
				"X-Goog-Encryption-Key-Sha256": "S7Bvjk46dxXSAdVz0KpCN2LlXavWGiwCJ4+lbMbSlOA=",
			},
		},
	} {
		for _, large := range []bool{false, true} {
			s := play(t, func(w http.ResponseWriter, r request) {
				if r.URL.Query().Get("uploadType") == "resumable" {
					w.Header().Set("Location", "http://"+r.Host+"/upload/x?upload_id=1")
				}
				_, _ = io.WriteString(w, `{"generation":"7","size":"8"}`)
			})
			c.options.ResumableAt = 100
			if large {
				c.options.ResumableAt = 1
			}
			b := open(t, s, c.options)
			if err := b.Put(t.Context(), "a/b", content("the body", "m"), c.mode); err != nil {
				t.Fatal(err)
			}
			first := s.seen()[0]
			var object map[string]any
			var sent []byte
			if large {
				_ = json.Unmarshal(first.body, &object)
				sent = s.seen()[1].body
			} else {
				object, sent = parts(t, first)
			}
			if diff := cmp.Diff(c.object, object); diff != "" {
				t.Errorf("%s, large %v: the description\n%s", c.what, large, diff)
			}
			if string(sent) != "the body" {
				t.Errorf("%s, large %v: the body is %q", c.what, large, sent)
			}
			for name, want := range c.query {
				if got := first.URL.Query().Get(name); got != want {
					t.Errorf("%s, large %v: %s is %q, want %q", c.what, large, name, got, want)
				}
			}
			for _, r := range s.seen() {
				for _, name := range []string{"X-Goog-Encryption-Algorithm", "X-Goog-Encryption-Key", "X-Goog-Encryption-Key-Sha256"} {
					if got := r.Header.Get(name); got != c.header[name] {
						t.Errorf("%s, large %v: %s of %s is %q, want %q", c.what, large, name, r.Method, got, c.header[name])
					}
				}
			}
		}
	}
}

// parts takes an upload in one request apart.
func parts(t *testing.T, r request) (object map[string]any, sent []byte) {
	t.Helper()
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	reader := multipart.NewReader(bytes.NewReader(r.body), params["boundary"])
	part, err := reader.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(part).Decode(&object); err != nil {
		t.Fatal(err)
	}
	if part, err = reader.NextPart(); err != nil {
		t.Fatal(err)
	}
	if sent, err = io.ReadAll(part); err != nil {
		t.Fatal(err)
	}
	return object, sent
}

// TestCustomerKeyIsShownToRead: without it the service does not give the object out.
func TestCustomerKeyIsShownToRead(t *testing.T) {
	s := play(t, serveObject)
	b := open(t, s, Options{CustomerKey: bytes.Repeat([]byte{7}, 32)})
	if _, err := b.Head(t.Context(), "a/b"); err != nil {
		t.Error(err)
	}
	if _, body, err := b.Get(t.Context(), "a/b", 0, ""); err != nil {
		t.Error(err)
	} else {
		body.Close()
	}
	for _, r := range s.seen() {
		if r.Header.Get("X-Goog-Encryption-Key") == "" {
			t.Errorf("%s %s came without the key", r.Method, r.URL.Path)
		}
	}
}

// TestDeleteNamesTheGeneration, so that no other is touched.
func TestDeleteNamesTheGeneration(t *testing.T) {
	s := play(t, failing(http.StatusNoContent, ""))
	b := open(t, s, Options{})
	for _, version := range []string{"", "7"} {
		if err := b.Delete(t.Context(), "a/b", version); err != nil {
			t.Error(err)
		}
	}
	want := []string{"DELETE /storage/v1/b/box/o/base%2Fa%2Fb", "DELETE /storage/v1/b/box/o/base%2Fa%2Fb?generation=7"}
	var got []string
	for _, r := range s.seen() {
		got = append(got, r.Method+" "+r.RequestURI)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// broken cannot be read to its end.
type broken struct{ io.ReaderAt }

var errBroken = errors.New("the disk is on fire")

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > 1<<16 {
		return 0, errBroken
	}
	return b.ReaderAt.ReadAt(p, off)
}

// TestBrokenBody: nothing is made of a body that cannot be read.
func TestBrokenBody(t *testing.T) {
	for _, large := range []bool{false, true} {
		s := play(t, func(w http.ResponseWriter, r request) {
			if r.URL.Query().Get("uploadType") == "resumable" && r.Method == http.MethodPost {
				w.Header().Set("Location", "http://"+r.Host+"/upload/x?upload_id=1")
			}
			if r.Header.Get("Content-Range") == "bytes */1048576" {
				w.WriteHeader(http.StatusPermanentRedirect)
			}
		})
		options := Options{ResumableAt: 1 << 30}
		if large {
			options.ResumableAt = 1
		}
		err := open(t, s, options).Put(t.Context(), "a/b", bucket.Content{Body: broken{strings.NewReader(strings.Repeat("x", 1<<20))}, Size: 1 << 20}, bucket.IfAbsent)
		if !errors.Is(err, errBroken) {
			t.Errorf("large %v: got %v, want %v", large, err, errBroken)
		}
		if large && !slices.ContainsFunc(s.seen(), func(r request) bool { return r.Method == http.MethodDelete }) {
			t.Error("the session was not given up")
		}
	}
}
