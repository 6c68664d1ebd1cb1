// Package storetest is the contract of [cache.Store] as a test suite. Every backend and every decorator runs it:
//
//	storetest.Run(t, func(t *testing.T) cache.Store { return mem.New() })
//
// It asks of a store what the interface promises and nothing else, so that stores that keep entries in a bucket pass it, too.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Option changes what [Run] does.
type Option func(*suite)

// SecondHandle lets the suite open the storage of a store a second time, as another process or replica
// would. Without it, tests of several handles run with one.
func SecondHandle(open func(t *testing.T, first cache.Store) cache.Store) Option {
	return func(s *suite) { s.second = open }
}

// LargeBody sets the size of the largest body in bytes; 5 MB and a bit if it is not given.
func LargeBody(size int) Option {
	return func(s *suite) { s.large = size }
}

// Abilities says that the store has what the contract leaves open: a place for what is set aside, and notes
// ([cache.Marker]). Without it they are tested if they are there.
func Abilities() Option {
	return func(s *suite) { s.able = true }
}

// suite is one run of the contract.
type suite struct {
	open   func(*testing.T) cache.Store
	second func(*testing.T, cache.Store) cache.Store
	large  int
	able   bool
}

// Run tests a kind of store. Each call of open returns a store that holds nothing yet, and that ends by t.Cleanup
// if it needs to.
func Run(t *testing.T, open func(t *testing.T) cache.Store, options ...Option) {
	s := &suite{
		open:   open,
		second: func(_ *testing.T, first cache.Store) cache.Store { return first },
		large:  5<<20 + 12_345,
	}
	for _, option := range options {
		option(s)
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, *suite)
	}{
		{"Miss", testMiss},
		{"RoundTrip", testRoundTrip},
		{"Body", testBody},
		{"WriteOnce", testWriteOnce},
		{"NothingBeforeCommit", testNothingBeforeCommit},
		{"SizeMismatch", testSizeMismatch},
		{"Spent", testSpent},
		{"Isolation", testIsolation},
		{"Delete", testDelete},
		{"DeleteWhileReading", testDeleteWhileReading},
		{"List", testList},
		{"ListWhileWriting", testListWhileWriting},
		{"Canceled", testCanceled},
		{"RaceOfWriters", testRaceOfWriters},
		{"RaceOfDeleters", testRaceOfDeleters},
		{"ManyKeys", testManyKeys},
		{"SecondHandle", testSecondHandle},
		{"SetAside", testSetAside},
		{"ReadRecord", testReadRecord},
		{"Marks", testMarks},
		{"RaceOfMarks", testRaceOfMarks},
		{"Quarantine", testQuarantine},
		{"RaceOfQuarantiners", testRaceOfQuarantiners},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) })
	}
}

// Key returns the key of hash in the trusted scope of the default workspace.
func Key(hash string) cache.Key {
	return cache.Key{Workspace: cache.DefaultWorkspace, Scope: cache.Trusted, Hash: cache.Hash(hash)}
}

// Body returns size bytes that do not compress and that differ for each seed.
func Body(seed uint64, size int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	body := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(body) // never fails
	return body
}

// Record returns a record with every field set that fits body.
func Record(body []byte) cache.Record {
	return cache.Record{
		Size:     int64(len(body)),
		SHA256:   sha256.Sum256(body),
		Content:  artifact.Digest(sha256.Sum256([]byte("content"))),
		Inflated: 3 * int64(len(body)),
		Members:  7,
		Opaque:   true,
		Created:  time.Date(2026, 2, 3, 4, 5, 6, 789_012_345, time.UTC),
		Producer: cache.Producer{
			Kind: "ci", TokenID: "tok_1", TokenName: "CI of \"web\" <ü>", Developer: "ann",
			Provider: "github", Issuer: "https://token.example.com", Subject: "repo:acme/web:ref:refs/heads/main", Session: "ses_1",
			Repository: "acme/web", RepositoryID: "456789", OwnerID: "123456", SourceID: "456790",
			Event: "push", Ref: "refs/heads/main", Commit: "5b7f6a1e", RunID: "1658821493", RunAttempt: "2", Job: "build",
			WorkflowRef: "acme/web/.github/workflows/ci.yml@refs/heads/main", Actor: "octo", ActorID: "583231",
		},
		Seal: "v1.0123456789ab.bWFj",
	}
}

