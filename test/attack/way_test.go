//go:build e2e

package attack_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/nx"
)

// way is how an attacker comes by other outputs under the very hash that the victim will ask for.
type way struct {
	name string
	// prepare readies a checkout of the victim's commit and returns the environment to build it in. Nil: there is no build, the
	// attacker makes an archive by hand.
	prepare func(t *testing.T, ws *nx.Workspace, poison string) (env []string)
}

var (
	// A variable that the build reads and that nobody declared as an input.
	byVariable = way{"through a variable", func(_ *testing.T, _ *nx.Workspace, poison string) []string {
		return []string{"PAYLOAD=" + poison}
	}}
	// A file that the build reads and that is no input.
	byFile = way{"through an untracked file", func(t *testing.T, ws *nx.Workspace, poison string) []string {
		ws.Write(t, "local/payload", poison)
		return nil
	}}
	// The machine itself: the sources are built as they should be, then the output is changed, before Nx makes the archive. Nothing
	// that belongs to the commit is touched.
	byShell = way{"between build and archive", func(t *testing.T, ws *nx.Workspace, poison string) []string {
		plantShell(t, ws)
		return []string{"POISON=" + poison}
	}}
	// No build at all: the hash is known, the archive is made by hand.
	byArchive = way{"by a hand-made archive", nil}
)

// shell runs a task and then puts $POISON in the place of its output.
const shell = `#!/bin/sh
/bin/sh "$@"; status=$?
case "$1" in projects/*/task.sh)
	name=${1#projects/}
	printf '%s\n' "$POISON" >"out/${name%/task.sh}/bundle" ;;
esac
exit $status
`

// plantShell puts a shell of the attacker's where Nx looks for programs first, beside the packages.
func plantShell(t *testing.T, ws *nx.Workspace) {
	t.Helper()
	modules := filepath.Join(ws.Dir, "node_modules")
	installed, err := filepath.EvalSymlinks(modules)
	if err != nil {
		t.Fatal(err)
	}
	packages, err := os.ReadDir(installed)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(modules); err != nil { // a link
		t.Fatal(err)
	}
	ws.Write(t, "node_modules/.bin/sh", shell)
	if err := os.Chmod(filepath.Join(modules, ".bin", "sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		if p.Name() == ".bin" {
			continue
		}
		if err := os.Symlink(filepath.Join(installed, p.Name()), filepath.Join(modules, p.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// saboteur is an attacker at work.
type saboteur struct {
	t      *testing.T
	w      *world
	c      *commit
	way    way
	token  *string
	poison string
}

// upload brings the poison for a project to the server.
func (s *saboteur) upload(project string) {
	s.t.Helper()
	if s.way.prepare == nil {
		s.put(project)
		return
	}
	ws := s.c.Copy(s.t)
	got := ws.Run(s.t, nx.Run{Server: s.w.url, Token: s.token, Projects: []string{project}, Env: s.way.prepare(s.t, ws, s.poison)})
	if got.Exit != 0 || got.Tasks[project] != nx.Ran {
		s.t.Fatalf("the attacker's nx ended with %d and reports %s as %q, want it to build and upload", got.Exit, project, got.Tasks[project])
	}
	s.w.awaitPut(s.t, s.c.hashes[project], 1)
}

// uploadAndMeet brings the poison for one project. For others it gets ready: they are uploaded by finish.
func (s *saboteur) uploadAndMeet(first string, others []string) (finish func() error) {
	s.t.Helper()
	var group errgroup.Group
	if s.way.prepare == nil {
		s.put(first)
		return func() error {
			for _, p := range others {
				group.Go(func() error {
					_, err := s.try(p)
					return err
				})
			}
			return group.Wait()
		}
	}
	ws, gates := s.c.Copy(s.t), newGates(s.t)
	env := append(s.way.prepare(s.t, ws, s.poison), gates.env()...)
	gates.open(s.t, first)
	group.Go(func() error {
		_, err := ws.Try(s.t.Context(), nx.Run{
			Server: s.w.url, Token: s.token, Parallel: len(orders), Projects: append([]string{first}, others...), Env: env,
		})
		return err
	})
	gates.await(s.t, others...)
	s.w.awaitPut(s.t, s.c.hashes[first], 1)
	return func() error {
		gates.open(s.t, others...)
		return group.Wait()
	}
}

// put uploads by hand, whatever the answer.
func (s *saboteur) put(project string) {
	s.t.Helper()
	status, err := s.try(project)
	if err != nil {
		s.t.Fatal(err)
	}
	if status == http.StatusUnauthorized {
		s.t.Fatalf("the attacker's credential is not one: %d", status)
	}
}

func (s *saboteur) try(project string) (status int, err error) {
	answer, err := s.w.do(s.t.Context(), request{method: http.MethodPut, path: "/v1/cache/" + s.c.hashes[project], token: s.token, body: archive(project, s.poison)})
	return answer.status, err
}

// archive is what Nx would upload for a project with this content.
func archive(project, content string) []byte {
	return artifacttest.Nx(artifacttest.Dir("out"), artifacttest.Dir("out/"+project), artifacttest.File(bundle(project), content+"\n"))
}
