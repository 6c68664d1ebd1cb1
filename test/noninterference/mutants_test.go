//go:build mutants

package noninterference

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each mutant gets so many histories, from the same seed, that it is found with a margin.
const (
	mutantHistories     = 1000
	mutantFileHistories = 400
	mutantSeed          = "20261124"
)

// TestMutantsAreFound builds the code with a bug in it, one after the other, and wants the property to find each. Without a bug it has to hold.
func TestMutantsAreFound(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		for _, onFiles := range []bool{false, true} {
			if out, laws := runProperty(t, mutant{onFiles: onFiles}); len(laws) > 0 || !strings.Contains(out, "\nok ") {
				t.Fatalf("the property does not hold without a mutant:\n%s", out)
			}
		}
	})
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			out, laws := runProperty(t, m)
			if !slices.Contains(laws, m.breaks) {
				t.Fatalf("not found by %q, but by %q:\n%s", m.breaks, laws, out)
			}
			t.Logf("%s: found by %s", m.name, broken.FindStringSubmatch(out)[1])
		})
	}
}

var broken = regexp.MustCompile(`BROKEN map\[(.*)\]`)

// runProperty runs the property over the code with a mutant in it, and says which laws were broken.
func runProperty(t *testing.T, m mutant) (out string, laws []string) {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	test, histories := "^TestUntrustedStepsChangeNothing$", mutantHistories
	if m.onFiles {
		test, histories = "^TestUntrustedStepsChangeNothingOnFiles$", mutantFileHistories
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "test", "-count=1", "-vet=off", "-timeout=5m", "-v", "-overlay="+overlay(t, root, m), "-run", test,
		"./test/noninterference", "-survey", "-steps=1", "-file-steps=1", "-rapid.nofailfile", "-rapid.seed="+mutantSeed, fmt.Sprint("-rapid.checks=", histories))
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // one part, of one seed; and two mutants at a time
	b, _ := cmd.CombinedOutput()                   // what counts is what it says
	out = string(b)
	match := broken.FindStringSubmatch(out)
	if match == nil {
		return out, nil
	}
	for count := range strings.FieldsSeq(match[1]) {
		law, _, _ := strings.Cut(count, ":")
		laws = append(laws, law)
	}
	return out, laws
}

// overlay writes the changed files beside the others, for go build to take in their place.
func overlay(t *testing.T, root string, m mutant) string {
	t.Helper()
	dir := t.TempDir()
	text := map[string]string{}
	for _, e := range m.edits {
		if text[e.file] == "" {
			data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file)))
			if err != nil {
				t.Fatal(err)
			}
			text[e.file] = string(data)
		}
		if n := strings.Count(text[e.file], e.from); n != 1 {
			t.Fatalf("%s has this %d times, and not once: the mutant has to follow the code\n%s", e.file, n, e.from)
		}
		text[e.file] = strings.Replace(text[e.file], e.from, e.to, 1)
	}
	replace := map[string]string{}
	for file, changed := range text {
		to := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(to, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, filepath.FromSlash(file))] = to
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
