package config

import (
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// TestManyProblems: a file of nothing but problems does not fill the screen.
func TestManyProblems(t *testing.T) {
	_, _, err := load(t, []string{"--config=/f"}, nil, disk{"/f": "listen:\n" + strings.Repeat("- 1\n", 5000)})
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != strictyaml.MaxListed+2 || lines[0] != "the configuration has 5000 problems:" || lines[len(lines)-1] != "  and 4900 more" {
		t.Errorf("%d lines, from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
}
