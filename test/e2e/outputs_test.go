//go:build e2e

package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/test/nx"
)

// everyOutput has a task for each kind of output that a build makes. Kinds that Nx transports as they are come back as they
// were. Of the others, Nx itself loses or changes something (it follows links, drops set-user-ID bits, distrusts some
// links), so the measure is the same build with a server that keeps bytes and does nothing else.
func everyOutput(t *testing.T, h house) {
	overlap := made("overlap")
	overlap.Outputs = []string{"out/overlap", "out/overlap/lib", "out/overlap/**/*.js", "out/overlap/top.js"}
	// The pause is for Nx, which may miss what a task prints as it ends.
	loud := nx.Project{Name: "loud", Script: "echo 'gr\u00fc\u00dfe \U0001f9ea'; sleep 0.5", Outputs: nx.NoOutputs()}
	faithful := []nx.Project{
		written("plain"), made("empty"), made("modes"), made("names"), made("sparse"), overlap,
		{Name: "after", Script: "cat out/plain/file >out/after/copy", DependsOn: []string{"plain"}},
	}
	lossy := []nx.Project{made("lossy")}
	if h.release.Major > 20 {
		faithful = append(faithful, made("links"), made("dangling"))
		lossy = append(lossy, made("winding"))
	} else {
		lossy = append(lossy, made("links"), made("winding")) // Nx 20 follows links, and fails on dangling ones
	}
	projects := slices.Concat([]nx.Project{loud, {Name: "silent", Script: ":", Outputs: nx.NoOutputs()}}, faithful, lossy)
	all := names(projects)
	ws := nx.NewWorkspace(t, h.release, projects...)

	plainStore := serveBytes(t)
	wantExit(t, "with a server that keeps bytes, cold", ws.Run(t, nx.Run{Server: plainStore}), 0)
	ws.Forget(t)
	reference := ws.Run(t, nx.Run{Server: plainStore})
	wantExit(t, "with a server that keeps bytes, warm", reference, 0)
	referenceTree := ws.Tree(t, "out")

	ws.Forget(t)
	server := h.serve(t)
	cold := ws.Run(t, nx.Run{Server: server.URL})
	wantGreen(t, "cold", cold, all, nil)
	server.AwaitResults(t, map[string]int{"PUT stored": len(all)})
	original := map[string]nx.Tree{}
	for _, p := range faithful {
		original[p.Name] = ws.Tree(t, "out/"+p.Name)
	}

	ws.Forget(t)
	warm := ws.Run(t, nx.Run{Server: server.URL})
	wantExit(t, "warm", warm, 0)
	if diff := cmp.Diff(reference.Tasks, warm.Tasks); diff != "" {
		t.Errorf("warm: tasks that nx reports, against those with a server that keeps bytes (-want +got):\n%s", diff)
	}
	wantTree(t, "outputs, against those from a server that keeps bytes", ws.Tree(t, "out"), referenceTree)
	for _, p := range faithful {
		wantTree(t, "outputs of "+p.Name+", against those of the task", ws.Tree(t, "out/"+p.Name), original[p.Name])
	}
	for _, p := range slices.Concat(faithful, []nx.Project{loud}) {
		if warm.Tasks[p.Name] != nx.Remote {
			t.Errorf("warm: nx reports %s as %q, want %q", p.Name, warm.Tasks[p.Name], nx.Remote)
		}
	}
	for name, run := range map[string]nx.Result{"cold": cold, "warm": warm} {
		if !strings.Contains(run.Output, "gr\u00fc\u00dfe \U0001f9ea") {
			t.Errorf("%s: what a task printed is not shown", name)
		}
	}
}

// serveBytes starts a server that keeps uploads in memory as they are, and returns its URL.
func serveBytes(t *testing.T) string {
	t.Helper()
	var entries sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			if body, err := io.ReadAll(r.Body); err == nil {
				entries.Store(r.URL.Path, body)
			}
			return
		}
		if body, ok := entries.Load(r.URL.Path); ok {
			_, _ = w.Write(body.([]byte))
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// refusedOutputs has tasks whose archives the server does not take: an old client would follow their links out of its
// cache, and newer ones fail on the second "code". Builds stay green and build these tasks again.
func refusedOutputs(t *testing.T, h house) {
	refused := []nx.Project{{
		Name: "impostor", Outputs: []string{"code", "terminalOutput"},
		Script: "printf 'no exit status' >code; echo fake >terminalOutput",
	}}
	stored := []nx.Project{written("plain")}
	if h.release.Major > 20 {
		refused = append(refused, made("absolute"), made("escaping"))
	} else {
		stored = append(stored, made("absolute"), made("escaping")) // Nx 20 uploads what the links point to
	}
	server := h.serve(t)
	ws := nx.NewWorkspace(t, h.release, append(refused, stored...)...)

	cold := ws.Run(t, nx.Run{Server: server.URL})
	wantGreen(t, "cold", cold, names(append(refused, stored...)), nil)
	server.AwaitResults(t, map[string]int{
		"PUT stored": len(stored), "PUT refused": len(refused),
	})
	ws.Forget(t)
	warm := ws.Run(t, nx.Run{Server: server.URL})
	wantGreen(t, "warm", warm, names(refused), names(stored))
}

// largeOutputs has one task with 300 MB that hardly compress.
func largeOutputs(t *testing.T, h house) {
	server := h.serve(t)
	ws := nx.NewWorkspace(t, h.release, nx.Project{
		Name: "large", Script: "for i in 1 2 3; do head -c 100000000 /dev/urandom >out/large/$i; done",
	})
	cold := ws.Run(t, nx.Run{Server: server.URL})
	wantGreen(t, "cold", cold, []string{"large"}, nil)
	original := ws.Tree(t, "out")

	ws.Forget(t)
	warm := ws.Run(t, nx.Run{Server: server.URL})
	wantGreen(t, "warm", warm, nil, []string{"large"})
	wantTree(t, "outputs from the server", ws.Tree(t, "out"), original)
	server.AwaitResults(t, map[string]int{"PUT stored": 1, "GET hit": 1})
}

// manyTasks has 200 tasks that are all ready at once; Nx asks for all of them together.
func manyTasks(t *testing.T, h house) {
	const many = 200
	var projects []nx.Project
	for i := range many {
		projects = append(projects, written(fmt.Sprintf("project-%03d", i)))
	}
	all := names(projects)
	server := h.serve(t)
	ws := nx.NewWorkspace(t, h.release, projects...)

	cold := ws.Run(t, nx.Run{Server: server.URL, Parallel: many})
	wantGreen(t, "cold", cold, all, nil)
	original := ws.Tree(t, "out")

	ws.Forget(t)
	warm := ws.Run(t, nx.Run{Server: server.URL, Parallel: many})
	wantGreen(t, "warm", warm, nil, all)
	wantTree(t, "outputs from the server", ws.Tree(t, "out"), original)

	server.AwaitResults(t, map[string]int{"PUT stored": many, "GET hit": many})
	for _, sample := range []string{
		`bezoar_requests_total{cause="",method="GET",result="hit"} 200`,
		`bezoar_requests_total{cause="",method="PUT",result="stored"} 200`,
	} {
		if metrics := get(t, server.URL+"/metrics"); !strings.Contains(metrics, sample+"\n") {
			t.Errorf("the metrics do not have %s:\n%s", sample, metrics)
		}
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}
