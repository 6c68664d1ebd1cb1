// Package buckettest is the contract suite of [bucket.Bucket]. Every object storage passes it, against a server that keeps its promises.
package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// callTimeout bounds every call. It is there to end a test that hangs; nothing is learned from it.
const callTimeout = 2 * time.Minute

// Option changes what is tested.
type Option func(*suite)

type suite struct {
	open   func(t *testing.T) bucket.Bucket
	second func(t *testing.T, first bucket.Bucket) bucket.Bucket

	threshold, part int64
	client          *http.Client // nil: nothing can be signed
	cuts            bool
}

// SecondHandle lets half of the calls that race go through another handle on what first holds, as another process has.
func SecondHandle(second func(t *testing.T, first bucket.Bucket) bucket.Bucket) Option {
	return func(s *suite) { s.second = second }
}

// Parts tells from which size on, in bytes, a body is sent in another way than a small one, and how large a part of it is then. Bodies of sizes around both
// are tested. Without it they are taken to be 8 and 5 MiB.
func Parts(threshold, part int64) Option {
	return func(s *suite) { s.threshold, s.part = threshold, part }
}

// NoPresign says that the credentials of the test cannot sign: Presign has to fail.
func NoPresign() Option { return func(s *suite) { s.client = nil } }

// Browser is the client that gets signed URLs, in place of a plain one: it trusts the certificate of the test's server.
func Browser(client *http.Client) Option { return func(s *suite) { s.client = client } }

// Cuts says that the test's server makes an object of what it has when an upload breaks off, as versitygw does: then what is there may be shorter, but never
// whole. Whoever reads has to look at the length.
func Cuts() Option { return func(s *suite) { s.cuts = true } }

// Run holds buckets to the contract. Each call of open returns one without objects under its prefix, which open closes with the test; each test has its own.
func Run(t *testing.T, open func(t *testing.T) bucket.Bucket, options ...Option) {
	s := &suite{
		open:      open,
		second:    func(_ *testing.T, first bucket.Bucket) bucket.Bucket { return first },
		threshold: 8 << 20,
		part:      5 << 20,
		client:    &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	for _, option := range options {
		option(s)
	}
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s *suite)
	}{
		{"an object that is not there", testAbsent},
		{"an object comes back", testRoundTrip},
		{"an empty object", testEmpty},
		{"metadata of all lengths", testMeta},
		{"names", testNames},
		{"from an offset on", testOffset},
		{"of a version", testVersion},
		{"what exists stays", testIfAbsent},
		{"what exists is replaced", testReplace},
		{"delete", testDelete},
		{"delete a version", testDeleteVersion},
		{"large bodies", testLarge},
		{"small bodies in parts", testInParts},
		{"a body that cannot be read", testBrokenSource},
		{"a body that nobody reads to its end", testAbandonedReader},
		{"list", testList},
		{"list more than a page", testListMany},
		{"a listing that is left", testListLeft},
		{"a call whose context has ended", testCanceled},
		{"a body whose context ends", testCanceledBody},
		{"a URL for anybody", testPresign},
		{"what it is called", testURL},
		{"two handles", testSecondHandle},
		{"50 writers of one small object", testRaceSmall},
		{"writers of one large object", testRaceLarge},
		{"writers and readers of many objects", testManyObjects},
		{"the check at the start", testCheck},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// Body returns n bytes that do not compress, the same for the same seed.
func Body(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	body := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(body) // never fails
	return body
}

func contentOf(body []byte, meta string) bucket.Content {
	return bucket.Content{Body: bytes.NewReader(body), Size: int64(len(body)), Meta: meta}
}

// put writes an object and fails the test if that does not work.
func put(t *testing.T, b bucket.Bucket, name string, body []byte, meta string, mode bucket.Mode) {
	t.Helper()
	if err := tryPut(t.Context(), b, name, contentOf(body, meta), mode); err != nil {
		t.Fatalf("put %q, %d bytes: %v", name, len(body), err)
	}
}

func tryPut(ctx context.Context, b bucket.Bucket, name string, content bucket.Content, mode bucket.Mode) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return b.Put(ctx, name, content, mode)
}

// get reads an object to its end.
func get(ctx context.Context, b bucket.Bucket, name string, offset int64, version string) (bucket.Info, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	info, body, err := b.Get(ctx, name, offset, version)
	if err != nil {
		return bucket.Info{}, nil, err
	}
	text, err := io.ReadAll(body)
	if errClose := body.Close(); err == nil && errClose != nil {
		err = fmt.Errorf("close the body: %w", errClose)
	}
	return info, text, err
}

func head(ctx context.Context, b bucket.Bucket, name string) (bucket.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return b.Head(ctx, name)
}

func del(ctx context.Context, b bucket.Bucket, name, version string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return b.Delete(ctx, name, version)
}

// wantObject fails unless the object has these bytes and this metadata, and describes itself the same in both ways. It returns its version.
func wantObject(t *testing.T, b bucket.Bucket, name string, body []byte, meta string) string {
	t.Helper()
	got, text, err := get(t.Context(), b, name, 0, "")
	if err != nil {
		t.Fatalf("get %q: %v", name, err)
	}
	if !bytes.Equal(text, body) {
		t.Fatalf("get %q: got %d bytes that are not the %d bytes that were put", name, len(text), len(body))
	}
	wantInfo(t, "get", got, name, int64(len(body)), meta)
	described, err := head(t.Context(), b, name)
	if err != nil {
		t.Fatalf("head %q: %v", name, err)
	}
	wantInfo(t, "head", described, name, int64(len(body)), meta)
	if described.Version != got.Version {
		t.Fatalf("%q has the version %q by head and %q by get", name, described.Version, got.Version)
	}
	return got.Version
}

func wantInfo(t *testing.T, op string, got bucket.Info, name string, size int64, meta string) {
	t.Helper()
	want := bucket.Info{Name: name, Version: got.Version, Size: size, Meta: meta, HasMeta: meta != "", Modified: got.Modified}
	if meta == "" {
		want.HasMeta = got.HasMeta // an empty note may be no note
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s %q (-want +got):\n%s", op, name, diff)
	}
	if got.Version == "" {
		t.Fatalf("%s %q: no version", op, name)
	}
	if age := time.Since(got.Modified).Abs(); age > 24*time.Hour {
		t.Fatalf("%s %q: made at %v", op, name, got.Modified)
	}
}

func wantAbsent(t *testing.T, b bucket.Bucket, name string) {
	t.Helper()
	if info, err := head(t.Context(), b, name); !errors.Is(err, bucket.ErrNotExist) {
		t.Fatalf("head %q: got an object of %d bytes and %v, want ErrNotExist", name, info.Size, err)
	}
	if _, _, err := get(t.Context(), b, name, 0, ""); !errors.Is(err, bucket.ErrNotExist) {
		t.Fatalf("get %q: got %v, want ErrNotExist", name, err)
	}
}

// letters repeats all that metadata may hold.
func letters(n int) string {
	const all = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	return strings.Repeat(all, n/len(all)+1)[:n]
}
