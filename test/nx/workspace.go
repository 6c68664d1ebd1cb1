package nx

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Project is a project with one cacheable target, "build".
type Project struct {
	// Name of the project: lower-case letters, digits and dashes.
	Name string
	// Script is run by sh with the root of the workspace as its working directory. The folder out/NAME is
	// there when it starts, unless the project has no outputs.
	Script string
	// Outputs are paths from the root of the workspace, and globs over them. Nil means out/NAME.
	Outputs []string
	// DependsOn names the projects that are built first.
	DependsOn []string
	// Files are more files of the project, by path inside its folder, projects/NAME. They count as inputs of the
	// task, as the script does.
	Files map[string]string
}

// NoOutputs is for [Project.Outputs] of a task that only prints.
func NoOutputs() []string { return []string{} }

// Workspace is a checkout of an Nx workspace.
type Workspace struct {
	// Dir is its root.
	Dir     string
	release Release
	// home stands in for the user's home directory and holds whatever Nx keeps outside of the workspace.
	home string
}

// NewWorkspace writes a workspace of the projects. It is gone when the test ends.
func NewWorkspace(tb testing.TB, release Release, projects ...Project) *Workspace {
	tb.Helper()
	ws := &Workspace{Dir: tb.TempDir(), release: release, home: tb.TempDir()}
	ws.writeJSON(tb, "package.json", map[string]any{"name": "workspace", "version": "0.0.0", "private": true})
	ws.writeJSON(tb, "nx.json", map[string]any{
		"neverConnectToCloud": true,
		"analytics":           false,
		"useDaemonProcess":    false,
		"namedInputs":         map[string]any{"default": []string{"{projectRoot}/**/*"}},
		"targetDefaults":      map[string]any{"build": map[string]any{"cache": true}},
	})
	ws.Write(tb, ".gitignore", "node_modules\nout\n.nx\n")
	// Nx insists on finding itself in the workspace that it works on; a link is enough.
	if err := os.Symlink(release.modules(), filepath.Join(ws.Dir, "node_modules")); err != nil {
		tb.Fatal(err)
	}
	for _, p := range projects {
		ws.addProject(tb, p)
	}
	return ws
}

func (ws *Workspace) addProject(tb testing.TB, p Project) {
	tb.Helper()
	dir := "projects/" + p.Name
	outputs := p.Outputs
	if outputs == nil {
		outputs = []string{"out/" + p.Name}
	}
	rooted := make([]string, len(outputs))
	for i, o := range outputs {
		rooted[i] = "{workspaceRoot}/" + o
	}
	prelude := "set -eu\n"
	if len(outputs) > 0 {
		prelude += "mkdir -p out/" + p.Name + "\n"
	}
	for name, content := range p.Files {
		ws.Write(tb, filepath.Join(dir, name), content)
	}
	ws.Write(tb, dir+"/task.sh", prelude+p.Script+"\n")
	ws.writeJSON(tb, dir+"/project.json", map[string]any{
		"name":                 p.Name,
		"implicitDependencies": append([]string{}, p.DependsOn...),
		"targets": map[string]any{"build": map[string]any{
			"executor":  "nx:run-commands",
			"dependsOn": []string{"^build"},
			"outputs":   rooted,
			"options":   map[string]any{"command": "sh " + dir + "/task.sh", "cwd": "."},
		}},
	})
}

// Write writes a file of the workspace. The name is a path from its root.
func (ws *Workspace) Write(tb testing.TB, name, content string) {
	tb.Helper()
	path := filepath.Join(ws.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// Read returns a file of the workspace.
func (ws *Workspace) Read(tb testing.TB, name string) string {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(ws.Dir, name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// Copy is another checkout of the same workspace, without outputs and with an empty local cache. Its tasks have the
// same hashes.
func (ws *Workspace) Copy(tb testing.TB) *Workspace {
	tb.Helper()
	other := &Workspace{Dir: tb.TempDir(), release: ws.release, home: tb.TempDir()}
	if out, err := exec.CommandContext(tb.Context(), "cp", "-a", ws.Dir+"/.", other.Dir).CombinedOutput(); err != nil {
		tb.Fatalf("copying a workspace: %v\n%s", err, out)
	}
	other.Forget(tb)
	return other
}

// Clean deletes the outputs and leaves the local cache.
func (ws *Workspace) Clean(tb testing.TB) {
	tb.Helper()
	ws.remove(tb, "out")
}

// Forget deletes the outputs and all that Nx remembers: what comes back at the next run comes from the remote cache or
// is built anew.
func (ws *Workspace) Forget(tb testing.TB) {
	tb.Helper()
	ws.Clean(tb)
	ws.remove(tb, ".nx")
}

// Snapshot keeps what Nx remembers now. The function that it returns deletes the outputs and brings that back, and nothing else.
func (ws *Workspace) Snapshot(tb testing.TB) (restore func(testing.TB)) {
	tb.Helper()
	kept := filepath.Join(tb.TempDir(), "nx")
	copyDir(tb, filepath.Join(ws.Dir, ".nx"), kept)
	return func(tb testing.TB) {
		tb.Helper()
		ws.Forget(tb)
		copyDir(tb, kept, filepath.Join(ws.Dir, ".nx"))
	}
}

func copyDir(tb testing.TB, from, to string) {
	tb.Helper()
	if out, err := exec.CommandContext(tb.Context(), "cp", "-a", from, to).CombinedOutput(); err != nil {
		tb.Fatalf("copying %s: %v\n%s", from, err, out)
	}
}

func (ws *Workspace) remove(tb testing.TB, name string) {
	tb.Helper()
	// Outputs may be directories that nobody may write to; only root can delete from those as they are.
	path := filepath.Join(ws.Dir, name)
	_ = filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(p, 0o755)
		}
		return nil
	})
	if err := os.RemoveAll(path); err != nil {
		tb.Fatal(err)
	}
}

func (ws *Workspace) writeJSON(tb testing.TB, name string, v any) {
	tb.Helper()
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		tb.Fatal(err)
	}
	ws.Write(tb, name, b.String())
}
