//go:build e2e

package replicas_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/nx"
)

// checkouts are machines of a CI that build workspaces with real Nx, over and over. Each build begins with nothing, and some of its projects have
// changed since the one before: those that no other checkout has built yet are built, the others come from the cache.
type checkouts struct {
	done sync.WaitGroup

	mu     sync.Mutex
	builds int
	tasks  map[nx.Status]int
}

// projects are those of each workspace, with the sizes of what they build in bytes. None is so large that a download of it is ever under way for long: what a
// server breaks off that is killed, no other can go on with.
var projects = []struct {
	name string
	size int
	on   []string
}{
	{"lib", 2_000, nil}, {"util", 60_000, nil}, {"icons", 200_000, nil}, {"api", 20_000, []string{"lib"}},
	{"app", 5_000, []string{"lib", "util"}}, {"docs", 500, nil}, {"e2e", 100, []string{"app", "api"}},
}

// source is that of a project in a round. In each round two of the projects are others than in the round before.
func source(workspace string, project, round int) string {
	age := 0
	for age < round && (round-age)%len(projects) != project && (round-age+3)%len(projects) != project {
		age++
	}
	version := uint64(round - age)
	text := artifacttest.Text(projects[project].size, version<<8|uint64(project))
	return fmt.Sprintf("%s %s %d\n%s", workspace, projects[project].name, version, text)
}

// startCheckouts has two checkouts of each of two workspaces, one of the oldest release of Nx and one of the newest, build until stop is closed.
func startCheckouts(t *testing.T, url, token string, stop <-chan struct{}) *checkouts {
	t.Helper()
	c := &checkouts{tasks: map[nx.Status]int{}}
	versions := nx.Versions()
	ctx := context.WithoutCancel(t.Context())
	for _, version := range []string{versions[0], versions[len(versions)-1]} {
		release := nx.Install(t, version)
		var list []nx.Project
		for _, p := range projects {
			list = append(list, nx.Project{Name: p.name, Script: fmt.Sprintf("cp projects/%s/source out/%[1]s/built", p.name), DependsOn: p.on})
		}
		first := nx.NewWorkspace(t, release, list...)
		for _, ws := range []*nx.Workspace{first, first.Copy(t)} {
			c.done.Go(func() {
				for round := 0; ; round++ {
					select {
					case <-stop:
						return
					default:
					}
					if err := c.build(ctx, ws, version, round, nx.Run{Server: url, Token: &token}); err != nil {
						t.Errorf("nx %s, round %d: %v", version, round, err)
						return
					}
				}
			})
		}
	}
	return c
}

// build builds a workspace. A build that is not green, or whose outputs are not those of its sources, is an error.
func (c *checkouts) build(ctx context.Context, ws *nx.Workspace, version string, round int, run nx.Run) error {
	for _, dir := range []string{"out", ".nx"} {
		if err := os.RemoveAll(filepath.Join(ws.Dir, dir)); err != nil {
			return err
		}
	}
	for i, p := range projects {
		if err := os.WriteFile(filepath.Join(ws.Dir, "projects", p.name, "source"), []byte(source(version, i, round)), 0o644); err != nil {
			return err
		}
	}
	got, err := ws.Try(ctx, run)
	if err != nil {
		return err
	}
	if got.Exit != 0 || len(got.Failed) > 0 || len(got.Tasks) != len(projects) {
		return fmt.Errorf("a red build: nx ended with %d, failed %v, of the tasks %v; it printed:\n%s", got.Exit, got.Failed, got.Tasks, got.Output)
	}
	var wrong error
	for i, p := range projects {
		built, err := os.ReadFile(filepath.Join(ws.Dir, "out", p.name, "built"))
		if want := source(version, i, round); err != nil || string(built) != want {
			wrong = errors.Join(wrong, err, fmt.Errorf("%s (%q) is %.60q…, want %.60q…", p.name, got.Tasks[p.name], built, want))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.builds++
	for _, status := range got.Tasks {
		c.tasks[status]++
	}
	return wrong
}

// soFar is how many builds there were.
func (c *checkouts) soFar() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.builds
}

// end waits for the last builds and says what they were.
func (c *checkouts) end(t *testing.T) {
	t.Helper()
	c.done.Wait()
	var words []string
	for status, n := range maps.All(c.tasks) {
		words = append(words, fmt.Sprintf("%d %q", n, status))
	}
	t.Logf("%d builds with real Nx, all green; of their tasks %s", c.builds, strings.Join(words, ", "))
	if c.tasks[nx.Ran] == 0 || c.tasks[nx.Remote] == 0 {
		t.Error("the builds did not both read from the cache and write to it")
	}
}
