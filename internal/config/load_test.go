package config

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write testdata and the generated docs anew")

// disk is a machine with a few files and a working directory.
type disk map[string]string

func (d disk) ReadFile(name string, limit int64) ([]byte, fs.FileMode, error) {
	content, ok := d[name]
	if !ok {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	mode := fs.FileMode(0o600)
	if strings.HasPrefix(name, "/public/") {
		mode = 0o644
	}
	return []byte(content)[:min(int64(len(content)), limit)], mode, nil
}

func (d disk) Abs(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	return filepath.Join("/cwd", name), nil
}

// load parses args and loads, as a command would.
func load(t testing.TB, args, environ []string, d disk) (*Config, *Sources, error) {
	t.Helper()
	flags := pflag.NewFlagSet("bezoar", pflag.ContinueOnError)
	Flags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(flags, append(environ, "HOME=/home/u"), d)
}

// TestLoad runs the cases in testdata/load. Each has the command line (args, one in a line), the environment (env), files, and what
// `bezoar config check` says of them (want).
func TestLoad(t *testing.T) {
	cases, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			d := disk{}
			var args, environ []string
			var want *txtar.File
			for i, f := range archive.Files {
				switch f.Name {
				case "args":
					args = lines(f.Data)
				case "env":
					environ = lines(f.Data)
				case "want":
					want = &archive.Files[i]
				default:
					d[f.Name] = string(f.Data)
				}
			}
			if _, ok := d["/etc/bezoar.yaml"]; ok {
				environ = append(environ, "BEZOAR_CONFIG=/etc/bezoar.yaml")
			}
			var got bytes.Buffer
			c, sources, err := load(t, args, environ, d)
			if err != nil {
				got.WriteString(err.Error() + "\n")
			} else {
				for _, w := range sources.Warnings {
					got.WriteString("warning: " + w + "\n")
				}
				if err := c.WriteYAML(&got, sources); err != nil {
					t.Fatal(err)
				}
			}
			if *update {
				want.Data = got.Bytes()
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(want.Data), got.String()); diff != "" {
				t.Errorf("-want +got (go test -update writes it anew):\n%s", diff)
			}
		})
	}
}

func lines(data []byte) []string { return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") }

// Files from Windows. Not in testdata, where Git would change their line ends.
func TestLoadCRLF(t *testing.T) {
	c, _, err := load(t, []string{"--config=/f"}, nil, disk{"/f": "\ufeffmax-members: 7\r\n\r\nlog-format: json\r\n"})
	if err != nil {
		t.Fatal(err)
	}
	if c.MaxMembers != 7 || c.LogFormat != LogJSON {
		t.Errorf("read as %v", c)
	}
}
