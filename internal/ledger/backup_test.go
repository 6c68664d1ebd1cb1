package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/trust"
)

// TestBackupBesideAWriter: each copy is the ledger of one moment, with all tokens up to one and none after it.
func TestBackupBesideAWriter(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	l := openTest(t, dir)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	begun := make(chan struct{})
	written := 0
	wg.Go(func() {
		for ; ctx.Err() == nil; written++ {
			token := newToken(fmt.Sprintf("t%06d", written), "web")
			token.Created = created
			if err := l.CreateToken(context.Background(), token); err != nil {
				t.Error(err)
				return
			}
			if written == 10 {
				close(begun)
			}
		}
	})
	<-begun
	for i := range 5 {
		file := filepath.Join(to, fmt.Sprint(i), FileName)
		if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := Backup(t.Context(), dir, file); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
	}
	stop()
	wg.Wait()
	before := 0
	for i := range 5 {
		restored := openTest(t, filepath.Join(to, fmt.Sprint(i)))
		tokens, err := restored.Tokens(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(tokens) < max(11, before) || len(tokens) > written {
			t.Errorf("copy %d has %d tokens of %d, the one before %d", i, len(tokens), written, before)
		}
		names := map[trust.TokenHash]bool{}
		last := ""
		for _, token := range tokens {
			names[token.Hash] = true
			last = max(last, token.Name)
		}
		if want := fmt.Sprintf("t%06d", len(tokens)-1); last != want || len(names) != len(tokens) {
			t.Errorf("copy %d has %d tokens, and the last one is %s", i, len(tokens), last)
		}
		before = len(tokens)
		if err := restored.CreateToken(t.Context(), newToken("new", "web")); err != nil {
			t.Error(err)
		}
	}
}

func TestBackupIsOfTheSameSchema(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	token := newToken("a", "web")
	makeVersionOne(t, dir, token)
	if err := Backup(t.Context(), dir, filepath.Join(to, FileName)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, to} {
		var v int
		if err := raw(t, dir).QueryRowContext(t.Context(), `SELECT max(version) FROM schema_versions`).Scan(&v); err != nil || v != 1 {
			t.Errorf("version %d: %v", v, err)
		}
	}
	if tokens, err := openTest(t, to).Tokens(t.Context()); err != nil || len(tokens) != 1 || tokens[0].Hash != token.Hash {
		t.Error(tokens, err)
	}
}

func TestBackupRefuses(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	openTest(t, dir)
	target := filepath.Join(to, "backup.db")
	left := func() int {
		files, err := os.ReadDir(to)
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	if err := Backup(t.Context(), t.TempDir(), target); !errors.Is(err, fs.ErrNotExist) || left() != 0 {
		t.Errorf("of no ledger: %v, %d files", err, left())
	}
	if err := Backup(t.Context(), dir, filepath.Join(to, "none", "backup.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("to nowhere: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := Backup(ended, dir, target); !errors.Is(err, context.Canceled) || left() != 0 {
		t.Errorf("broken off: %v, %d files", err, left())
	}
	foreign := t.TempDir()
	execute(t, raw(t, foreign), `CREATE TABLE t (a)`)
	if err := Backup(t.Context(), foreign, target); !errors.Is(err, ErrForeign) || left() != 0 {
		t.Errorf("of another program's: %v, %d files", err, left())
	}
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, FileName), make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Backup(t.Context(), damaged, target); !errors.Is(err, ErrDamaged) || left() != 0 {
		t.Errorf("of what is damaged: %v, %d files", err, left())
	}
	if err := os.WriteFile(target, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Backup(t.Context(), dir, target); !errors.Is(err, fs.ErrExist) || left() != 1 {
		t.Errorf("over a file: %v, %d files", err, left())
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "mine" {
		t.Errorf("%s %v", got, err)
	}
	// Also one that comes in between.
	temp := filepath.Join(to, "temp")
	if err := os.WriteFile(temp, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := name(temp, target); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
}

// TestADamagedCopyIsNotKept: the pages at the end are broken.
func TestADamagedCopyIsNotKept(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if err := l.CreateToken(t.Context(), newToken(fmt.Sprintf("t%d", i), "web")); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, FileName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(data) - 8192; i < len(data); i++ {
		data[i] ^= 0x5a
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkCopy(t.Context(), path); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	to := t.TempDir()
	if err := Backup(t.Context(), dir, filepath.Join(to, "backup.db")); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	if files, err := os.ReadDir(to); err != nil || len(files) != 0 {
		t.Error(files, err)
	}
}
