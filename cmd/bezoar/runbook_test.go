package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// captured returns the first group of all matches, each once, in order.
func captured(pattern, text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestRunbook: each cause that is added anywhere in the server has its section in docs/runbook.md, its alert, and its words in docs/operations.md; and
// there are no others.
func TestRunbook(t *testing.T) {
	sources, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, file := range sources {
		if name := file.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			code.WriteString(read(t, name))
		}
	}
	causes := captured(`causes\.Add\("(\w+)"`, code.String())
	if n := strings.Count(code.String(), "causes.Add("); n != len(causes) || n == 0 {
		t.Fatalf("of %d causes that are added, the names of %d can be read: %v", n, len(causes), causes)
	}
	_, book, _ := strings.Cut(read(t, "../../docs/runbook.md"), "<!-- runbook:")
	if got := captured(`(?m)^## (\S+)$`, book); !slices.Equal(got, causes) {
		t.Errorf("docs/runbook.md has %v\nservers have        %v", got, causes)
	}
	alerts := read(t, "../../deploy/alerts.yaml")
	if got := captured(`expr: bezoar_degraded\{cause="(\w+)"\} > 0\n`, alerts); !slices.Equal(got, causes) {
		t.Errorf("deploy/alerts.yaml has %v\nservers have           %v", got, causes)
	}
	for _, section := range captured(`runbook: docs/runbook\.md#(\S+)`, alerts) {
		if !slices.Contains(causes, section) {
			t.Errorf("an alert leads to %q, which the runbook does not have", section)
		}
	}
	for _, cause := range causes {
		if !strings.Contains(read(t, "../../docs/operations.md"), "`"+cause+"`: ") {
			t.Errorf("docs/operations.md does not explain the cause %s", cause)
		}
	}
}

// TestAlerts ask for metrics and labels that docs/operations.md has, which another test holds to what is exposed; and none of them fires on misses.
func TestAlerts(t *testing.T) {
	metrics := captured("(?m)^\\| `(bezoar_\\w+)` \\|", read(t, "../../docs/operations.md"))
	exprs := captured(`(?m)^ +expr: (.*)$`, read(t, "../../deploy/alerts.yaml"))
	if len(exprs) == 0 {
		t.Fatal("there are no alerts")
	}
	for _, expr := range exprs {
		for _, name := range captured(`(bezoar_\w+)`, expr) {
			if !slices.Contains(metrics, name) {
				t.Errorf("%s: there is no metric %s", expr, name)
			}
		}
		if strings.Contains(expr, "miss") || strings.Contains(expr, "bezoar_requests_total") && !strings.Contains(expr, `cause="damaged"`) && !strings.Contains(expr, `result="error"`) {
			t.Errorf("%s: may fire on misses", expr)
		}
	}
}
