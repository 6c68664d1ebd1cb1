//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/nx"
)

// failing has a task that fails, one that stands on it and so is not run, and one that has nothing to do with them.
func failing() []nx.Project {
	return []nx.Project{
		written("good"),
		{Name: "bad", Script: "echo half >out/bad/half; echo this went wrong; exit 3"},
		{Name: "behind", Script: "echo never", DependsOn: []string{"bad"}},
	}
}

// failingTask: Nx does not upload what failed, so it fails again, and only what succeeded comes from the cache.
func failingTask(t *testing.T, h house) {
	server := h.serve(t)
	ws := nx.NewWorkspace(t, h.release, failing()...)
	alone := ws.Run(t, nx.Run{})
	if alone.Exit == 0 {
		t.Fatal("nx ended with 0 without a remote cache, though a task failed")
	}
	for _, run := range []struct {
		name        string
		ran, remote []string
	}{
		{"cold", []string{"bad", "good"}, nil},
		{"warm", []string{"bad"}, []string{"good"}},
	} {
		ws.Forget(t)
		got := ws.Run(t, nx.Run{Server: server.URL})
		wantExit(t, run.name, got, alone.Exit) // 1 or, in some releases, 130
		wantTasks(t, run.name, got, run.ran, run.remote)
		if !slices.Equal(got.Failed, []string{"bad"}) {
			t.Errorf("%s: nx reports %q as failed, want bad alone", run.name, got.Failed)
		}
	}
	stored := bezoar.Hashes(server.Await(t, "one upload", func(r []bezoar.Request) bool {
		return bezoar.Results(r)["PUT stored"] == 1
	}), "PUT")
	if len(stored) != 1 {
		t.Errorf("entries were uploaded for %d tasks, want 1: the failed one is none", len(stored))
	}
}

// keptFailure: with NX_CACHE_FAILURES Nx uploads failures as well. Nx 20 and 21 take such an entry for a success when it comes
// from a remote cache, though not when it comes from their own; later ones fail as they should. It is theirs to
// decide: the entry is what they uploaded, and all get the same bytes back.
func keptFailure(t *testing.T, h house) {
	const keep = "NX_CACHE_FAILURES=true"
	server := h.serve(t)
	ws := nx.NewWorkspace(t, h.release, failing()[:2]...)
	cold := ws.Run(t, nx.Run{Server: server.URL, Env: []string{keep}})
	wantExit(t, "cold", cold, 1)
	server.AwaitResults(t, map[string]int{"PUT stored": 2})

	ws.Forget(t)
	warm := ws.Run(t, nx.Run{Server: server.URL, Env: []string{keep}})
	if h.release.Major < 22 {
		wantGreen(t, "warm", warm, nil, []string{"bad", "good"})
	} else {
		wantExit(t, "warm", warm, 1)
		if !slices.Equal(warm.Failed, []string{"bad"}) {
			t.Errorf("warm: nx reports %q as failed, want bad alone", warm.Failed)
		}
	}
	server.Await(t, "two hits", func(r []bezoar.Request) bool { return bezoar.Results(r)["GET hit"] >= 2 })
}

// restart: entries outlive the server that took them.
func restart(t *testing.T, h house) {
	data := t.TempDir()
	projects := []nx.Project{written("one"), written("two"), {Name: "three", Script: ":", Outputs: nx.NoOutputs()}}
	ws := nx.NewWorkspace(t, h.release, projects...)

	first := h.binary.Serve(t, data)
	wantGreen(t, "cold", ws.Run(t, nx.Run{Server: first.URL}), names(projects), nil)
	original := ws.Tree(t, "out")
	first.Stop(t)

	ws.Forget(t)
	second := h.binary.Serve(t, data)
	wantGreen(t, "warm", ws.Run(t, nx.Run{Server: second.URL}), nil, names(projects))
	wantTree(t, "outputs from the second server", ws.Tree(t, "out"), original)
	second.Stop(t)
}

