//go:build unix

package fs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestAlone: of those who want a directory to themselves one gets it, until it is closed; others may use it beside.
func TestAlone(t *testing.T) {
	dir := t.TempDir()
	first := openWith(t, dir, Options{Alone: true})
	if second, err := Open(dir, Options{Alone: true}); !errors.Is(err, ErrTaken) {
		if err == nil {
			_ = second.Close()
		}
		t.Fatalf("got %v, want %v", err, ErrTaken)
	}
	// Nothing is left of the attempt, and a command may look at what a server has.
	if sessions, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(sessions) != 1 {
		t.Errorf("%d sessions, %v", len(sessions), err)
	}
	open(t, dir)
	for range 2 {
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
	}
	openWith(t, dir, Options{Alone: true})
}
