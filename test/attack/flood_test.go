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

// TestFlood has an attacker who fills the cache, before main builds and after. In an open world all of it lands among the entries of main, and what came
// first is what main gets. In a scoped one it lands beside them, and main's are all still there.
func TestFlood(t *testing.T) {
	h := newHouse(t)
	for _, version := range extremes() {
		t.Run(version, func(t *testing.T) {
			c := newCommit(t, nx.Install(t, version))
			for _, tt := range []struct {
				name  string
				world func(*testing.T) *world
				// seen is how much of the flood main is given.
				seen int
				// first is what becomes of main's first build, if the flood came before it.
				first nx.Status
			}{
				{"in an open world", h.open, flood, nx.Remote},
				{"in a scoped world", h.scoped, 0, nx.Ran},
			} {
				t.Run(tt.name+", before main builds", func(t *testing.T) {
					f := newFlood(t, tt.world(t), c)
					for _, p := range orders { // among all else, what main will ask for
						wantStatus(t, "the attacker's upload for "+p, f.world.must(t, request{
							method: http.MethodPut, path: "/v1/cache/" + c.hashes[p], token: f.attacker, body: archive(p, "poison"),
						}), http.StatusOK)
					}
					f.rise(tt.seen)
					poisoned := tt.first == nx.Remote
					f.build(firstBuild, tt.first, poisoned)
					f.build(secondBuild, nx.Remote, poisoned)
				})
				t.Run(tt.name+", after main has built", func(t *testing.T) {
					f := newFlood(t, tt.world(t), c)
					f.build(firstBuild, nx.Ran, false)
					f.rise(tt.seen)
					f.build(secondBuild, nx.Remote, false)
				})
			}
		})
	}
}

// floodScene is a world with main and an attacker in it.
type floodScene struct {
	t              *testing.T
	world          *world
	commit         *commit
	main, attacker *string
}

func newFlood(t *testing.T, w *world, c *commit) *floodScene {
	t.Helper()
	return &floodScene{t, w, c, w.credential(t, mainPush), w.credential(t, pullRequest)}
}

// rise lets the flood come, of which main is given so many entries.
func (f *floodScene) rise(seen int) {
	f.t.Helper()
	if n := f.world.each(f.t, http.MethodPut, f.attacker); n != flood {
		f.t.Errorf("the attacker got %d of %d uploads in", n, flood)
	}
	if n := f.world.each(f.t, http.MethodGet, f.main); n != seen {
		f.t.Errorf("main is given %d entries of the flood, want %d", n, seen)
	}
}

// build lets main build a fresh checkout, and checks what it ends up with for each project.
func (f *floodScene) build(name string, want nx.Status, poisoned bool) {
	f.t.Helper()
	ws := f.commit.Copy(f.t)
	for _, found := range look(f.t, name, ws, ws.Run(f.t, nx.Run{Server: f.world.url, Token: f.main})) {
		if found.poison() != poisoned || found.status != want {
			f.t.Errorf("main's %s has %q for %s, which nx reports as %q, want it %q and poisoned: %v", name, found.content, found.project, found.status, want, poisoned)
		}
		if want == nx.Ran {
			f.world.awaitPut(f.t, f.commit.hashes[found.project], 1)
		}
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
