// Package bezoar_test keeps the house in order: which package may know which.
package bezoar_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/bezoar-cache/bezoar/"

// mayImport lists, for each package, the packages of this module that it may import outside of tests. Arrows point toward cache, and from it to artifact. A new package or a new arrow is a decision: it is made here.
var mayImport = map[string][]string{
	"cmd/bezoar": {"internal/admin", "internal/admin/remote", "internal/admit", "internal/agent", "internal/api", "internal/artifact", "internal/audit", "internal/cache", "internal/config", "internal/divergence", "internal/doctor", "internal/health", "internal/keyring", "internal/ledger", "internal/purge", "internal/retention",
		"internal/scrub", "internal/server", "internal/store/aead", "internal/store/azure", "internal/store/breaker", "internal/store/bucket", "internal/store/fs", "internal/store/gcs", "internal/store/hot", "internal/store/metrics", "internal/store/prompt",
		"internal/store/recorded", "internal/store/s3", "internal/store/seal", "internal/store/spool", "internal/store/tier", "internal/store/traced", "internal/store/watched", "internal/store/used", "internal/tracing", "internal/trust", "internal/trust/oidc",
		"internal/trust/policy", "internal/watch"},
	"internal/admin":                   {"internal/artifact", "internal/audit", "internal/cache", "internal/divergence", "internal/keyring", "internal/ledger", "internal/purge", "internal/retention", "internal/store/seal", "internal/trust"},
	"internal/admin/remote":            {"internal/admin", "internal/cache", "internal/ledger"},
	"internal/admit":                   {},
	"internal/agent":                   {},
	"internal/api":                     {"internal/admin", "internal/audit", "internal/cache", "internal/divergence", "internal/ledger", "internal/trust", "internal/trust/policy"},
	"internal/artifact":                {},
	"internal/artifact/artifacttest":   {"internal/artifact"},
	"internal/audit":                   {"internal/cache", "internal/trust"},
	"internal/cache":                   {"internal/artifact"},
	"internal/config":                  {"internal/cache", "internal/strictyaml", "internal/trust"},
	"internal/divergence":              {"internal/artifact", "internal/cache"},
	"internal/doctor":                  {},
	"internal/health":                  {},
	"internal/keyring":                 {},
	"internal/ledger":                  {"internal/audit", "internal/cache", "internal/divergence", "internal/retention", "internal/trust"},
	"internal/purge":                   {"internal/cache", "internal/keyring", "internal/ledger", "internal/store/seal"},
	"internal/scrub":                   {"internal/cache"},
	"internal/retention":               {"internal/cache"},
	"internal/server":                  {"internal/admit", "internal/artifact", "internal/cache", "internal/trust"},
	"internal/store/aead":              {"internal/keyring", "internal/store/bucket"},
	"internal/store/azure":             {"internal/store/bucket"},
	"internal/store/breaker":           {"internal/cache"},
	"internal/store/bucket":            {"internal/cache", "internal/store/layout"},
	"internal/store/bucket/buckettest": {"internal/store/bucket", "internal/store/layout"},
	"internal/store/bucket/membucket":  {"internal/store/bucket"},
	"internal/store/fs":                {"internal/cache", "internal/store/layout"},
	"internal/store/gcs":               {"internal/store/bucket"},
	"internal/store/hot":               {"internal/cache"},
	"internal/store/layout":            {"internal/cache"},
	"internal/store/mem":               {"internal/cache"},
	"internal/store/metrics":           {"internal/cache"},
	"internal/store/prompt":            {"internal/cache"},
	"internal/store/recorded":          {"internal/cache"},
	"internal/store/s3":                {"internal/store/bucket"},
	"internal/store/seal":              {"internal/cache", "internal/keyring"},
	"internal/store/spool":             {"internal/cache"},
	"internal/store/storetest":         {"internal/artifact", "internal/cache"},
	"internal/store/tier":              {"internal/cache", "internal/store/layout", "internal/store/prompt"},
	"internal/store/traced":            {"internal/cache", "internal/store/metrics"},
	"internal/store/watched":           {"internal/cache", "internal/store/metrics"},
	"internal/store/used":              {"internal/cache"},
	"internal/strictyaml":              {},
	"internal/tracing":                 {},
	"internal/trust":                   {"internal/cache", "internal/keyring", "internal/trust/oidc", "internal/trust/policy", "internal/trust/session"},
	"internal/trust/oidc":              {},
	"internal/trust/oidc/oidctest":     {},
	"internal/trust/policy":            {"internal/cache", "internal/strictyaml"},
	"internal/trust/session":           {"internal/cache", "internal/keyring"},
	"internal/watch":                   {},
}

// onlyIn lists libraries that one package alone may know, so that replacing one is a matter of one package.
var onlyIn = map[string]string{
	"modernc.org/sqlite":                  "internal/ledger",
	"github.com/jackc/pgx":                "internal/ledger",
	"github.com/goccy/go-yaml":            "internal/strictyaml",
	"github.com/invopop/jsonschema":       "internal/config internal/trust/policy",
	"github.com/klauspost/compress":       "internal/artifact",
	"github.com/coreos/go-systemd":        "internal/server cmd/bezoar",
	"github.com/spf13/cobra":              "cmd/bezoar",
	"github.com/coreos/go-oidc":           "internal/trust/oidc",
	"github.com/go-jose/go-jose":          "internal/trust/oidc internal/trust/oidc/oidctest internal/trust/session",
	"github.com/hashicorp/golang-lru":     "internal/trust",
	"github.com/aws":                      "internal/store/s3",
	"github.com/Azure":                    "internal/store/azure",
	"golang.org/x/oauth2":                 "internal/store/gcs",
	"cloud.google.com/go":                 "internal/store/gcs",
	"go.opentelemetry.io/otel/exporters":  "internal/tracing",
	"go.opentelemetry.io/otel/sdk":        "internal/tracing",
	"go.opentelemetry.io/otel":            "internal/server internal/store/spool internal/store/traced internal/tracing",
	"github.com/tink-crypto/tink-go":      "internal/store/aead",
	"github.com/pb33f":                    "", // in tests alone
	"github.com/sony/gobreaker":           "internal/store/breaker",
	"github.com/KimMachineGun":            "cmd/bezoar",
	"github.com/prometheus/client_golang": "internal/api internal/divergence internal/audit internal/health internal/purge internal/scrub internal/retention internal/server internal/store/breaker internal/store/hot internal/store/metrics internal/store/recorded internal/store/seal internal/store/spool internal/store/tier internal/store/used internal/trust/oidc cmd/bezoar",
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func TestArrowsPointOneWay(t *testing.T) {
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(name, "test/") || p.ImportPath+"/" == module {
			continue // tests may know everything
		}
		allowed, ok := mayImport[name]
		if !ok {
			t.Errorf("%s has no place in the house: say in mayImport what it may know", name)
			continue
		}
		for _, imported := range p.Imports {
			if inner, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(allowed, inner) {
				t.Errorf("%s imports %s, which it must not know", name, inner)
			}
			for library, places := range onlyIn {
				if (imported == library || strings.HasPrefix(imported, library+"/")) && !slices.Contains(strings.Fields(places), name) {
					t.Errorf("%s imports %s, which is the business of %s alone", name, imported, places)
				}
			}
		}
	}
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
