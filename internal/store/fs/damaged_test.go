package fs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// whole returns the file of a whole entry.
func whole(t testing.TB, key cache.Key, body []byte) []byte {
	t.Helper()
	tail, err := encodeTail(cache.Entry{Key: key, Record: storetest.Record(body)})
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(body), tail...)
}

// lay puts a file in the place of key, past the store.
func lay(t testing.TB, s *Store, key cache.Key, file []byte) (path string) {
	t.Helper()
	path = s.path(key)
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file, fileMode); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantDamaged fails unless key is damaged, once, and can be used anew.
func wantDamaged(t *testing.T, s *Store, key cache.Key, what string) {
	t.Helper()
	if _, _, err := storetest.Get(t.Context(), s, key); !errors.Is(err, cache.ErrDamaged) {
		t.Fatalf("%s: got %v, want ErrDamaged", what, err)
	}
	if _, _, err := storetest.Get(t.Context(), s, key); !errors.Is(err, cache.ErrNotExist) {
		t.Fatalf("%s, afterwards: got %v, want ErrNotExist", what, err)
	}
	wantReusable(t, s, key, what)
}

// wantReusable fails unless key takes a new entry. It leaves the key free.
func wantReusable(t *testing.T, s *Store, key cache.Key, what string) {
	t.Helper()
	body := []byte("uploaded anew")
	put(t, s, key, body)
	if _, got, err := storetest.Get(t.Context(), s, key); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("%s, uploaded anew: got %q, %v", what, got, err)
	}
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

// forget makes the store as one that has just been started: it trusts no file.
func forget(s *Store) { s.memo = newMemo() }

func TestLaidEntryIsServed(t *testing.T) {
	s := open(t, t.TempDir())
	body := storetest.Body(1, 1000)
	lay(t, s, storetest.Key("1"), whole(t, storetest.Key("1"), body))
	if _, got, err := storetest.Get(t.Context(), s, storetest.Key("1")); err != nil || !bytes.Equal(got, body) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestDamagedAtEveryByte(t *testing.T) {
	s := openWith(t, t.TempDir(), Options{Logger: discard(), KeepDamaged: 1})
	key := storetest.Key("12777289511367993887")
	put(t, s, storetest.Key("1"), nil) // keeps the directories
	file := whole(t, key, storetest.Body(1, 40))
	want := func(damaged []byte, what string) {
		t.Helper()
		lay(t, s, key, damaged)
		forget(s)
		if object, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrDamaged) {
			t.Fatalf("%s: got %+v, %v, want ErrDamaged", what, object, err)
		}
		if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
			t.Fatalf("%s, afterwards: got %v, want ErrNotExist", what, err)
		}
	}
	for i := range file {
		want(file[:i], fmt.Sprintf("cut to %d bytes", i))
		for _, flip := range []byte{0x01, 0x20, 0xff} {
			flipped := bytes.Clone(file)
			flipped[i] ^= flip
			want(flipped, fmt.Sprintf("byte %d ^ %#x", i, flip))
		}
	}
	wantReusable(t, s, key, "after all of it")
}

