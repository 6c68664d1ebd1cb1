package gcs

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

const created = "2026-11-01T10:00:00Z"

// serveObject plays one object of 10 bytes, generation 7.
func serveObject(w http.ResponseWriter, r request) {
	const text = "0123456789"
	if strings.HasPrefix(r.URL.Path, "/storage/v1/") {
		_, _ = fmt.Fprintf(w, `{"name":"base/a/b","generation":"7","size":"10","timeCreated":%q,"metadata":{"bezoar":"m","other":"x"}}`, created)
		return
	}
	w.Header().Set("X-Goog-Generation", "7")
	w.Header().Set("X-Goog-Meta-Bezoar", "m")
	w.Header().Set("Last-Modified", "Sun, 01 Nov 2026 10:00:00 GMT")
	span, ranged := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	from, _ := strconv.Atoi(strings.TrimSuffix(span, "-"))
	if from >= len(text) {
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(text)-from))
	if ranged {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-9/10", from))
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = io.WriteString(w, text[from:])
}

func TestRead(t *testing.T) {
	at, _ := time.Parse(time.RFC3339, created)
	want := bucket.Info{Name: "a/b", Version: "7", Size: 10, Meta: "m", HasMeta: true, Modified: at}
	s := play(t, serveObject)
	b := open(t, s, Options{})
	got, err := b.Head(t.Context(), "a/b")
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("head: %v\n%s", err, cmp.Diff(want, got))
	}
	for _, c := range []struct {
		offset int64
		body   string
	}{{0, "0123456789"}, {7, "789"}, {10, ""}} {
		got, body, err := b.Get(t.Context(), "a/b", c.offset, "7")
		if err != nil {
			t.Errorf("from %d: %v", c.offset, err)
			continue
		}
		text, err := io.ReadAll(body)
		if err != nil || string(text) != c.body || !cmp.Equal(got, want) {
			t.Errorf("from %d: %q, %v\n%s", c.offset, text, err, cmp.Diff(want, got))
		}
		body.Close()
	}
	if _, _, err := b.Get(t.Context(), "a/b", 11, ""); !is(err, errTrouble) {
		t.Errorf("beyond the end: %v", err)
	}
	if _, _, err := b.Get(t.Context(), "a/b", 0, "8"); !errors.Is(err, bucket.ErrChanged) {
		t.Errorf("another version than asked for: %v", err)
	}
	for _, r := range s.seen() {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("%s got credentials over plain http", r.URL)
		}
	}
	if first := s.seen()[1]; first.RequestURI != "/box/base/a/b?generation=7" {
		t.Errorf("asked for %s", first.RequestURI)
	}
}

// TestStrangeBodies: what does not fit the question, or breaks off, is no end of a body.
func TestStrangeBodies(t *testing.T) {
	for _, c := range []struct {
		what   string
		offset int64
		answer func(w http.ResponseWriter, r request)
	}{
		{"cut", 0, func(w http.ResponseWriter, _ request) {
			w.Header().Set("X-Goog-Generation", "7")
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "0123")
		}},
		{"of unknown length", 0, func(w http.ResponseWriter, _ request) {
			w.Header().Set("X-Goog-Generation", "7")
			_, _ = io.WriteString(w, "0123")
			w.(http.Flusher).Flush()
		}},
		{"whole, though a range was asked for", 5, func(w http.ResponseWriter, r request) {
			r.Header.Del("Range")
			serveObject(w, r)
		}},
		{"another range", 5, func(w http.ResponseWriter, r request) {
			r.Header.Set("Range", "bytes=3-")
			serveObject(w, r)
		}},
	} {
		b := open(t, play(t, c.answer), Options{})
		_, body, err := b.Get(t.Context(), "a/b", c.offset, "")
		if err == nil {
			_, err = io.ReadAll(body)
			body.Close()
		}
		if !is(err, errTrouble) {
			t.Errorf("%s: got %v, want trouble", c.what, err)
		}
	}
}

func TestParseRange(t *testing.T) {
	for text, want := range map[string]bool{
		"bytes 7-9/10": true, "bytes 0-0/1": true, "bytes 7-8/10": false, "bytes 9-7/8": false, "bytes */10": false, "": false, "7-9/10": false, "bytes -1-9/10": false,
	} {
		if _, _, ok := parseRange(text); ok != want {
			t.Errorf("%q: got %v, want %v", text, ok, want)
		}
	}
}

// TestList follows pages and leaves out what a bucket does not have.
func TestList(t *testing.T) {
	s := play(t, func(w http.ResponseWriter, r request) {
		item := func(name string) string {
			return fmt.Sprintf(`{"name":%q,"generation":"7","size":"3","timeCreated":%q}`, name, created)
		}
		if r.URL.Query().Get("pageToken") == "" {
			_, _ = fmt.Fprintf(w, `{"nextPageToken":"more","items":[%s,%s,%s,%s]}`, item("base/a/1"), item("base/a/"), item("base/a//2"), item("elsewhere/a/3"))
			return
		}
		_, _ = fmt.Fprintf(w, `{"items":[{"name":"base/a/4","generation":"9","size":"1","timeCreated":%q,"metadata":{"bezoar":"m"}}]}`, created)
	})
	b := open(t, s, Options{})
	var got []string
	for info, err := range b.List(t.Context(), "a/") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(info.Name, " ", info.Version, " ", info.Size, " ", info.HasMeta))
	}
	if diff := cmp.Diff([]string{"a/1 7 3 false", "a/4 9 1 true"}, got); diff != "" {
		t.Error(diff)
	}
	if asked := s.seen()[0].URL.Query().Get("prefix"); asked != "base/a/" {
		t.Errorf("asked for the prefix %q", asked)
	}
	for range b.List(t.Context(), "a/") {
		break // asks for no second page
	}
	if n := len(s.seen()); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}