// Put stores body under key and returns what Create, Write or Commit says.
func Put(ctx context.Context, store cache.Store, key cache.Key, body []byte) error {
	draft, err := store.Create(ctx, key)
	if err != nil {
		return err
	}
	defer draft.Abort()
	if _, err := io.Copy(draft, bytes.NewReader(body)); err != nil {
		return err
	}
	return draft.Commit(ctx, Record(body))
}

// Get returns the entry under key and its body. It is an error if the body does not fit the record.
func Get(ctx context.Context, store cache.Store, key cache.Key) (entry cache.Entry, body []byte, err error) {
	object, err := store.Open(ctx, key)
	if err != nil {
		return cache.Entry{}, nil, err
	}
	defer func() { err = errors.Join(err, object.Close()) }()
	if body, err = io.ReadAll(object.Body); err != nil {
		return object.Entry, body, fmt.Errorf("read the body: %w", err)
	}
	if object.Key != key {
		return object.Entry, body, fmt.Errorf("asked for %q, got the entry of %q", key, object.Key)
	}
	if int64(len(body)) != object.Record.Size || sha256.Sum256(body) != object.Record.SHA256 {
		return object.Entry, body, fmt.Errorf("the body, %d bytes, does not fit its record, %+v", len(body), object.Record)
	}
	return object.Entry, body, nil
}

func mustPut(t *testing.T, store cache.Store, key cache.Key, body []byte) {
	t.Helper()
	if err := Put(t.Context(), store, key, body); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

// wantEntry fails unless the store has body under key.
func wantEntry(t *testing.T, store cache.Store, key cache.Key, body []byte) {
	t.Helper()
	entry, got, err := Get(t.Context(), store, key)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	if !bytes.Equal(got, body) {
		t.Fatalf("get %q: got %d bytes that are not the %d bytes that were put", key, len(got), len(body))
	}
	if diff := cmp.Diff(cache.Entry{Key: key, Record: Record(body)}, entry); diff != "" {
		t.Fatalf("the entry changed (-put +got):\n%s", diff)
	}
}

// wantMiss fails unless the store has nothing under key.
func wantMiss(t *testing.T, store cache.Store, key cache.Key) {
	t.Helper()
	object, err := store.Open(t.Context(), key)
	if err == nil {
		_ = object.Close()
	}
	if !errors.Is(err, cache.ErrNotExist) {
		t.Fatalf("open %q: got %v, want ErrNotExist", key, err)
	}
}

// wantList fails unless the listing has exactly these keys, each once.
func wantList(t *testing.T, store cache.Store, workspace cache.Workspace, keys ...cache.Key) {
	t.Helper()
	got := make(map[cache.Key]int)
	for entry, err := range store.List(t.Context(), workspace) {
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		got[entry.Key]++
	}
	want := make(map[cache.Key]int)
	for _, key := range keys {
		want[key] = 1
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("list of %q (-want +got):\n%s", workspace, diff)
	}
}

// begin returns a draft of key with body written to it. The store must not know the key yet.
func begin(t *testing.T, store cache.Store, key cache.Key, body []byte) cache.Draft {
	t.Helper()
	draft, err := store.Create(t.Context(), key)
	if err != nil {
		t.Fatalf("create %q: %v", key, err)
	}
	t.Cleanup(draft.Abort)
	if _, err := draft.Write(body); err != nil {
		t.Fatalf("write %q: %v", key, err)
	}
	return draft
}
