package keyring

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), fileMode); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, path, text string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, string(got)); diff != "" {
		t.Errorf("the file (-want +got):\n%s", diff)
	}
}

// wantAlone fails if there is anything beside the file.
func wantAlone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 || entries[0].Name() != filepath.Base(path) {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}

func TestOpenOrCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "seal.key")
	if _, err := Open(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("without a file: got %v", err)
	}
	first, created, err := OpenOrCreate(path)
	if err != nil || !created || len(first.IDs()) != 1 {
		t.Fatalf("got %v, %v, %v", first, created, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != fileMode {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	wantAlone(t, path)
	again, created, err := OpenOrCreate(path)
	if err != nil || created || !cmp.Equal(first.IDs(), again.IDs()) {
		t.Errorf("again: got %v, %v, %v", again, created, err)
	}
	if len(again.Warnings()) != 0 {
		t.Errorf("its own file is warned of: %q", again.Warnings())
	}
	other, _, err := OpenOrCreate(filepath.Join(t.TempDir(), "seal.key"))
	if err != nil || cmp.Equal(first.IDs(), other.IDs()) {
		t.Errorf("another file has the same key: %v, %v", other, err)
	}
}

// TestCreatedAtOnce has many servers make the same file.
func TestCreatedAtOnce(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "seal.key")
		var group errgroup.Group
		ids, made := make([]string, 8), make([]bool, 8)
		for i := range ids {
			group.Go(func() error {
				ring, created, err := OpenOrCreate(path)
				if err == nil {
					ids[i], made[i] = ring.IDs()[0], created
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		makers := 0
		for i := range ids {
			if ids[i] != ids[0] {
				t.Fatalf("the servers have the keys %v", ids)
			}
			if made[i] {
				makers++
			}
		}
		if makers != 1 {
			t.Fatalf("%d servers made the file", makers)
		}
		wantAlone(t, path)
	}
}

// TestWrongFilesStay: a file that is not understood is never replaced.
func TestWrongFilesStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	for _, text := range []string{"", key(1)[:40], key(1) + "\n" + key(1) + "\n"} {
		write(t, path, text)
		_, _, err := OpenOrCreate(path)
		if !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: got %v", text, err)
		}
		wantNoSecret(t, err)
		if _, _, err := Add(path); !errors.Is(err, ErrContent) {
			t.Errorf("add: got %v", err)
		}
		wantFile(t, path, text)
		wantAlone(t, path)
	}
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenOrCreate(path); err == nil {
		t.Error("a directory was taken for a key file")
	}
}

func TestEdits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	write(t, path, "# ours\n"+key(1)+" # of May\n\n# the old one\n"+key(2)+"\n")
	if err := Activate(path, id(2)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "# ours\n"+key(2)+"\n"+key(1)+" # of May\n\n# the old one\n")
	if err := Activate(path, id(2)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "# ours\n"+key(2)+"\n"+key(1)+" # of May\n\n# the old one\n")
	if err := Remove(path, id(2)); !errors.Is(err, ErrActive) {
		t.Errorf("remove the active key: got %v", err)
	}
	for _, name := range []string{id(3), "", id(1)[:4]} {
		if err := errors.Join(Remove(path, name), Activate(path, name)); !errors.Is(err, ErrNoKey) {
			t.Errorf("key %q: got %v", name, err)
		}
	}
	if err := Remove(path, id(1)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "# ours\n"+key(2)+"\n\n# the old one\n")
	added, active, err := Add(path)
	if err != nil || active {
		t.Fatalf("got %v, %v", active, err)
	}
	ring, err := Open(path)
	if err != nil || !cmp.Equal(ring.IDs(), []string{id(2), added}) {
		t.Errorf("got %v, %v", ring, err)
	}
	for range MaxKeys - 2 {
		if _, _, err := Add(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := Add(path); err == nil || !strings.Contains(err.Error(), "remove old ones") {
		t.Errorf("one too many: got %v", err)
	}
	wantAlone(t, path)
}

func TestAddMakesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	added, active, err := Add(path)
	if err != nil || !active {
		t.Fatalf("got %v, %v", active, err)
	}
	if ring, err := Open(path); err != nil || !cmp.Equal(ring.IDs(), []string{added}) {
		t.Errorf("got %v, %v", ring, err)
	}
	if _, _, err := Add(filepath.Join(path, "x")); err == nil {
		t.Error("a file was made below a file")
	}
}

// TestEditsAtOnce: of edits at the same time, some are refused and none is lost.
func TestEditsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	write(t, path, key(1)+"\n")
	added := make([]string, 8)
	var group errgroup.Group
	for i := range added {
		group.Go(func() error {
			id, _, err := Add(path)
			if errors.Is(err, ErrEditing) {
				return nil
			}
			added[i] = id
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	ring, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	want := 1
	for _, id := range added {
		if id == "" {
			continue
		}
		want++
		if _, ok := Keys(ring.keys).Find(id); !ok {
			t.Errorf("the key %s is lost", id)
		}
	}
	if len(ring.keys) != want {
		t.Errorf("there are %d keys, want %d", len(ring.keys), want)
	}
	wantAlone(t, path)
}

func TestBrokenOffEdit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	write(t, path, key(1)+"\n")
	write(t, path+".new", "")
	_, _, err := Add(path)
	if !errors.Is(err, ErrEditing) || !strings.Contains(err.Error(), path+".new") {
		t.Errorf("got %v", err)
	}
	wantFile(t, path, key(1)+"\n")
}
