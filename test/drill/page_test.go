//go:build e2e

package drill_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// page is docs/incident.md: its commands by the names that it gives them.
type page map[string]string

func readPage(t *testing.T) page {
	t.Helper()
	text, err := os.ReadFile("../../docs/incident.md")
	if err != nil {
		t.Fatal(err)
	}
	p := make(page)
	for _, m := range regexp.MustCompile("(?ms)^<!-- drill: (\\w+) -->\n```sh\n(.*?)^```$").FindAllSubmatch(text, -1) {
		p[string(m[1])] = string(m[2])
	}
	blocks := bytes.Count(text, []byte("```sh\n"))
	if blocks == 0 || len(p) != blocks {
		t.Fatalf("the page has %d blocks of commands, of which %d have names", blocks, len(p))
	}
	return p
}

// desk is where an administrator types the commands of the page.
type desk struct {
	page    page
	binary  bezoar.Binary
	path    string // with bezoar in it
	environ []string
	used    map[string]bool
}

func newDesk(t *testing.T, binary bezoar.Binary, environ ...string) *desk {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(binary.Command(t.Context()).Path, filepath.Join(dir, "bezoar")); err != nil {
		t.Fatal(err)
	}
	return &desk{page: readPage(t), binary: binary, path: dir + ":" + os.Getenv("PATH"), environ: environ, used: make(map[string]bool)}
}

// run runs a block of the page, of which each command has to succeed, and returns what it printed.
func (d *desk) run(t *testing.T, name string, environ ...string) string {
	t.Helper()
	script, ok := d.page[name]
	if !ok {
		t.Fatalf("the page has no commands called %q", name)
	}
	d.used[name] = true
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-u", "-c", script)
	cmd.Env = append(append(d.binary.Command(t.Context()).Env, "PATH="+d.path), append(d.environ, environ...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, out, &stderr)
	}
	t.Logf("%s:\n%s%s", name, head(out, 2000), head(stderr.Bytes(), 2000))
	return string(out)
}

func head(b []byte, n int) []byte { return b[:min(len(b), n)] }

// allUsed wants each block of the page to have been run.
func (d *desk) allUsed(t *testing.T) {
	t.Helper()
	for name := range d.page {
		if !d.used[name] {
			t.Errorf("nobody ran the commands called %q", name)
		}
	}
}
