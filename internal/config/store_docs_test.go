package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestStoreParamsAreDocumented holds the tables of docs/storage-buckets.md against the parameters, both ways.
func TestStoreParamsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/storage-buckets.md")
	if err != nil {
		t.Fatal(err)
	}
	for scheme, heading := range map[string]string{
		SchemeS3: "### Amazon S3 and what speaks it\n", SchemeGS: "### Google Cloud Storage\n", SchemeAzblob: "### Azure Blob Storage\n",
	} {
		_, rest, ok := strings.Cut(string(doc), heading)
		if !ok {
			t.Fatalf("there is no %q", heading)
		}
		section, _, _ := strings.Cut(rest, "\n##")
		var told, want []string
		for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(section, -1) {
			told = append(told, row[1])
		}
		for _, p := range storeParams() {
			if slices.Contains(p.of, scheme) {
				want = append(want, p.name)
			}
		}
		slices.Sort(told)
		slices.Sort(want)
		if !slices.Equal(told, want) {
			t.Errorf("%s:// is documented with %v, and has %v", scheme, told, want)
		}
	}
}

// TestStoreURLsInDocs reads the URLs of buckets that the docs show as settings.
func TestStoreURLsInDocs(t *testing.T) {
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/migrate/*.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`store:? ["']((?:s3|gs|azblob)://[a-z][^"'…]*)["']`)
	seen := 0
	for _, path := range append(paths, more...) {
		doc, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range shown.FindAllStringSubmatch(string(doc), -1) {
			seen++
			if _, err := parseStoreURL(m[1]); err != nil {
				t.Errorf("%s: %s: %v", path, m[1], err)
			}
		}
	}
	if seen < 6 {
		t.Errorf("only %d URLs were seen", seen)
	}
}
