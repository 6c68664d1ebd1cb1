//go:build bench

package peers_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/nx"
)

// nxResult is how long builds took whose tasks are all in a cache, by round.
type nxResult struct {
	Nx    string `json:"nx"`
	Tasks int    `json:"tasks"`
	Cache string `json:"cache"`
	Way   way    `json:"way"`
	// Seconds is the time of the command.
	Seconds []float64 `json:"seconds"`
}

// way is the time there and back between a build and the cache.
type way time.Duration

func (w way) String() string {
	if w == 0 {
		return "same machine"
	}
	return time.Duration(w).String() + " away"
}

func (r *report) nxOf(w way, cache string) []float64 {
	for _, n := range r.Nx {
		if n.Way == w && n.Cache == cache {
			return n.Seconds
		}
	}
	return nil
}

// measureNx builds a workspace whose tasks are all in the cache: with bezoar, with whatever else answers Nx, and with the cache of the machine.
func measureNx(t *testing.T, r *report) {
	versions := nx.Versions()
	release := nx.Install(t, versions[len(versions)-1])
	ws := nx.NewWorkspace(t, release, projects(options.tasks)...)
	var servers []*server
	for _, k := range r.Servers {
		if k.nx {
			servers = append(servers, k.start(t, newDir(t), nil))
		}
	}
	ours := servers[0]
	build := func(base, token string, want nx.Status) float64 {
		run := nx.Run{Server: base, Timeout: 10 * time.Minute, Parallel: 3} // Nx's own number
		if token != "" {
			run.Token = &token
		}
		began := time.Now()
		result := ws.Run(t, run)
		took := time.Since(began)
		if got := len(result.With(want)); result.Exit != 0 || got != options.tasks {
			t.Fatalf("%d of %d tasks were %q, exit %d", got, options.tasks, want, result.Exit)
		}
		return took.Seconds()
	}
	t.Logf("the first build, which fills the cache: %.1f s", build(ours.url(), ours.token, nx.Ran))
	copyEntries(t, servers)

	near, ways := ws.Copy(t), []way{0, way(time.Millisecond), way(20 * time.Millisecond)}
	if testing.Short() {
		ways = []way{0, way(20 * time.Millisecond)}
	}
	type contender struct {
		result *nxResult
		turn   func() float64
	}
	// The machine's own cache is that of another checkout, which keeps it.
	local := &nxResult{Nx: release.Version, Tasks: options.tasks, Cache: "local"}
	contenders := []contender{{local, func() float64 {
		near.Clean(t)
		began := time.Now()
		result := near.Run(t, nx.Run{Timeout: 10 * time.Minute, Parallel: 3})
		took := time.Since(began).Seconds()
		if got := len(result.With(nx.Local)); got != options.tasks {
			t.Fatalf("%d of %d tasks came from the local cache", got, options.tasks)
		}
		return took
	}}}
	near.Run(t, nx.Run{Timeout: 10 * time.Minute, Server: ours.url(), Token: &ours.token})
	for _, w := range ways {
		for _, s := range servers {
			base := s.url()
			if w > 0 {
				base = "http://" + line(t, s.addr, time.Duration(w))
			}
			contenders = append(contenders, contender{
				&nxResult{Nx: release.Version, Tasks: options.tasks, Cache: s.name, Way: w},
				func() float64 { ws.Forget(t); return build(base, s.token, nx.Remote) },
			})
		}
	}
	for round := range options.rounds {
		for i := range contenders {
			c := contenders[(i+round)%len(contenders)]
			c.result.Seconds = append(c.result.Seconds, c.turn())
		}
	}
	for _, c := range contenders {
		r.Nx = append(r.Nx, *c.result)
		t.Logf("%s, %v: %v s", c.result.Cache, c.result.Way, spreadOf(c.result.Seconds))
	}
}

// projects are small packages, with outputs of some KB, of 60 KB for one in twelve, and of a MB for one in fifty.
func projects(n int) (all []nx.Project) {
	random := rand.New(rand.NewPCG(1, 1))
	for i := range n {
		bytes := 1000 + random.IntN(11_000)
		switch {
		case i%50 == 49:
			bytes = 1_000_000
		case i%12 == 11:
			bytes = 60_000
		}
		name := fmt.Sprintf("package-%03d", i)
		all = append(all, nx.Project{
			Name:   name,
			Script: "cp projects/" + name + "/main.js out/" + name + "/main.js\necho built " + name,
			Files:  map[string]string{"main.js": code(bytes, uint64(i))},
		})
	}
	return all
}

// copyEntries gives the other servers what the first was given by Nx: its log names the hashes.
func copyEntries(t *testing.T, servers []*server) {
	t.Helper()
	text, err := os.ReadFile(servers[0].log)
	if err != nil {
		t.Fatal(err)
	}
	copied := 0
	for text := range strings.Lines(string(text)) {
		var event struct{ Msg, Method, Result, Hash string }
		if json.Unmarshal([]byte(text), &event) != nil || event.Msg != "request" || event.Method != http.MethodPut || event.Result != "stored" {
			continue
		}
		path := nxKeys.prefix + event.Hash
		status, body, err := servers[0].do(t.Context(), http.MethodGet, path, nil)
		if err != nil || status != http.StatusOK {
			t.Fatalf("GET %s: %d, %v", path, status, err)
		}
		for _, other := range servers[1:] {
			if status, _, err := other.do(t.Context(), http.MethodPut, path, body); err != nil || status/100 != 2 {
				t.Fatalf("%s: PUT %s: %d, %v", other.name, path, status, err)
			}
		}
		copied++
	}
	if copied < options.tasks {
		t.Fatalf("the log names %d of %d entries", copied, options.tasks)
	}
}
