package fs

import (
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestUnfinished counts uploads to others than the trusted scope as long as they are under way, and all of another store's.
func TestUnfinished(t *testing.T) {
	dir := t.TempDir()
	s, second := open(t, dir), open(t, dir)
	begin := func(s *Store, scope cache.Scope, size int) cache.Draft {
		t.Helper()
		d, err := s.Create(t.Context(), cache.Key{Workspace: cache.DefaultWorkspace, Scope: scope, Hash: "1"})
		if err == nil {
			_, err = d.Write(make([]byte, size))
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Abort)
		return d
	}
	wantUnfinished := func(want int64) {
		t.Helper()
		if got, err := s.Unfinished(); got != want || err != nil {
			t.Errorf("%d bytes are under way, %v, want %d", got, err, want)
		}
	}
	wantUnfinished(0)
	begin(s, cache.Trusted, 1)
	cut := begin(s, "pr/1", 20)
	whole := begin(s, "pr/2", 300)
	elsewhere := begin(second, cache.Trusted, 4000)
	wantUnfinished(4320)
	elsewhere.Abort()
	cut.Abort()
	cut.Abort()
	wantUnfinished(300)
	if err := whole.Commit(t.Context(), storetest.Record(make([]byte, 300))); err != nil {
		t.Fatal(err)
	}
	wantUnfinished(0)
}
