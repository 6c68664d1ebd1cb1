package doctor

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// volatile is what differs from run to run: ports, times and speeds.
var volatile = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`port \d+`), "port PORT"},
	{regexp.MustCompile(`"port": "\d+"`), `"port": "PORT"`},
	{regexp.MustCompile(`[0-9.]+ (ms|s)\b`), "TIME"},
	{regexp.MustCompile(`[0-9.]+ [KMG]?i?B/s`), "SPEED"},
	{regexp.MustCompile(`"(\w+_ms|\w+_per_second)": [0-9.e+-]+`), `"$1": 0`},
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	for _, v := range volatile {
		got = v.pattern.ReplaceAllString(got, v.with)
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; if that is right, run go test ./internal/doctor -update\n%s", file, diff)
	}
}

func render(t *testing.T, r *Report, style Style) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b, style); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	t.Parallel()
	healthy := serve(t, &fake{})
	r := examine(t, Options{Server: server(healthy.URL), Size: testSize,
		Workspace: write(t, map[string]string{"nx.json": goodConfig, "node_modules/nx/package.json": goodNx})})
	golden(t, "healthy.txt", render(t, r, Style{Unicode: true}))
	var out strings.Builder
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	if !json.Valid([]byte(out.String())) {
		t.Error("the document is no JSON")
	}
	golden(t, "healthy.json", out.String())

	// A workspace with all that people move from.
	r = examine(t, Options{Server: server(healthy.URL), Environ: []string{"NX_CLOUD_ACCESS_TOKEN=x", "NXCACHE_AZURE_ACCOUNT_KEY=x"},
		Workspace: write(t, map[string]string{
			"nx.json": `{"targetDefaults": {"build": {"cache": true}}, "nxCloudId": "0123456789abcdef01234567",
				"s3": {"bucket": "b", "region": "r"}, "azure": {"container": "c", "connectionString": "x"}, "cacheDirectory": "/mnt/nx",
				"tasksRunnerOptions": {"default": {"runner": "nx-remotecache-azure"}}}`,
			"package.json":    `{"devDependencies": {"@nx/s3-cache": "5.0.7", "@nx/shared-fs-cache": "5.0.4", "nx-remotecache-azure": "20.0.0"}}`,
			".nx/key/key.ini": "x", "node_modules/nx/package.json": goodNx, "node_modules/@nx/s3-cache/package.json": "{}",
		})})
	golden(t, "moving.txt", render(t, r, Style{Unicode: true}))

	limited := serve(t, &fake{before: on("PUT", status(413, "text/html", "<html>"))})
	r = examine(t, Options{Server: server(limited.URL + "/"), Token: Setting{Set: true, Source: "environment"}, Size: testSize})
	golden(t, "broken.txt", render(t, r, Style{}))
}

func TestStyle(t *testing.T) {
	t.Parallel()
	r := &Report{Server: "http://grün", Findings: []Finding{{ID: "url", Status: Fail, Title: "ü", Means: strings.Repeat("word ", 40), Do: "it"}}}
	r.conclude(false)
	plain := render(t, r, Style{})
	for _, c := range plain {
		if c > 0x7e {
			t.Errorf("%q in ASCII output:\n%s", c, plain)
		}
	}
	for line := range strings.Lines(plain) {
		if len(line) > textWidth+1 {
			t.Errorf("a line of %d characters: %s", len(line), line)
		}
	}
	if coloured := render(t, r, Style{Unicode: true, Color: true}); !strings.Contains(coloured, "\x1b[31m✗\x1b[0m url") {
		t.Errorf("no colours:\n%q", coloured)
	}
	if strings.Contains(plain, "\x1b") {
		t.Errorf("colours unasked:\n%q", plain)
	}
}
