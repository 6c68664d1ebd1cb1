package strictyaml

import (
	"strings"
	"testing"
)

var words = Words{File: "a configuration", Entry: "setting", Entries: "settings", Deepest: "no setting needs more than a list of mappings"}

// TestHostileFiles gives files that are small enough and would keep a YAML parser busy for minutes, or
// end the process for want of stack. Each is refused before it comes to that; if not, the test does not end.
func TestHostileFiles(t *testing.T) {
	fill := func(unit string) string { return strings.Repeat(unit, MaxSize/len(unit)-100) }
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
			_, p := Parse([]byte(file), words)
			if p == nil {
				t.Fatal("accepted")
			}
			if len(p.Error()) > 1000 {
				t.Errorf("a problem of %d bytes", len(p.Error()))
			}
		})
	}
}

// TestDeepFiles: what nests as deep as a file's size and lines allow is read, with a stack that grows only a little.
func TestDeepFiles(t *testing.T) {
	const depth = 1000
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	n, p := Parse([]byte(b.String()), words)
	if p != nil {
		t.Fatal(p)
	}
	for i := range depth {
		if len(n.Pairs) != 1 || n.Pairs[0].At != (Position{i + 1, i + 1}) {
			t.Fatalf("at depth %d: %+v", i, n.Pairs)
		}
		n = n.Pairs[0].Value
	}
}
