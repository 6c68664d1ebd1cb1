//go:build e2e

package attack_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/nx"
)

// The orders in which attacker and victim can come, each played with a project of its own.
const (
	// ahead: the attacker has uploaded before the victim asks.
	ahead = "ahead"
	// between: the victim has asked and is building when the attacker uploads.
	between = "between"
	// late: the victim has uploaded when the attacker does.
	late = "late"
)

// together are the projects that both upload at the same moment. Who wins is left to chance.
var together = []string{"together-1", "together-2", "together-3"}

// orders are all projects.
var orders = append([]string{ahead, between, late}, together...)

// The builds of the victim: the one that is raced, and another checkout of the same commit later on, such as that of a release.
const (
	firstBuild  = "build that is raced"
	secondBuild = "build after it"
)

// finding is what a build of the victim ended up with for a project.
type finding struct {
	build, project string
	status         nx.Status
	content        string
}

func (f finding) poison() bool { return f.content != genuine }

// play runs the attack once, in all orders.
func (a attack) play(t *testing.T, w *world, c *commit) []finding {
	t.Helper()
	var attackers []*saboteur
	for _, who := range a.attackers {
		attackers = append(attackers, &saboteur{t, w, c, a.way, w.credential(t, who), "poison of " + who.name})
	}
	token := w.credential(t, a.victim)

	for _, s := range attackers {
		s.upload(ahead)
	}

	first, second, gates := c.Copy(t), c.Copy(t), newGates(t)
	var built nx.Result
	var group errgroup.Group
	group.Go(func() (err error) {
		built, err = first.Try(t.Context(), nx.Run{Server: w.url, Token: token, Parallel: len(orders), Env: gates.env()})
		return err
	})
	gates.await(t, slices.Concat([]string{between, late}, together)...) // the victim has asked for them, in vain

	gates.open(t, ahead, late)
	w.awaitPut(t, c.hashes[late], 1)
	var finish []func() error
	for _, s := range attackers {
		s.put(late)
		finish = append(finish, s.uploadAndMeet(between, together))
	}
	gates.open(t, between)
	w.awaitPut(t, c.hashes[between], len(attackers)+1)

	gates.open(t, together...)
	for _, f := range finish {
		group.Go(f)
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	again := second.Run(t, nx.Run{Server: w.url, Token: token})
	return append(look(t, firstBuild, first, built), look(t, secondBuild, second, again)...)
}

// look reads what a build of the victim made or restored. It must have succeeded either way: no attack breaks a build.
func look(t *testing.T, build string, ws *nx.Workspace, got nx.Result) []finding {
	t.Helper()
	if got.Exit != 0 {
		t.Fatalf("the victim's %s ended with %d:\n%s", build, got.Exit, got.Output)
	}
	var findings []finding
	for _, p := range orders {
		findings = append(findings, finding{build, p, got.Tasks[p], strings.TrimSpace(ws.Read(t, bundle(p)))})
	}
	return findings
}

// awaitPut waits until n uploads of the hash were answered, whatever with.
func (w *world) awaitPut(t *testing.T, hash string, n int) {
	t.Helper()
	w.server.Await(t, "an upload of "+hash, func(requests []bezoar.Request) bool {
		answered := 0
		for _, r := range requests {
			if r.Method == "PUT" && r.Hash == hash {
				answered++
			}
		}
		return answered >= n
	})
}

// gates hold the tasks of a build: each says that it has started, and waits for its gate.
type gates struct{ dir string }

func newGates(t *testing.T) gates {
	t.Helper()
	return gates{t.TempDir()}
}

func (g gates) env() []string { return []string{"GATES=" + g.dir} }

// open lets tasks go, also before they come.
func (g gates) open(t *testing.T, projects ...string) {
	t.Helper()
	for _, p := range projects {
		if err := os.WriteFile(filepath.Join(g.dir, p+".go"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// await waits until tasks have started.
func (g gates) await(t *testing.T, projects ...string) {
	t.Helper()
	deadline := time.After(time.Minute)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for _, p := range projects {
		for {
			if _, err := os.Stat(filepath.Join(g.dir, p+".started")); err == nil {
				break
			}
			select {
			case <-deadline:
				t.Fatalf("the task of %s has not started after a minute", p)
			case <-poll.C:
			}
		}
	}
}
