//go:build faults || e2e

package faults_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/nx"
)

// sizes of the outputs of a build's tasks.
var sizes = map[string]int{"little": 2_000, "middle": 300_000, "much": 6_000_000}

// huge is the size of the output of a task beyond verify-ahead.
const huge = 12_000_000

// project is what a cell builds: three tasks whose outputs are known.
type project struct {
	ws    *nx.Workspace
	files map[string]string // what each output has to be, by its path
	runs  int
}

func newProject(t *testing.T, release string, much int) *project {
	p := &project{files: make(map[string]string)}
	var list []nx.Project
	random := rand.NewChaCha8([32]byte{1})
	for name, size := range sizes {
		if name == "much" {
			size = much
		}
		data := make([]byte, size)
		_, _ = random.Read(data)
		list = append(list, nx.Project{
			Name:   name,
			Script: "cp projects/" + name + "/data projects/" + name + "/salt out/" + name + "/; echo finished " + name,
			Files:  map[string]string{"data": string(data), "salt": ""},
		})
		p.files["out/"+name+"/data"] = string(data)
	}
	slices.SortFunc(list, func(a, b nx.Project) int { return strings.Compare(a.Name, b.Name) })
	p.ws = nx.NewWorkspace(t, nx.Install(t, release), list...)
	return p
}

// renew gives all tasks hashes that nobody has seen.
func (p *project) renew(t *testing.T) {
	p.runs++
	salt := fmt.Sprintf("%d of %d\n", p.runs, time.Now().UnixNano())
	for name := range sizes {
		p.ws.Write(t, "projects/"+name+"/salt", salt)
		p.files["out/"+name+"/salt"] = salt
	}
	p.ws.Forget(t)
}

// build builds from nothing but the remote cache, and notes what was wrong.
func (p *project) build(t *testing.T, r *result, what, url, token string) nx.Result {
	p.ws.Forget(t)
	r.builds++
	run := nx.Run{Server: url, Timeout: deadline}
	if token != "" {
		run.Token = &token
	}
	got, err := p.ws.Try(t.Context(), run)
	if err != nil {
		r.hung++
		r.detail += fmt.Sprintf("%s: %v\n", what, err)
		return got
	}
	if got.Exit != 0 || len(got.Failed) > 0 {
		r.red++
		r.detail += fmt.Sprintf("%s: nx ended with %d, failed are %q; it printed:\n%s\n", what, got.Exit, got.Failed, got.Output)
		return got
	}
	tree := p.ws.Tree(t, ".")
	for name, want := range p.files {
		if tree[name] == "" || p.ws.Read(t, name) != want {
			r.wrong++
			r.detail += fmt.Sprintf("%s: %s is not what was built: %s\n", what, name, tree[name])
			break
		}
	}
	return got
}
