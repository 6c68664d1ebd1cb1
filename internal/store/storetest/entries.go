package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

func testMiss(t *testing.T, s *suite) {
	store := s.open(t)
	wantMiss(t, store, Key("1"))
	if err := store.Delete(t.Context(), Key("1")); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("delete: got %v, want ErrNotExist", err)
	}
	wantList(t, store, "")
	wantList(t, store, cache.DefaultWorkspace)
}

func testRoundTrip(t *testing.T, s *suite) {
	store := s.open(t)
	for _, size := range []int{0, 1, 100, 4095, 4096, 70_000, s.large} {
		key := Key(fmt.Sprint(size))
		body := Body(uint64(size), size)
		mustPut(t, store, key, body)
		wantEntry(t, store, key, body)
		wantEntry(t, store, key, body) // once more: the first reading may be a special one
	}
}

func testBody(t *testing.T, s *suite) {
	store := s.open(t)
	body := Body(1, 150_000)
	mustPut(t, store, Key("1"), body)
	open := func(t *testing.T) *cache.Object {
		object, err := store.Open(t.Context(), Key("1"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = object.Close() })
		return object
	}
	t.Run("copied", func(t *testing.T) {
		var got bytes.Buffer
		if n, err := io.Copy(&got, open(t).Body); n != int64(len(body)) || err != nil {
			t.Fatalf("copied %d bytes, %v", n, err)
		}
		if !bytes.Equal(got.Bytes(), body) {
			t.Error("the bytes differ")
		}
	})
	t.Run("read, then copied", func(t *testing.T) {
		object := open(t)
		head := make([]byte, 1000)
		if _, err := io.ReadFull(object.Body, head); err != nil {
			t.Fatal(err)
		}
		var rest bytes.Buffer
		if _, err := io.Copy(&rest, object.Body); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(append(head, rest.Bytes()...), body) {
			t.Error("the bytes differ")
		}
	})
	t.Run("ends", func(t *testing.T) {
		object := open(t)
		if _, err := io.Copy(io.Discard, object.Body); err != nil {
			t.Fatal(err)
		}
		if n, err := object.Body.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("at the end: got %d bytes, %v; want io.EOF", n, err)
		}
		if n, err := io.Copy(io.Discard, object.Body); n != 0 || err != nil {
			t.Errorf("copied at the end: got %d bytes, %v", n, err)
		}
	})
	t.Run("closed early and twice", func(t *testing.T) {
		object := open(t)
		if _, err := object.Body.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := object.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	})
}

// nastyScopes are valid scopes that a store must tell apart, and that must not leave their place.
func nastyScopes() []cache.Scope {
	names := []string{
		"trusted", "pr/1", "pr/17", "pr/1/7", "pr/1%2F7", "pr/1%2f7", "pr/1%252F7",
		"branch/main", "branch/Main", "branch/MAIN", "branch/main/", "branch//main", "branch/main.", "branch/main ", "branch/ main",
		"branch/refs/heads/fix", "branch/refs\\heads\\fix", "branch/trusted",
		"dev/.", "dev/..", "dev/../trusted", "dev/../../trusted", "dev/./x", "dev//", "dev///", "dev/con", "dev/nul.txt", "dev/a:b", "dev/-rf", "dev/~",
		"dev/ü", "dev/u\u0308", "dev/Ü", "dev/\u212a", "dev/k", "dev/K", "dev/ﬁ", "dev/日本語", "dev/\xff", "dev/\xfe", "dev/\ufffd", "dev/?*<>|\"'&#+=",
		"run/" + strings.Repeat("x", cache.MaxScopeName), "run/" + strings.Repeat("x", cache.MaxScopeName-1),
		"run/" + strings.Repeat("x", cache.MaxScopeName-1) + "y", "run/" + strings.Repeat("/", cache.MaxScopeName),
		"run/" + strings.Repeat("é", cache.MaxScopeName/2), "run/" + strings.Repeat("../", cache.MaxScopeName/3),
	}
	scopes := make([]cache.Scope, len(names))
	for i, name := range names {
		scopes[i] = cache.Scope(name)
	}
	return scopes
}

func nastyKeys(t *testing.T) []cache.Key {
	var keys []cache.Key
	for _, scope := range nastyScopes() {
		keys = append(keys, cache.Key{Workspace: cache.DefaultWorkspace, Scope: scope, Hash: "1"})
	}
	for _, hash := range []string{
		"12777289511367993887", "Ab", "aB", "ab", "AB", "-", "--", "-rf", "_", "con", "CON", "nul", "com1", "entry", "a-b", "a_b",
		strings.Repeat("A", cache.MaxHash), strings.Repeat("a", cache.MaxHash), strings.Repeat("a", cache.MaxHash-1), strings.Repeat("aB", cache.MaxHash/2), strings.Repeat("-", cache.MaxHash),
	} {
		keys = append(keys, cache.Key{Workspace: cache.DefaultWorkspace, Scope: cache.Trusted, Hash: cache.Hash(hash)})
	}
	for _, workspace := range []string{"web", "web-", "web_", "w", "0", "con", "trusted", strings.Repeat("w", cache.MaxWorkspace), strings.Repeat("w", cache.MaxWorkspace-1)} {
		keys = append(keys,
			cache.Key{Workspace: cache.Workspace(workspace), Scope: cache.Trusted, Hash: "1"},
			cache.Key{Workspace: cache.Workspace(workspace), Scope: "pr/1", Hash: "1"})
	}
	unique := make(map[cache.Key]bool)
	result := keys[:0]
	for _, key := range keys {
		_, err1 := cache.ParseWorkspace(string(key.Workspace))
		_, err2 := cache.ParseScope(string(key.Scope))
		_, err3 := cache.ParseHash(string(key.Hash))
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatalf("the suite's own key %q: %v", key, err)
		}
		if !unique[key] {
			unique[key] = true
			result = append(result, key)
		}
	}
	return result
}

// testIsolation holds many keys with look-alike names at once; none may answer for another.
func testIsolation(t *testing.T, s *suite) {
	store := s.open(t)
	keys := nastyKeys(t)
	body := func(i int) []byte { return fmt.Appendf(nil, "body %d", i) }
	for i, key := range keys {
		wantMiss(t, store, key)
		mustPut(t, store, key, body(i))
	}
	for i, key := range keys {
		wantEntry(t, store, key, body(i))
		if err := Put(t.Context(), store, key, []byte("another")); !errors.Is(err, cache.ErrExist) {
			t.Fatalf("put %q again: got %v, want ErrExist", key, err)
		}
	}
	wantList(t, store, "", keys...)
	perWorkspace := make(map[cache.Workspace][]cache.Key)
	for _, key := range keys {
		perWorkspace[key.Workspace] = append(perWorkspace[key.Workspace], key)
	}
	for workspace, keys := range perWorkspace {
		wantList(t, store, workspace, keys...)
	}
	for i, key := range keys {
		if i%2 == 0 {
			if err := store.Delete(t.Context(), key); err != nil {
				t.Fatalf("delete %q: %v", key, err)
			}
		}
	}
	for i, key := range keys {
		if i%2 == 0 {
			wantMiss(t, store, key)
		} else {
			wantEntry(t, store, key, body(i))
		}
	}
}
