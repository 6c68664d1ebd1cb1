package fs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMarkNames(t *testing.T) {
	s := open(t, t.TempDir())
	for _, name := range []string{"", "..", "a/b", "a\x00", "A", "a.b", strings.Repeat("a", 33)} {
		if err := s.SetMark(t.Context(), name, nil, []byte("x")); err == nil {
			t.Errorf("a note called %q was written", name)
		}
		if _, err := s.Mark(t.Context(), name); err == nil || errors.Is(err, cache.ErrNotExist) {
			t.Errorf("a note called %q: got %v", name, err)
		}
	}
	if err := s.SetMark(t.Context(), "sealed-by", nil, []byte("x\n")); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(t, s.dir), " "); got != "FORMAT MARK-SEALED-BY damaged entries tmp" {
		t.Errorf("the directory has %s", got)
	}
	if got, err := os.ReadFile(filepath.Join(s.dir, "MARK-SEALED-BY")); err != nil || string(got) != "x\n" {
		t.Errorf("the note's file has %q, %v", got, err)
	}
	if got := names(t, s.session.dir); len(got) != 1 {
		t.Errorf("%v are left in tmp/, want the lock alone", got)
	}
}

// TestMarkTrouble: what cannot be read is no missing note, or a server would claim the store of another.
func TestMarkTrouble(t *testing.T) {
	s := open(t, t.TempDir())
	path := filepath.Join(s.dir, "MARK-A")
	for _, c := range []struct {
		what string
		make func() error
	}{
		{"a directory", func() error { return os.Mkdir(path, dirMode) }},
		{"a dangling link", func() error { return os.Symlink("nowhere", path) }},
		{"too long", func() error { return os.WriteFile(path, make([]byte, cache.MaxMark+1), fileMode) }},
	} {
		if err := c.make(); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Mark(t.Context(), "a"); err == nil || errors.Is(err, cache.ErrNotExist) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %q, %v", c.what, got, err)
		}
		if err := s.SetMark(t.Context(), "a", nil, []byte("x")); !errors.Is(err, cache.ErrExist) {
			t.Errorf("%s: made anew: %v", c.what, err)
		}
		if err := s.SetMark(t.Context(), "a", []byte("old"), []byte("x")); err == nil || errors.Is(err, cache.ErrNotExist) {
			t.Errorf("%s: replaced: %v", c.what, err)
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSetAsideIsKept: the file is in damaged/ for whoever looks into it, and the trouble of moving it is told.
func TestSetAsideIsKept(t *testing.T) {
	s := open(t, t.TempDir())
	key := storetest.Key("1")
	put(t, s, key, []byte("body"))
	object, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	if err := object.SetAside("a reason"); err != nil {
		t.Fatal(err)
	}
	kept := names(t, s.damaged)
	if len(kept) != 1 || !strings.HasSuffix(kept[0], "-1") {
		t.Errorf("%v are kept", kept)
	}
	wantReusable(t, s, key, "set aside")
}
