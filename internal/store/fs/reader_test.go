package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// state describes all files below dir, but those of sessions, which live by themselves.
func state(t *testing.T, dir string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && !strings.HasPrefix(path, filepath.Join(dir, "tmp")) {
			lines = append(lines, fmt.Sprint(path, info.Mode(), info.Size(), info.ModTime()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestReader looks at good and bad entries beside a running store, and changes nothing.
func TestReader(t *testing.T) {
	s := openWith(t, t.TempDir(), Options{Logger: discard()})
	body := storetest.Body(1, 100_000)
	key := storetest.Key
	put(t, s, key("good"), body)
	file := whole(t, key("flipped"), body)
	file[5] ^= 1
	lay(t, s, key("flipped"), file)
	lay(t, s, key("foreign"), whole(t, key("good"), body))
	lay(t, s, key("cut"), whole(t, key("cut"), body)[:5000])
	before := state(t, s.dir)
	r, err := OpenReader(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		hash   cache.Hash
		damage string
		key    cache.Key
		body   []byte
	}{
		{"good", "", key("good"), body},
		{"flipped", "does not have the SHA-256", key("flipped"), file[:len(body)]},
		{"foreign", `the entry of another key, "default trusted good"`, key("good"), body},
		{"cut", "does not end like an entry", cache.Key{}, nil},
	} {
		for range 2 {
			f, err := r.Look(t.Context(), key(string(c.hash)))
			if err != nil {
				t.Fatalf("%s: %v", c.hash, err)
			}
			if (f.Damage != nil) != (c.damage != "") || f.Damage != nil && !strings.Contains(f.Damage.Error(), c.damage) {
				t.Errorf("%s: damage %v", c.hash, f.Damage)
			}
			if f.Key != c.key || !strings.HasSuffix(f.Path, string(c.hash)) {
				t.Errorf("%s: found %q in %s", c.hash, f.Key, f.Path)
			}
			if c.body != nil {
				if got, err := io.ReadAll(f.Body); err != nil || !bytes.Equal(got, c.body) {
					t.Errorf("%s: read %d bytes, %v", c.hash, len(got), err)
				}
			} else if f.Body != nil {
				t.Errorf("%s: there is a body", c.hash)
			}
			f.Close()
		}
	}
	if _, err := r.Look(t.Context(), key("none")); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	if diff := cmp.Diff(before, state(t, s.dir)); diff != "" {
		t.Errorf("looking changed the directory (-before +after):\n%s", diff)
	}
}

func TestReaderScopes(t *testing.T) {
	s := open(t, t.TempDir())
	long := cache.Scope("run/" + strings.Repeat("x", cache.MaxScopeName))
	for _, scope := range []cache.Scope{cache.Trusted, "pr/17", long} {
		put(t, s, cache.Key{Workspace: "web", Scope: scope, Hash: "1"}, nil)
	}
	put(t, s, cache.Key{Workspace: "web", Scope: "pr/18", Hash: "2"}, nil)
	put(t, s, cache.Key{Workspace: "api", Scope: "pr/19", Hash: "1"}, nil)
	r, err := OpenReader(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		workspace cache.Workspace
		most      int
		want      int
	}{{"web", 10, 3}, {"web", 2, 2}, {"none", 10, 0}} {
		got, err := r.Scopes(t.Context(), c.workspace, "1", c.most)
		if err != nil || len(got) != c.want {
			t.Errorf("%s: got %q, %v", c.workspace, got, err)
		}
		if c.want == 3 && !cmp.Equal(got, []cache.Scope{"pr/17", long, cache.Trusted}) {
			t.Errorf("got %q", got)
		}
	}
}

func TestReaderMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := OpenReader(dir); !errors.Is(err, iofs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
	if err := errors.Join(os.Mkdir(dir, dirMode), os.WriteFile(filepath.Join(dir, "FORMAT"), []byte("bezoar-store 9\n"), fileMode)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReader(dir); err == nil || !strings.Contains(err.Error(), "another version of bezoar") {
		t.Errorf("got %v", err)
	}
}
