//go:build e2e

package storage_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/emulator"
)

// TestMetricsAreDocumented holds the table in docs/operations.md against what a server over a bucket exposes. What only a server with a policy has is
// looked at beside the command.
func TestMetricsAreDocumented(t *testing.T) {
	p := onS3(t, bezoar.Build(t), emulator.Versity(t))
	p.key = p.binary.AddKey(t)
	s := p.replicas(t, 1, "--tier-dir", t.TempDir())[0]
	status, page, err := bezoar.Do(t.Context(), "GET", s.URL+"/metrics", nil)
	if err != nil || status != 200 {
		t.Fatalf("GET /metrics: %d, %v", status, err)
	}
	var exposed []string
	ofBuckets := 0
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (bezoar_\w+) (\w+)$`).FindAllStringSubmatch(string(page), -1) {
		exposed = append(exposed, m[1]+" "+m[2])
		if regexp.MustCompile(`^bezoar_(spool|tier)_`).MatchString(m[1]) {
			ofBuckets++
		}
	}
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(bezoar_\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(doc), -1) {
		documented = append(documented, m[1]+" "+m[2])
		if regexp.MustCompile(`^bezoar_(spool|tier)_`).MatchString(m[1]) && !slices.Contains(exposed, m[1]+" "+m[2]) {
			t.Errorf("documented and not exposed: %s %s", m[1], m[2])
		}
	}
	for _, metric := range exposed {
		if !slices.Contains(documented, metric) {
			t.Errorf("exposed and not documented: %s", metric)
		}
	}
	if ofBuckets < 10 {
		t.Errorf("only %d metrics are of buckets", ofBuckets)
	}
}
