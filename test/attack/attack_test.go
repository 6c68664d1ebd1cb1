//go:build e2e

// Package attack_test plays the known ways to poison a cache (docs/threat-model.md) with real Nx releases: an attacker and a
// victim build the same commit, in every order.
//
// Each attack is one script that runs in two worlds. In the open one all share a single key space, as they do with one token
// for everybody: there it must poison the victim, or it would show nothing. In the scoped one it must not.
package attack_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/test/nx"
)

// slots is how many attacks are played at a time. Each runs up to two Nx, of which one mostly waits.
const slots = 2

// attack is a row of the table.
type attack struct {
	// path names the row of the table in docs/threat-model.md.
	path string
	// attackers try one after the other, as early as they can; who wins among them is the same to the victim.
	attackers []identity
	way       way
	victim    identity
}

var attacks = []attack{
	{"computed hash", who(branch), byVariable, mainPush},
	{"computed hash", who(pullRequest), byFile, mainSchedule},
	{"computed hash", who(mergeRequest), byVariable, gitlabMain},
	{"changed output", who(pullRequest), byShell, mainPush},
	{"changed output", who(branch, pullRequest), byArchive, mainPush},
	{"changed output", who(gitlabBranch, mergeRequest), byArchive, gitlabMain},
	{"ref of main", who(pullRequestTarget), byVariable, mainPush},
	{"ref of main", who(pullRequestTarget, workflowRun, issueComment, workflowDispatch), byArchive, mainPush},
	{"ref of main", who(gitlabWeb), byArchive, gitlabMain},
	{"fork in the parent", who(forkInParent), byArchive, gitlabMain},
	{"fork in the parent", who(forkInParent), byArchive, mergeRequest},
	{"leaked token", who(isolatedToken), byArchive, mainPush},
	{"laptop", who(pullRequest), byVariable, laptop},
	{"laptop", who(pullRequest, mergeRequest), byArchive, reader},
	{"laptop", who(otherLaptop), byArchive, laptop},
	{"laptop", who(laptop), byArchive, mainPush},
}

func who(attackers ...identity) []identity { return attackers }

func (a attack) name() string {
	var names []string
	for _, w := range a.attackers {
		names = append(names, w.name)
	}
	return fmt.Sprintf("%s: %s %s, for %s", a.path, strings.Join(names, " and "), a.way.name, a.victim.name)
}

// extremes are the oldest and the newest release.
func extremes() []string {
	all := nx.Versions()
	return []string{all[0], all[len(all)-1]}
}

func TestAttacks(t *testing.T) {
	h := newHouse(t)
	free := make(chan struct{}, slots)
	for _, version := range extremes() {
		t.Run(version, func(t *testing.T) {
			c := newCommit(t, nx.Install(t, version))
			for _, a := range attacks {
				t.Run(a.name(), func(t *testing.T) {
					t.Parallel()
					free <- struct{}{}
					defer func() { <-free }()
					t.Run("in an open world", func(t *testing.T) { a.succeeds(t, h.open(t), c) })
					t.Run("in a scoped world", func(t *testing.T) { a.fails(t, h.scoped(t), c) })
				})
			}
		})
	}
}

// succeeds checks that the attack is one: who shares his key space with the attackers gets what they uploaded before him, be it
// before he asked or while he was building.
func (a attack) succeeds(t *testing.T, w *world, c *commit) {
	t.Helper()
	poisoned := map[string]bool{}
	for _, f := range a.play(t, w, c) {
		poisoned[f.project] = poisoned[f.project] || f.poison()
	}
	for _, order := range []string{ahead, between} {
		if !poisoned[order] {
			t.Errorf("%s: the victim's %q is clean, though all share a key space: this attack shows nothing", a.name(), order)
		}
	}
	if poisoned[late] {
		t.Errorf("%s: the entry that the victim had uploaded was replaced, though entries are written once", a.name())
	}
}

// fails checks that the victim never saw a byte of an attacker's, that his own cache worked all the while, and that each attempt against main was noticed.
func (a attack) fails(t *testing.T, w *world, c *commit) {
	t.Helper()
	for _, f := range a.play(t, w, c) {
		if f.poison() {
			t.Errorf("%s was poisoned: its %s has %q for %s, which nx reports as %q", a.victim.name, f.build, f.content, f.project, f.status)
		}
		want := nx.Ran
		if f.build == secondBuild && a.victim.writes {
			want = nx.Remote
		}
		if f.status != want {
			t.Errorf("%s, %s: nx reports %s as %q, want %q", a.victim.name, f.build, f.project, f.status, want)
		}
	}
	w.wantAlarms(t, c)
}
