package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

// runCommand runs one command line and returns its exit status and what it printed.
func runCommand(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &environment{Environ: []string{"HOME=" + t.TempDir()}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
	return status, out.String(), errs.String()
}

// inLedger runs statements in the ledger of a data directory that nobody else uses now.
func inLedger(t *testing.T, data string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(data, ledger.FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(statement, err)
		}
	}
}

// aged makes it as if servers had looked for long, and as if nobody had used the entries for so many days.
func aged(t *testing.T, data string, days int) {
	t.Helper()
	now := time.Now().Unix()
	inLedger(t, data,
		fmt.Sprintf(`INSERT OR REPLACE INTO settings (name, value) VALUES ('retention', CAST('{"seen":%d,"since":1}' AS BLOB))`, now-60),
		fmt.Sprintf(`UPDATE entries SET used = %d`, now-int64(days)*86400))
}

// TestGC goes the whole way: a server stores, time goes by, and what the configuration and the policy bound goes, first in words and then for good.
func TestGC(t *testing.T) {
	data, body := t.TempDir(), artifacttest.Typical(1)
	s := startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	for _, hash := range []string{"1", "2", "3"} {
		if status, got := request(t, http.DefaultClient, "PUT", "http://"+s.addr+"/v1/cache/"+hash, body); status != 200 {
			t.Fatalf("PUT: %d %s", status, got)
		}
	}
	s.stop()
	bound := fmt.Sprint(2*len(body) + 1)
	if status, out, errs := runCommand(t, "gc", "--data", data, "--max-store-size", bound); status != exitFailure || !strings.Contains(out, "0 entries with 0 bytes went.") || !strings.Contains(out, "beyond the bound for the disk") {
		t.Fatalf("what came in a moment ago: %d\n%s%s", status, out, errs)
	}
	aged(t, data, 100)
	// The server notes that two of them are read.
	s = startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	for _, hash := range []string{"1", "3"} {
		if status, _ := request(t, http.DefaultClient, "GET", "http://"+s.addr+"/v1/cache/"+hash, nil); status != 200 {
			t.Fatalf("GET: %d", status)
		}
	}
	s.stop()
	var dry admin.Collection
	status, out, errs := runCommand(t, "gc", "--data", data, "--max-store-size", bound, "--dry-run", "--verbose", "--output", "json")
	if err := json.Unmarshal([]byte(out), &dry); err != nil || status != exitOK {
		t.Fatalf("%d %v\n%s%s", status, err, out, errs)
	}
	want := admin.Removed{Workspace: "default", Scope: "trusted", Reason: "disk", Entries: 1, Bytes: int64(len(body))}
	if len(dry.Removed) != 1 || dry.Removed[0] != want || len(dry.List) != 1 || dry.List[0].Hash != "2" || !dry.DryRun {
		t.Errorf("%+v", dry)
	}
	if status, out, errs := runCommand(t, "gc", "--data", data, "--max-store-size", bound, "--verbose"); status != exitOK || !strings.Contains(out, "1 entries with "+fmt.Sprint(len(body))+" bytes went.") ||
		!strings.Contains(out, "WORKSPACE  SCOPE    REASON  ENTRIES") || !strings.Contains(out, "trusted  2 ") {
		t.Errorf("%d\n%s%s", status, out, errs)
	}

	// By policy, one workspace, and one that nobody knows.
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	text := "version: 1\naudience: x\nworkspaces:\n  default: {developers: {}, retention: {trusted: {max_unused: 7d}}}\n"
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	aged(t, data, 8)
	if status, out, _ := runCommand(t, "gc", "--data", data, "--policy", policy, "--workspace", "other"); status != exitOK || !strings.Contains(out, "0 entries") {
		t.Errorf("%d\n%s", status, out)
	}
	if status, out, _ := runCommand(t, "gc", "--data", data, "--policy", policy, "--workspace", "default"); status != exitOK || !strings.Contains(out, "2 entries") || !strings.Contains(out, "unused") {
		t.Errorf("%d\n%s", status, out)
	}
	if status, out, _ := runCommand(t, "audit", "export", "--data", data); status != exitOK || strings.Count(out, `"action":"gc"`) != 2 || !strings.Contains(out, `\"unused\":2`) {
		t.Errorf("on record: %d\n%s", status, out)
	}
	s = startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	defer s.stop()
	for _, hash := range []string{"1", "2", "3"} {
		if status, _ := request(t, http.DefaultClient, "GET", "http://"+s.addr+"/v1/cache/"+hash, nil); status != 404 {
			t.Errorf("GET of %s, which is gone: %d", hash, status)
		}
		if status, got := request(t, http.DefaultClient, "PUT", "http://"+s.addr+"/v1/cache/"+hash, body); status != 200 {
			t.Errorf("PUT anew: %d %s", status, got)
		}
	}
}

