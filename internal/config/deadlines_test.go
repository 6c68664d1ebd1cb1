package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDeadlinesAreDocumented holds the table of settings in docs/deadlines.md against all that are times, with their defaults, both ways.
func TestDeadlinesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/deadlines.md")
	if err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(string(text), "\n## Fixed\n")
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| `(\\w+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(table, -1) {
		documented[m[1]] = m[2]
	}
	for _, s := range settings() {
		if s.typ != reflect.TypeFor[time.Duration]() && s.typ != reflect.TypeFor[Wait]() {
			continue
		}
		if def, ok := documented[s.name]; !ok || def != s.def {
			t.Errorf("the setting %s is there with the default %q, want %q", s.name, def, s.def)
		}
		delete(documented, s.name)
	}
	for name := range documented {
		t.Errorf("there is no setting %s that is a time", name)
	}
}
