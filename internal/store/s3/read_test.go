package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// TestRanges believes nothing that does not fit what was asked for.
func TestRanges(t *testing.T) {
	part := func(status int, contentRange, body string) step {
		return func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("ETag", `"now"`)
			if contentRange != "" {
				w.Header().Set("Content-Range", contentRange)
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	for name, test := range map[string]struct {
		get    step
		head   step
		offset int64
		ok     bool
		want   error
	}{
		"as asked":             {get: part(206, "bytes 2-4/5", "cde"), offset: 2, ok: true},
		"the whole":            {get: part(200, "", "abcde"), offset: 2},
		"another range":        {get: part(206, "bytes 1-4/5", "bcde"), offset: 2},
		"not to the end":       {get: part(206, "bytes 2-3/5", "cd"), offset: 2},
		"less than it says":    {get: part(206, "bytes 2-4/5", "c"), offset: 2},
		"no size":              {get: part(206, "bytes 2-4/*", "cde"), offset: 2},
		"no range":             {get: part(206, "lines 2-4/5", "cde"), offset: 2},
		"a size beyond belief": {get: part(206, "bytes 2-99999999999999999998/99999999999999999999", "cde"), offset: 2},
		"nothing left":         {get: fail(416, "InvalidRange", ""), head: there, offset: 5, ok: true},
		"beyond the end":       {get: fail(416, "InvalidRange", ""), head: there, offset: 6},
		"gone meanwhile":       {get: fail(416, "InvalidRange", ""), offset: 5, want: bucket.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, false, map[string]step{"GET": test.get, "HEAD": test.head})
			b := openAt(t, s, Options{})
			info, body, err := b.Get(t.Context(), "name", test.offset, "")
			if (err == nil) != test.ok || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				text, err := io.ReadAll(body)
				if want := "abcde"[test.offset:]; string(text) != want || err != nil || info.Size != 5 {
					t.Errorf("got %q of %d bytes, %v", text, info.Size, err)
				}
				body.Close()
			}
			if got := s.all("GET")[0].Header.Get("Range"); got != fmt.Sprintf("bytes=%d-", test.offset) {
				t.Errorf("asked for %q", got)
			}
		})
	}
}

// TestVersionIsHeld also where a service ignores the condition.
func TestVersionIsHeld(t *testing.T) {
	s := serve(t, false, map[string]step{"GET": func(w http.ResponseWriter, r *http.Request, _ int) {
		there(w, r, 0)
		io.WriteString(w, "abcde")
	}})
	b := openAt(t, s, Options{})
	if _, _, err := b.Get(t.Context(), "name", 0, `"old"`); !errors.Is(err, bucket.ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
	info, body, err := b.Get(t.Context(), "name", 0, `"now"`)
	if err != nil {
		t.Fatal(err)
	}
	body.Close()
	if info.Version != `"now"` || info.Meta != "note" || !info.HasMeta || info.Name != "name" || info.Size != 5 {
		t.Errorf("got %+v", info)
	}
	for _, r := range s.all("GET") {
		if r.Header.Get("If-Match") == "" || r.URL.Path != "/bucket/team/name" {
			t.Errorf("GET %s, If-Match %q", r.URL.Path, r.Header.Get("If-Match"))
		}
	}
}

// TestForeignObject has no metadata of ours.
func TestForeignObject(t *testing.T) {
	s := serve(t, false, map[string]step{"HEAD": func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("ETag", `"now"`)
		w.Header().Set("X-Amz-Meta-Other", "note")
		w.Header().Set("Content-Length", "5")
	}})
	info, err := openAt(t, s, Options{}).Head(t.Context(), "name")
	if err != nil || info.HasMeta || info.Meta != "" {
		t.Errorf("got %+v, %v", info, err)
	}
}

func page(encoding, next string, keys ...string) step {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		fmt.Fprintf(w, "<ListBucketResult><EncodingType>%s</EncodingType><IsTruncated>%v</IsTruncated><NextContinuationToken>%s</NextContinuationToken>", encoding, next != "", next)
		for _, key := range keys {
			fmt.Fprintf(w, `<Contents><Key>%s</Key><Size>7</Size><ETag>"e"</ETag><LastModified>2026-11-25T10:00:00.000Z</LastModified></Contents>`, key)
		}
		io.WriteString(w, "</ListBucketResult>")
	}
}

func list(ctx context.Context, b *Bucket) (names []string, err error) {
	for info, err := range b.List(ctx, "v1/") {
		if err != nil {
			return names, err
		}
		names = append(names, info.Name)
	}
	return names, nil
}

// TestList follows pages, and does not believe what does not belong there.
func TestList(t *testing.T) {
	for name, test := range map[string]struct {
		list step
		want string
		ok   bool
	}{
		"pages":             {each(page("url", "next", "team/v1/a"), page("url", "", "team/v1/b")), "v1/a|v1/b", true},
		"encoded":           {page("url", "", "team/v1/pr%252f1+2%2B3%0A"), "v1/pr%2f1 2+3\n", true},
		"not encoded":       {page("", "", "team/v1/pr%2f1+2"), "v1/pr%2f1+2", true},
		"badly encoded":     {page("url", "", "team/v1/a", "team/v1/%zz"), "v1/a", false},
		"of others":         {page("url", "", "team/v1/a", "other/v1/b"), "v1/a", false},
		"round and round":   {page("url", "same", "team/v1/a"), "v1/a|v1/a", true},
		"not to be parsed":  {func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, "<not") }, "", false},
		"nothing":           {page("url", ""), "", true},
		"error in the next": {each(page("url", "next", "team/v1/a"), fail(403, "AccessDenied", "")), "v1/a", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, false, map[string]step{"GET list": test.list})
			names, err := list(t.Context(), openAt(t, s, Options{}))
			if got := strings.Join(names, "|"); got != test.want || (err == nil) != test.ok {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
			if q := s.all("GET list")[0].URL.Query(); q.Get("prefix") != "team/v1/" || q.Get("encoding-type") != "url" {
				t.Errorf("asked for %v", q)
			}
		})
	}
}

// TestPresign signs for a time, without asking anybody and without a secret in the URL.
func TestPresign(t *testing.T) {
	s := serve(t, true, nil)
	b := openAt(t, s, Options{})
	text, err := b.Presign(t.Context(), "v1/pr%2f17", 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(text)
	if err != nil || u.EscapedPath() != "/bucket/team/v1/pr%252f17" || u.Query().Get("X-Amz-Expires") != "300" || u.Query().Get("X-Amz-SignedHeaders") != "host" {
		t.Errorf("got %s, %v", text, err)
	}
	if strings.Contains(text, testSecret) || s.ops() != "" {
		t.Errorf("got %s after %q", text, s.ops())
	}
	for _, ttl := range []time.Duration{0, -time.Second, 8 * 24 * time.Hour} {
		if _, err := b.Presign(t.Context(), "name", ttl); err == nil {
			t.Errorf("it signs for %v", ttl)
		}
	}
	b = openAt(t, s, Options{CustomerKey: make([]byte, 32)})
	if _, err := b.Presign(t.Context(), "name", time.Minute); !errors.Is(err, bucket.ErrRefused) {
		t.Errorf("with a customer's key: %v", err)
	}
}
