package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
)

func testAbsent(t *testing.T, s *suite) {
	b := s.open(t)
	wantAbsent(t, b, "a/b/c")
	if _, _, err := get(t.Context(), b, "a", 5, ""); !errors.Is(err, bucket.ErrNotExist) {
		t.Errorf("get from byte 5 on: got %v, want ErrNotExist", err)
	}
	if _, _, err := get(t.Context(), b, "a", 5, someVersion(t, b)); !errors.Is(err, bucket.ErrNotExist) && !errors.Is(err, bucket.ErrChanged) {
		t.Errorf("get a version: got %v, want ErrNotExist or ErrChanged", err)
	}
	if err := del(t.Context(), b, "a", ""); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := del(t.Context(), b, "a", someVersion(t, b)); err != nil {
		t.Errorf("delete a version: %v", err)
	}
}

// someVersion is a version that another object has.
func someVersion(t *testing.T, b bucket.Bucket) string {
	t.Helper()
	put(t, b, "another", []byte("another"), "", bucket.Replace)
	info, err := head(t.Context(), b, "another")
	if err != nil {
		t.Fatal(err)
	}
	return info.Version
}

func testRoundTrip(t *testing.T, s *suite) {
	b := s.open(t)
	for i, size := range []int{1, 26, 64<<10 - 1, 1 << 20} {
		name, body, meta := fmt.Sprintf("v1/%d", i), Body(uint64(i), size), fmt.Sprintf("1.meta-%d_Z", i)
		put(t, b, name, body, meta, bucket.IfAbsent)
		wantObject(t, b, name, body, meta)
	}
}

func testEmpty(t *testing.T, s *suite) {
	b := s.open(t)
	put(t, b, "empty", nil, "a-note", bucket.IfAbsent)
	version := wantObject(t, b, "empty", nil, "a-note")
	if _, body, err := get(t.Context(), b, "empty", 0, version); err != nil || len(body) != 0 {
		t.Errorf("get the version: %d bytes, %v", len(body), err)
	}
	if err := tryPut(t.Context(), b, "empty", contentOf(nil, ""), bucket.IfAbsent); !errors.Is(err, bucket.ErrExist) {
		t.Errorf("put again: got %v, want ErrExist", err)
	}
}

func testMeta(t *testing.T, s *suite) {
	b := s.open(t)
	for _, n := range []int{0, 1, 255, 256, 1024, bucket.MaxMeta} {
		name := fmt.Sprintf("meta-%d", n)
		put(t, b, name, []byte("body"), letters(n), bucket.IfAbsent)
		wantObject(t, b, name, []byte("body"), letters(n))
	}
}

func testNames(t *testing.T, s *suite) {
	b := s.open(t)
	names := []string{
		"plain", "a/b/c/d/e", "v1/default/trusted/12777289511367993887", "dots.in.name", "under_score-and-dash",
		layout.FileName("pr/17"), layout.FileName("branch/refs/heads/ü ö"), layout.FileName("100% sure?"), layout.FileName("-rf"), layout.FileName(".."),
		"v1/" + layout.FileName(strings.Repeat("long", 60)) + "/x", layout.FileName("+plus&and#hash"), layout.FileName("Upper"),
		"a%2fb", "a%252fb", "with space", "plus+plus", "equals=and&", "tilde~", "(brackets)", "comma,semi;colon:", "at@dollar$", "quote'", "bang!star*",
	}
	for i, name := range names {
		put(t, b, name, Body(uint64(i), 100+i), "note", bucket.IfAbsent)
	}
	for i, name := range names {
		wantObject(t, b, name, Body(uint64(i), 100+i), "note")
	}
	wantList(t, b, "", names...)
	for _, name := range names {
		if err := del(t.Context(), b, name, ""); err != nil {
			t.Errorf("delete %q: %v", name, err)
		}
	}
	wantList(t, b, "")
}

func testOffset(t *testing.T, s *suite) {
	b := s.open(t)
	body := Body(1, 100_000)
	put(t, b, "a", body, "note", bucket.IfAbsent)
	version := wantObject(t, b, "a", body, "note")
	for _, offset := range []int64{0, 1, 65_536, 99_999, 100_000} {
		for _, version := range []string{"", version} {
			info, got, err := get(t.Context(), b, "a", offset, version)
			if err != nil {
				t.Errorf("get from %d on, version %q: %v", offset, version, err)
				continue
			}
			if !bytes.Equal(got, body[offset:]) {
				t.Errorf("get from %d on, version %q: got %d bytes, want other %d", offset, version, len(got), len(body[offset:]))
			}
			wantInfo(t, "get", info, "a", int64(len(body)), "note")
		}
	}
}

func testVersion(t *testing.T, s *suite) {
	b := s.open(t)
	first, second := Body(1, 1000), Body(2, 1000)
	put(t, b, "a", first, "first", bucket.IfAbsent)
	old := wantObject(t, b, "a", first, "first")
	put(t, b, "a", second, "second", bucket.Replace)
	now := wantObject(t, b, "a", second, "second")
	if old == now {
		t.Fatalf("two contents have one version, %q", old)
	}
	for _, offset := range []int64{0, 500, 1000} {
		if _, _, err := get(t.Context(), b, "a", offset, old); !errors.Is(err, bucket.ErrChanged) && !errors.Is(err, bucket.ErrNotExist) {
			t.Errorf("get the old version from %d on: got %v, want ErrChanged", offset, err)
		}
		if _, got, err := get(t.Context(), b, "a", offset, now); err != nil || !bytes.Equal(got, second[offset:]) {
			t.Errorf("get the new version from %d on: %d bytes, %v", offset, len(got), err)
		}
	}
}

