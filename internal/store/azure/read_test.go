package azure

import (
	"encoding/xml"
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

const modified = "Sun, 01 Nov 2026 10:00:00 GMT"

// serveBlob plays one blob of 10 bytes with the ETag "0x7".
func serveBlob(w http.ResponseWriter, r request) {
	const text = "0123456789"
	if match := r.Header.Get("If-Match"); match != "" && match != `"0x7"` {
		failing(http.StatusPreconditionFailed, "ConditionNotMet")(w, r)
		return
	}
	span, ranged := strings.CutPrefix(r.Header.Get("X-Ms-Range"), "bytes=")
	from, _ := strconv.Atoi(strings.TrimSuffix(span, "-"))
	if from >= len(text) {
		failing(http.StatusRequestedRangeNotSatisfiable, "InvalidRange")(w, r)
		return
	}
	w.Header().Set("Etag", `"0x7"`)
	w.Header().Set("X-Ms-Meta-Bezoar", "m")
	w.Header().Set("X-Ms-Meta-Other", "x")
	w.Header().Set("Last-Modified", modified)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)-from))
	if ranged {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-9/10", from))
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = io.WriteString(w, text[from:])
}

func TestRead(t *testing.T) {
	at, _ := http.ParseTime(modified)
	want := bucket.Info{Name: "a/b", Version: "0x7", Size: 10, Meta: "m", HasMeta: true, Modified: at}
	b := open(t, play(t, serveBlob), Options{})
	got, err := b.Head(t.Context(), "a/b")
	if err != nil || !cmp.Equal(got, want, cmp.Comparer(time.Time.Equal)) {
		t.Errorf("head: %v\n%s", err, cmp.Diff(want, got))
	}
	for _, c := range []struct {
		offset int64
		body   string
	}{{0, "0123456789"}, {7, "789"}, {10, ""}} {
		got, body, err := b.Get(t.Context(), "a/b", c.offset, "0x7")
		if err != nil {
			t.Errorf("from %d: %v", c.offset, err)
			continue
		}
		text, err := io.ReadAll(body)
		if err != nil || string(text) != c.body || !cmp.Equal(got, want, cmp.Comparer(time.Time.Equal)) {
			t.Errorf("from %d: %q, %v\n%s", c.offset, text, err, cmp.Diff(want, got))
		}
		body.Close()
	}
	if _, _, err := b.Get(t.Context(), "a/b", 11, ""); !is(err, errTrouble) {
		t.Errorf("beyond the end: %v", err)
	}
	if _, _, err := b.Get(t.Context(), "a/b", 0, "0x8"); !errors.Is(err, bucket.ErrChanged) {
		t.Errorf("another version than asked for: %v", err)
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
			w.Header().Set("Etag", `"0x7"`)
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "0123")
		}},
		{"of unknown length", 0, func(w http.ResponseWriter, _ request) {
			w.Header().Set("Etag", `"0x7"`)
			_, _ = io.WriteString(w, "0123")
			w.(http.Flusher).Flush()
		}},
		{"whole, though a range was asked for", 5, func(w http.ResponseWriter, r request) {
			r.Header.Del("X-Ms-Range")
			serveBlob(w, r)
		}},
		{"another range", 5, func(w http.ResponseWriter, r request) {
			r.Header.Set("X-Ms-Range", "bytes=3-")
			serveBlob(w, r)
		}},
	} {
		_, body, err := open(t, play(t, c.answer), Options{}).Get(t.Context(), "a/b", c.offset, "")
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
		"bytes 7-9/10": true, "bytes 0-0/1": true, "bytes 10-9/10": true, "bytes 7-8/10": false, "bytes 9-7/8": false, "bytes */10": false, "": false, "7-9/10": false,
	} {
		if _, _, ok := parseRange(text); ok != want {
			t.Errorf("%q: got %v, want %v", text, ok, want)
		}
	}
}

// TestList follows pages and leaves out what a bucket does not have.
func TestList(t *testing.T) {
	s := play(t, func(w http.ResponseWriter, r request) {
		item := func(name, metadata string) string {
			var escaped strings.Builder
			_ = xml.EscapeText(&escaped, []byte(name))
			return "<Blob><Name>" + escaped.String() + "</Name><Properties><Etag>0x7</Etag><Content-Length>3</Content-Length><Last-Modified>" + modified +
				"</Last-Modified></Properties><Metadata>" + metadata + "</Metadata></Blob>"
		}
		w.Header().Set("Content-Type", "application/xml")
		if r.URL.Query().Get("marker") == "" {
			_, _ = io.WriteString(w, "<EnumerationResults><Blobs>"+item("base/a/1", "")+item("base/a/", "")+item("base/a//2", "")+item("elsewhere/a/3", "")+
				item("base/a/folder", "<hdi_isfolder>true</hdi_isfolder>")+"</Blobs><NextMarker>more</NextMarker></EnumerationResults>")
			return
		}
		_, _ = io.WriteString(w, "<EnumerationResults><Blobs>"+item("base/a/4", "<bezoar>m</bezoar>")+"</Blobs><NextMarker/></EnumerationResults>")
	})
	b := open(t, s, Options{})
	var got []string
	for info, err := range b.List(t.Context(), "a/") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(info.Name, " ", info.Version, " ", info.Size, " ", info.HasMeta))
	}
	if diff := cmp.Diff([]string{"a/1 0x7 3 false", "a/4 0x7 3 true"}, got); diff != "" {
		t.Error(diff)
	}
	if asked := s.seen()[0].URL.Query().Get("prefix"); asked != "base/a/" {
		t.Errorf("asked for the prefix %q", asked)
	}
}
