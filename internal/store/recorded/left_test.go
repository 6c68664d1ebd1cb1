package recorded_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/recorded"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestWhatLeaves: whatever was noted and is no more is told of, with its seal, also if somebody took it away behind the server's back or if
// it came and went within one batch; what is there is not.
func TestWhatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left []string
		b := newBench(t, recorded.Options{Left: func(_ context.Context, entries []cache.Entry) {
			for _, e := range entries {
				left = append(left, string(e.Key.Hash)+" "+e.Record.Seal)
			}
		}})
		put := func(hash, seal string) {
			t.Helper()
			draft, err := b.store.Create(t.Context(), storetest.Key(hash))
			if err != nil {
				t.Fatal(err)
			}
			if err := draft.Commit(t.Context(), cache.Record{Seal: seal}); err != nil {
				t.Fatal(err)
			}
		}
		want := func(what string, all ...string) {
			t.Helper()
			pass(2 * recorded.DefaultInterval)
			slices.Sort(left)
			if fmt.Sprint(left) != fmt.Sprint(all) {
				t.Errorf("%s: left %q, want %q", what, left, all)
			}
			left = nil
		}
		for _, hash := range []string{"deleted", "taken", "both", "stays"} {
			put(hash, "first")
		}
		want("at first")
		b.delete("deleted")
		if err := b.inner.Delete(t.Context(), storetest.Key("taken")); err != nil { // an attacker
			t.Fatal(err)
		}
		put("taken", "second")
		b.delete("both")
		put("both", "second")
		want("later", "both first", "deleted first", "taken first")

		put("quick", "first")
		b.delete("quick")
		put("quick", "second")
		want("in one batch", "quick first")

		b.ledger.set(errors.New("locked"), false)
		b.delete("stays")
		pass(time.Minute)
		b.ledger.set(nil, false)
		pass(time.Minute)
		if !slices.Contains(left, "stays first") {
			t.Errorf("after trouble: left %q", left)
		}
		b.close()
	})
}
