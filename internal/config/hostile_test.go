package config

import (
	"strings"
	"testing"
)

// TestHostileFiles gives files that are small enough and would keep a YAML parser busy for minutes, or
// end the process for want of stack. Each is refused before it comes to that; if not, the test does not end.
func TestHostileFiles(t *testing.T) {
	fill := func(unit string) string { return strings.Repeat(unit, MaxFileSize/len(unit)-100) }
	for name, file := range map[string]string{
		"a folded text of empty lines":  "data: >\n" + fill(" \n"),
		"a literal text with an indent": "data: |9\n" + fill("         \n"),
		"an indicator after a bracket":  "]>" + fill("\n"),
		"an indicator with a comment":   "data: |-2 # a comment | of > all\n" + fill(" \n"),
		"a line of one character":       "data: " + fill("<"),
		"open brackets":                 "listen: " + strings.Repeat(fill("[")[:8000]+"\n", 100),
		"sequences in sequences":        "listen:\n" + strings.Repeat(fill("- ")[:8000]+"\n", 100),
		"keys":                          fill("a:\n"),
		"items":                         "listen:\n" + fill("- 1\n"),
		"anchors and aliases":           "data: &a [x, x]\nstore: &b [*a, *a]\nlisten: [*b, *b]\n",
		"too large":                     fill("# a comment\n") + strings.Repeat("#", 2000),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := load(t, []string{"--config=/f"}, nil, disk{"/f": file})
			if err == nil {
				t.Fatal("accepted")
			}
			if len(err.Error()) > 1000 {
				t.Errorf("a problem of %d bytes", len(err.Error()))
			}
		})
	}
}

// TestManyProblems: a file of nothing but problems does not fill the screen.
func TestManyProblems(t *testing.T) {
	_, _, err := load(t, []string{"--config=/f"}, nil, disk{"/f": "listen:\n" + strings.Repeat("- 1\n", 5000)})
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxShown+2 || lines[0] != "the configuration has 5000 problems:" || lines[len(lines)-1] != "  and 4900 more" {
		t.Errorf("%d lines, from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
}
