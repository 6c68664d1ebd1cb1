package emulator

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestOnce lets many ask for the same thing: it is made once, and a torn one of before is not taken for it.
func TestOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "thing")
	if err := os.MkdirAll(path+".new", 0o755); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var made int // the lock guards it
	for range 8 {
		wg.Go(func() {
			err := once(t.Context(), path, func(_ context.Context, temporary string) error {
				made++
				return os.WriteFile(temporary, []byte("whole"), 0o600)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if text, err := os.ReadFile(path); made != 1 || err != nil || string(text) != "whole" {
		t.Errorf("made %d times, %q, %v", made, text, err)
	}
}