func TestDamagedFiles(t *testing.T) {
	const page = 4096
	key, other := storetest.Key("1"), storetest.Key("2")
	body := storetest.Body(1, 5*page)
	file := whole(t, key, body)
	files := map[string][]byte{
		"empty":                     {},
		"zeros of the same size":    make([]byte, len(file)),
		"text":                      []byte("This file has nothing to do with bezoar, but somebody put it here."),
		"one byte more":             append(bytes.Clone(file), 0),
		"one byte more in front":    append([]byte{0}, file...),
		"twice":                     append(bytes.Clone(file), file...),
		"footer only":               file[len(file)-footerSize:],
		"without its body":          file[len(body):],
		"the entry of another hash": whole(t, other, body),
		"the entry of another scope": whole(t,
			cache.Key{Workspace: key.Workspace, Scope: "pr/1", Hash: key.Hash}, body),
		"the entry of another workspace": whole(t,
			cache.Key{Workspace: "web", Scope: key.Scope, Hash: key.Hash}, body),
		"another body of the same size": append(storetest.Body(2, len(body)), file[len(body):]...),
	}
	for i := 0; i < len(file); i += page {
		torn := bytes.Clone(file)
		clear(torn[i:min(i+page, len(torn))])
		files[fmt.Sprintf("page %d is zero", i/page)] = torn
	}
	for name, damaged := range files {
		t.Run(name, func(t *testing.T) {
			t.Run("opened", func(t *testing.T) {
				s := openWith(t, t.TempDir(), Options{Logger: discard()})
				put(t, s, other, body)
				lay(t, s, key, damaged)
				wantDamaged(t, s, key, name)
				if _, _, err := storetest.Get(t.Context(), s, other); err != nil {
					t.Errorf("the entry beside it: %v", err)
				}
				if got := names(t, s.damaged); len(got) != 1 {
					t.Errorf("%v are kept, want the damaged file", got)
				}
			})
			t.Run("written over", func(t *testing.T) {
				s := openWith(t, t.TempDir(), Options{Logger: discard()})
				lay(t, s, key, damaged)
				wantReusable(t, s, key, name)
			})
			t.Run("there at the commit", func(t *testing.T) {
				s := openWith(t, t.TempDir(), Options{Logger: discard()})
				draft, err := s.Create(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				defer draft.Abort()
				if _, err := draft.Write(body); err != nil {
					t.Fatal(err)
				}
				lay(t, s, key, damaged)
				if err := draft.Commit(t.Context(), storetest.Record(body)); err != nil {
					t.Fatal(err)
				}
				if _, got, err := storetest.Get(t.Context(), s, key); err != nil || !bytes.Equal(got, body) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
			})
			t.Run("deleted", func(t *testing.T) {
				s := openWith(t, t.TempDir(), Options{Logger: discard()})
				lay(t, s, key, damaged)
				if err := s.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
				wantReusable(t, s, key, name)
			})
		})
	}
}

// TestSwapped exchanges the files of two entries.
func TestSwapped(t *testing.T) {
	s := openWith(t, t.TempDir(), Options{Logger: discard()})
	a, b := storetest.Key("1"), cache.Key{Workspace: "default", Scope: "pr/1", Hash: "1"}
	put(t, s, a, []byte("body of trusted"))
	put(t, s, b, []byte("body of a pull"))
	third := filepath.Join(s.dir, "third")
	for _, move := range [][2]string{{s.path(a), third}, {s.path(b), s.path(a)}, {third, s.path(b)}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	wantDamaged(t, s, a, "swapped")
	wantDamaged(t, s, b, "swapped")
}

// TestEdited changes files that the store has written or verified itself.
func TestEdited(t *testing.T) {
	key := storetest.Key("1")
	for _, verified := range []bool{false, true} {
		s := openWith(t, t.TempDir(), Options{Logger: discard()})
		put(t, s, key, storetest.Body(1, 1000))
		if verified {
			forget(s)
			if _, _, err := storetest.Get(t.Context(), s, key); err != nil {
				t.Fatal(err)
			}
		}
		before := stat(t, s.path(key))
		// The clock of file times ticks every few milliseconds: write until it has.
		eventually(t, "the file has another time", func() bool {
			f, err := os.OpenFile(s.path(key), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, errWrite := f.WriteAt([]byte("edited"), 100)
			if err := errors.Join(errWrite, f.Close()); err != nil {
				t.Fatal(err)
			}
			return !stat(t, s.path(key)).ModTime().Equal(before.ModTime())
		})
		wantDamaged(t, s, key, "edited")
	}
}

// TestLaterVersion keeps a server that was set back to an older release from setting good entries aside.
func TestLaterVersion(t *testing.T) {
	s := open(t, t.TempDir())
	key := storetest.Key("1")
	file := whole(t, key, []byte("body"))
	footer := file[len(file)-footerSize:]
	footer[7] = formatVersion + 1
	reseal(file, 4)
	path := lay(t, s, key, file)
	_, err := s.Open(t.Context(), key)
	if !errors.Is(err, errLater) || isFree(err) {
		t.Errorf("open: got %v, want trouble of its own kind", err)
	}
	if err := storetest.Put(t.Context(), s, key, []byte("body")); !errors.Is(err, errLater) {
		t.Errorf("put: got %v", err)
	}
	stat(t, path)
}

func TestListSetsAside(t *testing.T) {
	s := openWith(t, t.TempDir(), Options{Logger: discard()})
	put(t, s, storetest.Key("1"), []byte("one"))
	put(t, s, storetest.Key("2"), []byte("two"))
	lay(t, s, storetest.Key("3"), whole(t, storetest.Key("1"), []byte("one")))
	lay(t, s, storetest.Key("4"), []byte("nothing"))
	if err := os.WriteFile(filepath.Join(filepath.Dir(s.path(storetest.Key("1"))), ".nfs0001"), nil, fileMode); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.entries, "README"), nil, fileMode); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ entries, damaged, other int }{{2, 2, 1}, {2, 0, 1}} {
		got := struct{ entries, damaged, other int }{}
		for _, err := range s.List(t.Context(), "") {
			switch {
			case err == nil:
				got.entries++
			case errors.Is(err, cache.ErrDamaged):
				got.damaged++
			default:
				got.other++
			}
		}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestDamagedAreFew(t *testing.T) {
	s := openWith(t, t.TempDir(), Options{Logger: discard(), KeepDamaged: 3})
	for i := range 10 {
		key := storetest.Key(fmt.Sprint(i))
		lay(t, s, key, []byte("nothing"))
		wantDamaged(t, s, key, "nothing")
	}
	if got := names(t, s.damaged); len(got) != 3 {
		t.Errorf("%d are kept, want 3", len(got))
	}
}

// TestSetAsideTooLate has another server set a damaged file aside and commit a whole entry, just before this one
// moves what it takes for the damaged file.
func TestSetAsideTooLate(t *testing.T) {
	dir := t.TempDir()
	s, other := openWith(t, dir, Options{Logger: discard()}), openWith(t, dir, Options{Logger: discard()})
	key := storetest.Key("1")
	body := []byte("whole")
	replace := func() {
		if _, err := other.Open(t.Context(), key); !errors.Is(err, cache.ErrDamaged) {
			t.Errorf("the other server: got %v, want ErrDamaged", err)
		}
		put(t, other, key, body)
	}
	lay(t, s, key, []byte("nothing"))
	s.rename = func(from, to string) error {
		replace()
		return os.Rename(from, to)
	}
	if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrDamaged) {
		t.Fatalf("got %v, want ErrDamaged", err)
	}
	s.rename = os.Rename
	if _, got, err := storetest.Get(t.Context(), s, key); err != nil || !bytes.Equal(got, body) {
		t.Errorf("got %q, %v, want the whole entry", got, err)
	}
	if got := names(t, s.damaged); len(got) != 1 {
		t.Errorf("%v are kept, want the damaged file alone", got)
	}
}

// TestCannotSetAside has no way to move a file, but can remove it.
// TestDamagedCleared: a person who frees space by removing damaged/, or puts something else there, does not make keys unusable.
func TestDamagedCleared(t *testing.T) {
	s := open(t, t.TempDir())
	key := storetest.Key("1")
	for _, c := range []struct {
		what  string
		after func() error
	}{
		{"removed", func() error { return nil }},
		{"replaced by a file", func() error { return os.WriteFile(s.damaged, nil, fileMode) }},
		{"replaced by a dangling link", func() error { return os.Symlink("nowhere", s.damaged) }},
	} {
		if err := errors.Join(os.RemoveAll(s.damaged), c.after()); err != nil {
			t.Fatal(err)
		}
		lay(t, s, key, []byte("damaged"))
		wantDamaged(t, s, key, c.what)
	}
}

func TestCannotSetAside(t *testing.T) {
	s := openWith(t, t.TempDir(), Options{Logger: discard()})
	s.rename = func(from, to string) error { return errors.New("no way") }
	lay(t, s, storetest.Key("1"), []byte("nothing"))
	wantDamaged(t, s, storetest.Key("1"), "nothing")
}

func stat(t testing.TB, path string) os.FileInfo {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func names(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
