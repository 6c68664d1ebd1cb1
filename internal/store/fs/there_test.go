package fs

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestAVanishedDirectory is trouble and no miss, nothing is written in its place, and when it is back all is as before.
func TestAVanishedDirectory(t *testing.T) {
	var ahead atomic.Int64 // the store looks at its clock by itself, too
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(dir, Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	body := storetest.Body(1, 1000)
	if err := storetest.Put(t.Context(), s, storetest.Key("1"), body); err != nil {
		t.Fatal(err)
	}
	elsewhere := dir + ".unmounted"
	if err := os.Rename(dir, elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o750); err != nil { // the place where it was mounted
		t.Fatal(err)
	}
	ahead.Add(int64(lookEvery))
	for range 2 {
		if _, err := s.Open(t.Context(), storetest.Key("1")); !errors.Is(err, errVanished) {
			t.Errorf("open: %v", err)
		}
		if err := storetest.Put(t.Context(), s, storetest.Key("2"), body); !errors.Is(err, errVanished) {
			t.Errorf("put: %v", err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v was made, %v", left, err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(elsewhere, dir); err != nil {
		t.Fatal(err)
	}
	ahead.Add(int64(lookEvery))
	if err := storetest.Put(t.Context(), s, storetest.Key("2"), body); err != nil {
		t.Errorf("put, when it is back: %v", err)
	}
	for _, hash := range []string{"1", "2"} {
		if _, _, err := storetest.Get(t.Context(), s, storetest.Key(hash)); err != nil {
			t.Errorf("%s, when it is back: %v", hash, err)
		}
	}
	if _, err := s.Open(t.Context(), storetest.Key("3")); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("a miss: %v", err)
	}
}