func testIfAbsent(t *testing.T, s *suite) {
	b := s.open(t)
	body := Body(1, 10_000)
	put(t, b, "a", body, "first", bucket.IfAbsent)
	version := wantObject(t, b, "a", body, "first")
	for _, other := range [][]byte{nil, body, Body(2, 10_000), Body(3, 300_000)} {
		// The line of a loser may be broken before its answer came: that is no ErrExist.
		if err := tryPut(t.Context(), b, "a", contentOf(other, "other"), bucket.IfAbsent); err == nil || errors.Is(err, bucket.ErrRefused) {
			t.Errorf("put %d bytes: got %v, want ErrExist", len(other), err)
		}
	}
	if now := wantObject(t, b, "a", body, "first"); now != version {
		t.Errorf("the version was %q and is %q", version, now)
	}
}

func testReplace(t *testing.T, s *suite) {
	b := s.open(t)
	for i, size := range []int{1000, 0, 2000, 1000} {
		body := Body(uint64(i), size)
		put(t, b, "a", body, fmt.Sprint("note-", i), bucket.Replace)
		wantObject(t, b, "a", body, fmt.Sprint("note-", i))
	}
	wantList(t, b, "", "a")
}

func testDelete(t *testing.T, s *suite) {
	b := s.open(t)
	put(t, b, "a/b", []byte("b"), "", bucket.IfAbsent)
	put(t, b, "a/c", []byte("c"), "", bucket.IfAbsent)
	for range 2 { // the second time there is none
		if err := del(t.Context(), b, "a/b", ""); err != nil {
			t.Fatalf("delete: %v", err)
		}
		wantAbsent(t, b, "a/b")
	}
	wantObject(t, b, "a/c", []byte("c"), "")
	put(t, b, "a/b", []byte("another"), "", bucket.IfAbsent)
	wantObject(t, b, "a/b", []byte("another"), "")
}

func testDeleteVersion(t *testing.T, s *suite) {
	b := s.open(t)
	put(t, b, "a", []byte("first"), "", bucket.IfAbsent)
	old := wantObject(t, b, "a", []byte("first"), "")
	put(t, b, "a", []byte("second"), "", bucket.Replace)
	now := wantObject(t, b, "a", []byte("second"), "")
	if err := del(t.Context(), b, "a", old); err != nil {
		t.Errorf("delete the old version: %v", err)
	}
	wantObject(t, b, "a", []byte("second"), "")
	for range 2 {
		if err := del(t.Context(), b, "a", now); err != nil {
			t.Fatalf("delete the version: %v", err)
		}
		wantAbsent(t, b, "a")
	}
}

func testCanceled(t *testing.T, s *suite) {
	b := s.open(t)
	put(t, b, "a", []byte("body"), "", bucket.IfAbsent)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, errHead := b.Head(ctx, "a")
	_, _, errGet := b.Get(ctx, "a", 0, "")
	var errList error
	for _, err := range b.List(ctx, "") {
		errList = err
	}
	for op, err := range map[string]error{
		"head":      errHead,
		"get":       errGet,
		"list":      errList,
		"put":       b.Put(ctx, "b", contentOf([]byte("body"), ""), bucket.IfAbsent),
		"put large": b.Put(ctx, "b", contentOf(Body(1, int(s.threshold)+1), ""), bucket.IfAbsent),
		"delete":    b.Delete(ctx, "a", ""),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want that the context was canceled", op, err)
		}
	}
	wantList(t, b, "", "a")
}

// testCanceledBody leaves a reader in the middle: it must not wait for more, nor take what it has for the whole.
func testCanceledBody(t *testing.T, s *suite) {
	b := s.open(t)
	put(t, b, "a", Body(1, 16<<20), "", bucket.IfAbsent)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, body, err := b.Get(ctx, "a", 0, "")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.ReadFull(body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if n, err := io.Copy(io.Discard, body); err == nil && n < 16<<20-1000 {
		t.Fatalf("after another %d bytes the body ended as if it were whole", n)
	}
}

func testAbandonedReader(t *testing.T, s *suite) {
	b := s.open(t)
	put(t, b, "a", Body(1, 4<<20), "", bucket.IfAbsent)
	for range 20 {
		_, body, err := b.Get(t.Context(), "a", 0, "")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadFull(body, make([]byte, 10)) // the next get shows whether it went well
		body.Close()
	}
	wantObject(t, b, "a", Body(1, 4<<20), "")
}

func testPresign(t *testing.T, s *suite) {
	b := s.open(t)
	body := Body(1, 10_000)
	name := "v1/" + layout.FileName("pr/17") + "/hash"
	put(t, b, name, body, "note", bucket.IfAbsent)
	url, err := b.Presign(t.Context(), name, 5*time.Minute)
	if s.client == nil {
		if err == nil {
			t.Fatal("it signed a URL; it cannot, by what the test says")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(got, body) {
		t.Fatalf("GET of the URL: %s, %d bytes, %v", resp.Status, len(got), err)
	}
}

func testURL(t *testing.T, s *suite) {
	b := s.open(t)
	if url := b.URL(); !strings.Contains(url, "://") {
		t.Errorf("the bucket is called %q, which is no URL", url)
	}
}

// testCheck runs what a server runs at its start.
func testCheck(t *testing.T, s *suite) {
	b := s.open(t)
	if err := bucket.Check(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	wantList(t, b, "")
}
