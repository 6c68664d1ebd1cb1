package policy

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata and the generated docs anew")

const examples = "../../../docs/examples/"

// parse compiles a policy that has to be one.
func parse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func read(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// fixture returns the claims of an example.
func fixture(t testing.TB, name string) map[string]any {
	t.Helper()
	claims, err := ParseClaims([]byte(read(t, examples+"claims/"+name+".json")))
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// TestExamples runs the tests that ship as examples, and asks that they leave out none of the claims that ship.
func TestExamples(t *testing.T) {
	left := map[string]bool{}
	files, err := filepath.Glob(examples + "claims/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		left[strings.TrimPrefix(filepath.ToSlash(f), examples)] = true
	}
	for policyName, testName := range map[string]string{"policy.yaml": "policy-test.yaml", "policy-oidc.yaml": "policy-oidc-test.yaml"} {
		p := parse(t, read(t, examples+policyName))
		tests, err := ParseTests(testName, []byte(read(t, examples+testName)))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range tests.Run(p, func(name string) ([]byte, error) {
			delete(left, name)
			return os.ReadFile(examples + name)
		}) {
			if r.Problem != "" {
				t.Errorf("%s:%d: %s: %s", testName, r.Line, r.Name, r.Problem)
			}
		}
	}
	if len(files) < 40 || len(left) > 0 {
		t.Errorf("%d claims ship, of which no test looks at %v", len(files), left)
	}
}
