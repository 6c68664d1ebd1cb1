//go:build e2e

// Package e2e_test shows that real Nx releases build with the cache as the documentation promises: each scenario runs with each
// release, against the built binary.
package e2e_test

import (
	_ "embed"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/nx"
)

// atOnce is how many scenarios run at a time. Each runs an Nx, which takes two cores for itself.
const atOnce = 2

// house is what a scenario works with.
type house struct {
	binary  bezoar.Binary
	release nx.Release
}

// serve starts a server that is open to this machine, on an empty data directory.
func (h house) serve(t *testing.T, args ...string) *bezoar.Server {
	t.Helper()
	return h.binary.Serve(t, t.TempDir(), args...)
}

var scenarios = []struct {
	name string
	run  func(*testing.T, house)
}{
	{"every kind of output comes back", everyOutput},
	{"a failing task stays failing", failingTask},
	{"a failure that Nx was told to keep", keptFailure},
	{"outputs that no client may be given", refusedOutputs},
	{"300 MB of outputs", largeOutputs},
	{"200 tasks at once", manyTasks},
	{"credentials", credentials},
	{"a revoked token", revokedToken},
	{"prefixes and slashes", addresses},
	{"TLS", certificates},
	{"two builds race", race},
	{"an entry that was there first", conflict},
	{"a restart between builds", restart},
}

func TestNx(t *testing.T) {
	binary := bezoar.Build(t)
	slots := make(chan struct{}, atOnce)
	for _, version := range nx.Versions() {
		t.Run(version, func(t *testing.T) {
			release := nx.Install(t, version)
			for _, s := range scenarios {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					slots <- struct{}{}
					defer func() { <-slots }()
					s.run(t, house{binary, release})
				})
			}
		})
	}
}

//go:embed testdata/outputs.js
var outputsScript string

// made is a project whose outputs are of a kind that testdata/outputs.js knows.
func made(kind string) nx.Project {
	return nx.Project{
		Name:   kind,
		Script: "node projects/" + kind + "/outputs.js " + kind + "; echo finished " + kind,
		Files:  map[string]string{"outputs.js": outputsScript},
	}
}

// written is a project that writes one file, out/NAME/file.
func written(name string) nx.Project {
	return nx.Project{Name: name, Script: "echo 'made by " + name + "' >out/" + name + "/file; echo finished " + name}
}

func names(projects []nx.Project) []string {
	var all []string
	for _, p := range projects {
		all = append(all, p.Name)
	}
	slices.Sort(all)
	return all
}

// wantExit checks the status that Nx ended with.
func wantExit(t *testing.T, run string, got nx.Result, want int) {
	t.Helper()
	if got.Exit != want {
		t.Errorf("%s: nx ended with %d, want %d", run, got.Exit, want)
	}
}

// wantTasks checks what Nx reports: which tasks it ran, and which came from the remote cache. Others there must not be.
func wantTasks(t *testing.T, run string, got nx.Result, ran, remote []string) {
	t.Helper()
	want := map[string]nx.Status{}
	for _, name := range ran {
		want[name] = nx.Ran
	}
	for _, name := range remote {
		want[name] = nx.Remote
	}
	if diff := cmp.Diff(want, got.Tasks); diff != "" {
		t.Errorf("%s: tasks that nx reports, and as what (-want +got):\n%s", run, diff)
	}
}

// wantGreen checks a build that succeeded.
func wantGreen(t *testing.T, run string, got nx.Result, ran, remote []string) {
	t.Helper()
	wantExit(t, run, got, 0)
	wantTasks(t, run, got, ran, remote)
	if len(got.Failed) > 0 {
		t.Errorf("%s: nx reports as failed: %q", run, got.Failed)
	}
}

func wantTree(t *testing.T, what string, got, want nx.Tree) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
