//go:build unix

package keyring

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWarnsOfReadableFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	write(t, path, key(1)+"\n")
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o620: true, 0o660: true, 0o644: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		ring, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(ring.Warnings(), "\n")
		if (text != "") != warned || warned && !strings.Contains(text, path) {
			t.Errorf("mode %o: %q", mode, text)
		}
	}
}

func TestEditKeepsModeAndLink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	write(t, path, key(1)+"\n")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Add(link); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	if target, err := os.Readlink(link); err != nil || target != "real" {
		t.Errorf("the link is %q, %v", target, err)
	}
	if ring, err := Open(link); err != nil || len(ring.keys) != 2 {
		t.Errorf("got %v, %v", ring, err)
	}
}

// TestFIFO must not wait for somebody to write.
func TestFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	if err := syscall.Mkfifo(path, fileMode); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("got %v", err)
	}
}
