//go:build e2e

package attack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/bezoar-cache/bezoar/test/nx"
)

// genuine is what the sources make.
const genuine = "what the sources make"

// bundle is the output of a project.
func bundle(project string) string { return "out/" + project + "/bundle" }

// script is the build of a project. It is reproducible as far as its author knows: what else decides its output, a variable
// and a file outside of the project, is no input of the task. At its end it stops at its gate, if there are gates.
const script = `content='` + genuine + `'
if [ -e local/payload ]; then content=$(cat local/payload); fi
printf '%s\n' "${PAYLOAD:-$content}" >"out/NAME/bundle"
if [ -n "${GATES:-}" ]; then
	touch "$GATES/NAME.started"; n=0
	until [ -e "$GATES/NAME.go" ]; do n=$((n+1)); [ $n -lt 3000 ] || exit 9; sleep 0.02; done
fi`

// commit is the commit that attacker and victim build: the same sources, and so the same hashes.
type commit struct {
	*nx.Workspace
	// hashes are those of the tasks, by project. Anybody can compute them beforehand who has the sources.
	hashes map[string]string
}

func newCommit(t *testing.T, release nx.Release) *commit {
	t.Helper()
	var projects []nx.Project
	for _, name := range orders {
		projects = append(projects, nx.Project{Name: name, Script: strings.ReplaceAll(script, "NAME", name)})
	}
	c := &commit{Workspace: nx.NewWorkspace(t, release, projects...)}
	c.hashes = learn(t, c.Workspace)
	for _, name := range orders {
		if c.hashes[name] == "" {
			t.Fatalf("nx uploaded nothing for %s: %v", name, c.hashes)
		}
	}
	c.Forget(t)
	return c
}

// learn finds the hashes out as an attacker would: it builds with a server of its own and looks at what arrives.
func learn(t *testing.T, ws *nx.Workspace) map[string]string {
	t.Helper()
	var mu sync.Mutex
	hashes := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			http.NotFound(w, r)
			return
		}
		project, err := projectOf(r.Body)
		if err != nil {
			t.Errorf("nx uploaded what cannot be read: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		hashes[project] = path.Base(r.URL.Path)
	}))
	defer server.Close()
	if got := ws.Run(t, nx.Run{Server: server.URL}); got.Exit != 0 {
		t.Fatalf("nx ended with %d:\n%s", got.Exit, got.Output)
	}
	mu.Lock()
	defer mu.Unlock()
	return hashes
}

// projectOf reads from an archive whose it is.
func projectOf(body io.Reader) (string, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	for archive := tar.NewReader(unzipped); ; {
		member, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return "", errors.New("no bundle in the archive")
		}
		if err != nil {
			return "", err
		}
		if path.Base(member.Name) == "bundle" {
			return path.Base(path.Dir(member.Name)), nil
		}
	}
}
