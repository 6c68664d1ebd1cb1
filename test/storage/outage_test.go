//go:build e2e

package storage_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// TestAnOutageCostsNoEntry: while the bucket hangs, its entries are misses, so builds upload them anew, and that is acknowledged. Afterwards those of
// the bucket are there as before, and nobody takes one for an entry that was deleted and put back.
func TestAnOutageCostsNoEntry(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		s := p.replicas(t, 1, "--store-timeout", "300ms", "--write-wait", "50ms")[0]
		put := func(path string, body []byte) {
			t.Helper()
			if status, text, err := bezoar.Do(t.Context(), "PUT", s.URL+path, body); err != nil || status != http.StatusOK {
				t.Fatalf("PUT %s: %d %s, %v", path, status, text, err)
			}
		}
		known := func(n float64) {
			t.Helper()
			s.AwaitMetric(t, `bezoar_ledger_changes_total{result="recorded"}`, fmt.Sprint(n), func(got float64) bool { return got >= n })
		}
		first, second := artifacttest.Random(100_000, 1), artifacttest.Random(100_000, 2)
		put("/v1/cache/before", first)
		awaitSent(t, s)
		known(1)
		p.server.Pause(t)
		miss := false
		for range 100 { // what the bucket has in its hands when it is paused, it may still answer
			status, _, err := bezoar.Do(t.Context(), "GET", s.URL+"/v1/cache/before", nil)
			if miss = err == nil && status == http.StatusNotFound; miss {
				break
			}
		}
		if !miss {
			t.Fatal("the bucket is paused and answers")
		}
		put("/v1/cache/before", second)
		put("/v1/cache/meanwhile", second)
		p.server.Resume(t)
		awaitSent(t, s)
		known(2)
		if got := s.Get(t, "/v1/cache/before"); !bytes.Equal(got, first) {
			t.Errorf("GET of what was there before: %d bytes that are others", len(got))
		}
		if got := s.Get(t, "/v1/cache/meanwhile"); !bytes.Equal(got, second) {
			t.Errorf("GET of what came meanwhile: %d bytes that are others", len(got))
		}
	})
}
