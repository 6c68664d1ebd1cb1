package main

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// TestMetricsAreDocumented holds the table in docs/operations.md against what a server exposes, both ways.
func TestMetricsAreDocumented(t *testing.T) {
	c := newCI(t)
	s := c.serve()
	url := "http://" + s.addr
	session := s.session(c.token("github/push-main", nil))
	s.want(404, "GET", "1", session, nil)
	s.want(200, "PUT", "1", session, artifacttest.Typical(1))
	request(t, http.DefaultClient, "GET", url+"/api/v1/openapi.json", nil)
	var exposed []string
	waitFor(t, "the metrics of both requests", func() bool {
		_, page := request(t, http.DefaultClient, "GET", url+"/metrics", nil)
		exposed = nil
		for _, m := range regexp.MustCompile(`(?m)^# TYPE (bezoar_\w+) (\w+)$`).FindAllStringSubmatch(string(page), -1) {
			exposed = append(exposed, m[1]+" "+m[2])
		}
		return strings.Contains(string(page), `result="stored"`)
	})
	s.stop()
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(bezoar_\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(doc), -1) {
		if ofBuckets := strings.HasPrefix(m[1], "bezoar_spool_") || strings.HasPrefix(m[1], "bezoar_tier_"); !ofBuckets { // a test with a bucket has them all
			documented = append(documented, m[1]+" "+m[2])
		}
	}
	slices.Sort(exposed)
	slices.Sort(documented)
	if !slices.Equal(exposed, documented) {
		t.Errorf("exposed:    %v\ndocumented: %v", exposed, documented)
	}
}
