//go:build e2e

package attack_test

import (
	"fmt"
	"net/http"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/test/nx"
)

// flood is how many uploads an attacker sends, and floodAtOnce how many at a time.
const (
	flood       = 600
	floodAtOnce = 16
)

// TestFlood has an attacker who fills the cache. In an open world all of it lands among the entries of main. In a scoped one it lands beside
// them, and main's are all still there.
func TestFlood(t *testing.T) {
	h := newHouse(t)
	for _, version := range extremes() {
		t.Run(version, func(t *testing.T) {
			c := newCommit(t, nx.Install(t, version))
			for _, tt := range []struct {
				name  string
				world *world
				// seen is how much of the flood main is given.
				seen int
			}{
				{"in an open world", h.open(t), flood},
				{"in a scoped world", h.scoped(t), 0},
			} {
				t.Run(tt.name, func(t *testing.T) {
					main, attacker := tt.world.credential(t, mainPush), tt.world.credential(t, pullRequest)
					if got := c.Copy(t).Run(t, nx.Run{Server: tt.world.url, Token: main}); got.Exit != 0 {
						t.Fatalf("main's build ended with %d", got.Exit)
					}
					for _, p := range orders {
						tt.world.awaitPut(t, c.hashes[p], 1)
					}

					if n := tt.world.each(t, http.MethodPut, attacker); n != flood {
						t.Errorf("the attacker got %d of %d uploads in", n, flood)
					}
					if n := tt.world.each(t, http.MethodGet, main); n != tt.seen {
						t.Errorf("main is given %d entries of the flood, want %d", n, tt.seen)
					}
					ws := c.Copy(t)
					again := ws.Run(t, nx.Run{Server: tt.world.url, Token: main})
					for _, f := range look(t, secondBuild, ws, again) {
						if f.poison() || f.status != nx.Remote {
							t.Errorf("after the flood main has %q for %s, which nx reports as %q, want its own entry", f.content, f.project, f.status)
						}
					}
				})
			}
		})
	}
}

// each sends a request for every hash of the flood, and counts those that are answered with 200.
func (w *world) each(t *testing.T, method string, token *string) int {
	t.Helper()
	statuses := make([]int, flood)
	var group errgroup.Group
	group.SetLimit(floodAtOnce)
	for i := range flood {
		group.Go(func() error {
			got, err := w.do(t.Context(), request{method: method, path: fmt.Sprint("/v1/cache/flood-", i), token: token, body: poison})
			statuses[i] = got.status
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, status := range statuses {
		if status == http.StatusOK {
			n++
		}
	}
	return n
}
