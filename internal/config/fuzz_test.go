package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzLoad says of any file: it is accepted or refused with problems that have a place; and what is accepted gives the
// same configuration when it is printed and read again.
func FuzzLoad(f *testing.F) {
	cases, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range cases {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if file.Name == "/etc/bezoar.yaml" {
				f.Add(file.Data)
			}
		}
	}
	doc, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example(f, doc))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := disk{"/f": string(data), "/run/secrets/metrics": "secret\n"}
		c, sources, err := load(t, []string{"--config=/f"}, nil, d)
		if err != nil {
			problems, ok := errors.AsType[Problems](err)
			if !ok || len(problems) == 0 {
				t.Fatalf("an error without problems: %v", err)
			}
			for _, p := range problems {
				if p.What == "" || p.Hint == "" {
					t.Errorf("a problem without words: %#v", p)
				}
				if strings.ContainsAny(p.Error(), "\n\r\x1b") {
					t.Errorf("a problem of more than a line: %q", p.Error())
				}
			}
			return
		}
		var out bytes.Buffer
		if err := c.WriteYAML(&out, sources); err != nil {
			t.Fatal(err)
		}
		d["/f"] = out.String()
		if c.MetricsToken.Set() && c.MetricsToken.File() == "" {
			d["/f"] = strings.Replace(d["/f"], `metrics-token: "[redacted]"`, fmt.Sprintf("metrics-token: %q", c.MetricsToken.Reveal()), 1)
		}
		if c.LedgerPassword.Set() && c.LedgerPassword.File() == "" {
			d["/f"] = strings.Replace(d["/f"], `ledger-password: "[redacted]"`, fmt.Sprintf("ledger-password: %q", c.LedgerPassword.Reveal()), 1)
		}
		again, _, err := load(t, []string{"--config=/f"}, nil, d)
		if err != nil {
			t.Fatalf("what was printed is refused: %v\n%s", err, d["/f"])
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("what was printed is another configuration: %s\n%s", diff, d["/f"])
		}
	})
}
