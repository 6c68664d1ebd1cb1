package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestHelp shows in a diff what a change does to what people read.
func TestHelp(t *testing.T) {
	var all bytes.Buffer
	env := &environment{Stdout: &all, Stderr: &all}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		fmt.Fprintf(&all, "\n$ %s --help\n", cmd.CommandPath())
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "completion" { // cobra's own
				walk(sub)
			}
		}
	}
	walk(newRootCmd(env))
	const golden = "testdata/help.golden"
	if *update {
		if err := os.WriteFile(golden, all.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), all.String()); diff != "" {
		t.Errorf("the help changed; if it should, run: go test ./cmd/bezoar -run TestHelp -update\n%s", diff)
	}
}