// race: two checkouts build the same tasks at the same time. Every task waits for its twin, so both builds have missed
// and both upload. Each writes other bytes, and two files: what a third build gets is from one of them, whole.
func race(t *testing.T, h house) {
	const tasks = 10
	script := `head -c 20000 /dev/urandom >"out/%[1]s/a"; cp "out/%[1]s/a" "out/%[1]s/b"
touch "$MEETING/%[1]s.$SIDE"; n=0
while [ ! -e "$MEETING/%[1]s.$OTHER" ]; do n=$((n+1)); [ $n -lt 1200 ] || exit 9; sleep 0.05; done`
	var projects []nx.Project
	for i := range tasks {
		name := fmt.Sprintf("task-%d", i)
		projects = append(projects, nx.Project{Name: name, Script: fmt.Sprintf(script, name)})
	}
	all := names(projects)
	server := h.serve(t)
	left := nx.NewWorkspace(t, h.release, projects...)
	right := left.Copy(t)
	meeting := t.TempDir()

	var results [2]nx.Result
	var group errgroup.Group
	for i, ws := range []*nx.Workspace{left, right} {
		group.Go(func() (err error) {
			results[i], err = ws.Try(t.Context(), nx.Run{Server: server.URL, Parallel: tasks, Env: []string{
				"MEETING=" + meeting, fmt.Sprint("SIDE=", i), fmt.Sprint("OTHER=", 1-i),
			}})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"left", "right"} {
		wantGreen(t, name, results[i], all, nil)
		if t.Failed() {
			t.Logf("%s printed:\n%s", name, results[i].Output)
		}
	}
	server.AwaitResults(t, map[string]int{"PUT stored": tasks, "PUT exists": tasks})

	third := left.Copy(t)
	wantGreen(t, "third", third.Run(t, nx.Run{Server: server.URL}), nil, all)
	for _, name := range all {
		got := third.Tree(t, "out/"+name)
		if got["a"] != got["b"] {
			t.Errorf("%s: two files that were one are different", name)
		}
		if got["a"] != left.Tree(t, "out/"+name)["a"] && got["a"] != right.Tree(t, "out/"+name)["a"] {
			t.Errorf("%s: the outputs are those of neither build", name)
		}
	}
}

// conflict: between an Nx's miss and its upload, somebody else uploads. Nx is told so by a 409 and stays green, and the first
// upload is the one that stays.
func conflict(t *testing.T, h house) {
	server := h.serve(t)
	gate := filepath.Join(t.TempDir(), "gate")
	ws := nx.NewWorkspace(t, h.release, nx.Project{Name: "late", Script: `echo late >out/late/file; n=0
while [ ! -e "$GATE" ]; do n=$((n+1)); [ $n -lt 1200 ] || exit 9; sleep 0.05; done`})

	var late nx.Result
	var group errgroup.Group
	group.Go(func() (err error) {
		late, err = ws.Try(t.Context(), nx.Run{Server: server.URL, Env: []string{"GATE=" + gate}})
		return err
	})
	missed := server.Await(t, "a miss", func(r []bezoar.Request) bool { return bezoar.Results(r)["GET miss"] == 1 })
	put(t, server.URL+"/v1/cache/"+missed[0].Hash, artifacttest.Nx(
		artifacttest.Dir("out"), artifacttest.Dir("out/late"), artifacttest.File("out/late/file", "first\n")))
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	wantGreen(t, "late", late, []string{"late"}, nil)
	server.AwaitResults(t, map[string]int{"PUT stored": 1, "PUT exists": 1})

	ws.Forget(t)
	wantGreen(t, "warm", ws.Run(t, nx.Run{Server: server.URL}), nil, []string{"late"})
	if got := ws.Read(t, "out/late/file"); got != "first\n" {
		t.Errorf("the output is %q, want that of the first upload", got)
	}
}

func put(t *testing.T, url string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("PUT %s: %s, want 200", url, resp.Status)
	}
}