func TestGCUsage(t *testing.T) {
	data := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"gc", "--data", data, "--output", "yaml"}, `--output is text or json, not "yaml"`},
		{[]string{"gc", "--data", data, "--workspace", "A"}, "--workspace: "},
		{[]string{"gc", "--data", data, "--policy", filepath.Join(data, "none")}, "the policy cannot be read"},
		{[]string{"gc", "--data", data}, "has no ledger"},
		{[]string{"gc", "x"}, "takes flags only"},
		{[]string{"scope", "list", "--data", data}, "takes the name of one workspace"},
		{[]string{"scope", "delete", "web", "trusted", "--data", data}, "--yes-trusted"},
		{[]string{"scope", "delete", "web", "x", "--data", data}, "a scope is"},
		{[]string{"scope", "delete", "web", "pr/1", "--data", data}, "has no ledger"},
	} {
		if status, out, errs := runCommand(t, c.args...); status == exitOK || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%q: %d %q %q", c.args, status, out, errs)
		}
	}
}

func TestScopes(t *testing.T) {
	data, body := t.TempDir(), artifacttest.Typical(1)
	s := startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	for _, hash := range []string{"1", "2"} {
		if status, got := request(t, http.DefaultClient, "PUT", "http://"+s.addr+"/v1/cache/"+hash, body); status != 200 {
			t.Fatalf("PUT: %d %s", status, got)
		}
	}
	s.stop()
	// While a server runs, which has one of them in hand.
	s = startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	defer s.stop()
	if status, out, _ := runCommand(t, "scope", "list", "default", "--data", data); status != exitOK || !strings.Contains(out, fmt.Sprintf("trusted  2        %d", 2*len(body))) {
		t.Errorf("%d\n%s", status, out)
	}
	var listed []scopeJSON
	if status, out, _ := runCommand(t, "scope", "list", "other", "--data", data, "--output", "json"); status != exitOK || json.Unmarshal([]byte(out), &listed) != nil || len(listed) != 0 {
		t.Errorf("%d\n%s", status, out)
	}
	if status, _, errs := runCommand(t, "scope", "delete", "default", "pr/1", "--data", data); status != exitOK || !strings.Contains(errs, "holds nothing") {
		t.Errorf("%d\n%s", status, errs)
	}
	if status, out, errs := runCommand(t, "scope", "delete", "default", "trusted", "--yes-trusted", "--data", data); status != exitOK || !strings.Contains(out, fmt.Sprintf("2 entries with %d bytes went.", 2*len(body))) {
		t.Errorf("%d\n%s%s", status, out, errs)
	}
	if status, _ := request(t, http.DefaultClient, "GET", "http://"+s.addr+"/v1/cache/1", nil); status != 404 {
		t.Errorf("GET of what is gone: %d", status)
	}
	if status, out, _ := runCommand(t, "audit", "export", "--data", data); status != exitOK || strings.Count(out, `"action":"gc"`) != 1 || !strings.Contains(out, `"subject":"scope"`) {
		t.Errorf("on record: %d\n%s", status, out)
	}
}
