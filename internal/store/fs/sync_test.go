package fs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestSync(t *testing.T) {
	s := open(t, t.TempDir())
	key := storetest.Key("1")
	if err := s.Sync(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("without an entry: got %v, want ErrNotExist", err)
	}
	put(t, s, key, storetest.Body(1, 100_000))
	for range 2 {
		if err := s.Sync(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := storetest.Get(t.Context(), s, key); err != nil {
		t.Errorf("read after the sync: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Sync(ctx, key); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// TestSyncOfNoFile has something else in the place of an entry.
func TestSyncOfNoFile(t *testing.T) {
	s := open(t, t.TempDir())
	path := s.path(storetest.Key("1"))
	if err := os.MkdirAll(filepath.Join(path, "in it"), dirMode); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(t.Context(), storetest.Key("1")); err == nil || errors.Is(err, cache.ErrNotExist) {
		t.Errorf("got %v, want trouble", err)
	}
}
