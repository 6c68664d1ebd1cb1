package azure

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// TestPutSaysWhatSettingsSay looks at what is sent, in one request and in blocks.
func TestPutSaysWhatSettingsSay(t *testing.T) {
	names := []string{"If-None-Match", "X-Ms-Access-Tier", "X-Ms-Encryption-Scope", "X-Ms-Encryption-Algorithm", "X-Ms-Encryption-Key", "X-Ms-Encryption-Key-Sha256", "X-Ms-Meta-Bezoar", "X-Ms-Blob-Content-Type"}
	encryption := func(name string) bool { return strings.HasPrefix(name, "X-Ms-Encryption") }
	for _, c := range []struct {
		what    string
		options Options
		mode    bucket.Mode
		want    map[string]string
	}{
		{"nothing", Options{}, bucket.IfAbsent, map[string]string{"If-None-Match": "*"}},
		{"a scope and a tier", Options{EncryptionScope: "mine", AccessTier: "Cool"}, bucket.Replace, map[string]string{"X-Ms-Encryption-Scope": "mine", "X-Ms-Access-Tier": "Cool"}},
		{"a customer's key", Options{CustomerKey: bytes.Repeat([]byte{7}, 32)}, bucket.IfAbsent, map[string]string{
			"If-None-Match": "*", "X-Ms-Encryption-Algorithm": "AES256", "X-Ms-Encryption-Key": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
			"X-Ms-Encryption-Key-Sha256": "S7Bvjk46dxXSAdVz0KpCN2LlXavWGiwCJ4+lbMbSlOA=",
		}},
	} {
		c.want["X-Ms-Meta-Bezoar"], c.want["X-Ms-Blob-Content-Type"] = "m", "application/octet-stream"
		for _, large := range []bool{false, true} {
			s := play(t, func(w http.ResponseWriter, _ request) {
				w.Header().Set("Etag", `"0x7"`)
				w.WriteHeader(http.StatusCreated)
			})
			body := content("the body", "m")
			body.InParts = large
			if err := open(t, s, c.options).Put(t.Context(), "a/b", body, c.mode); err != nil {
				t.Fatal(err)
			}
			for _, r := range s.seen() {
				staged := r.URL.Query().Get("comp") == "block"
				for _, name := range names {
					want := c.want[name]
					if staged && !encryption(name) {
						want = ""
					}
					if got := r.Header.Get(name); got != want {
						t.Errorf("%s, %s: %s is %q, want %q", c.what, r.URL.RawQuery, name, got, want)
					}
				}
				if !strings.HasPrefix(r.Header.Get("Authorization"), "SharedKey acme:") {
					t.Errorf("%s: it came with %q", c.what, r.Header.Get("Authorization"))
				}
			}
		}
	}
}

// blocks plays the block lists of one blob.
type blocks struct {
	mu     sync.Mutex
	staged map[string][]byte
	made   []byte
}

func (b *blocks) answer(w http.ResponseWriter, r request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch r.URL.Query().Get("comp") {
	case "block":
		b.staged[r.URL.Query().Get("blockid")] = r.body
	case "blocklist":
		var named struct {
			Latest []string `xml:"Latest"`
		}
		if err := xml.Unmarshal(r.body, &named); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for _, id := range named.Latest {
			b.made = append(b.made, b.staged[id]...)
		}
		w.Header().Set("Etag", `"0x7"`)
	}
	w.WriteHeader(http.StatusCreated)
}

// TestBlocks: the blob is made of the blocks in their order, and their names are this upload's own.
func TestBlocks(t *testing.T) {
	text := []byte(strings.Repeat("0123456789", 100))
	list := &blocks{staged: make(map[string][]byte)}
	b := open(t, play(t, list.answer), Options{BlocksAt: 100, BlockSize: 33})
	for range 2 {
		list.made = nil
		if err := b.Put(t.Context(), "a/b", bucket.Content{Body: bytes.NewReader(text), Size: int64(len(text))}, bucket.Replace); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(list.made, text) {
			t.Errorf("the blob has %d bytes that are not those of the body", len(list.made))
		}
	}
	if n, want := len(list.staged), 2*31; n != want {
		t.Errorf("there are %d blocks, want %d: two uploads have two sets", n, want)
	}
	var lengths []int
	for id := range list.staged {
		raw, err := base64.StdEncoding.DecodeString(id)
		if err != nil || len(raw) > 64 {
			t.Errorf("%q is no name of a block", id)
		}
		lengths = append(lengths, len(id))
	}
	if slices.Min(lengths) != slices.Max(lengths) {
		t.Error("the names of blocks have several lengths")
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
		list := &blocks{staged: make(map[string][]byte)}
		s := play(t, list.answer)
		content := bucket.Content{Body: broken{strings.NewReader(strings.Repeat("x", 1<<20))}, Size: 1 << 20, InParts: large}
		if err := open(t, s, Options{BlockSize: 1 << 17}).Put(t.Context(), "a/b", content, bucket.IfAbsent); !errors.Is(err, errBroken) {
			t.Errorf("large %v: got %v, want %v", large, err, errBroken)
		}
		if n := len(s.seen()); n > 1+blocksAtATime {
			t.Errorf("large %v: %d requests, though trying again mends nothing", large, n)
		}
		for _, r := range s.seen() {
			if r.URL.Query().Get("comp") == "blocklist" {
				t.Errorf("large %v: a blob was made", large)
			}
		}
	}
}

// TestDelete takes snapshots along and spares another version.
func TestDelete(t *testing.T) {
	s := play(t, failing(http.StatusAccepted, ""))
	b := open(t, s, Options{})
	for _, version := range []string{"", "0x7"} {
		if err := b.Delete(t.Context(), "a/b", version); err != nil {
			t.Error(err)
		}
	}
	var got []string
	for _, r := range s.seen() {
		got = append(got, r.Method+" "+r.RequestURI+" "+r.Header.Get("X-Ms-Delete-Snapshots")+" "+r.Header.Get("If-Match"))
	}
	if diff := cmp.Diff([]string{"DELETE /box/base%2Fa%2Fb include ", `DELETE /box/base%2Fa%2Fb include "0x7"`}, got); diff != "" {
		t.Error(diff)
	}
}
