package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

// divergencesOf returns what the command lists.
func divergencesOf(t *testing.T, dir string, args ...string) (all []admin.Divergence) {
	t.Helper()
	status, stdout, stderr := ledgerCommand(t, dir, append([]string{"divergences", "--json", "--data", dir}, args...)...)
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || status != exitOK {
		t.Fatalf("status %d: %v\n%s%s", status, err, stdout, stderr)
	}
	return all
}

// TestAnAttemptRaisesTheAlarm is the whole way: a pull request uploads before main does, and the server tells who and what; so it does if nobody knew of the entries
// until the ledger was made anew.
func TestAnAttemptRaisesTheAlarm(t *testing.T) {
	c := newCI(t)
	s := c.serve()
	main := s.session(c.token("github/push-main", map[string]any{"run_id": "4711", "actor_id": "11"}))
	pr := s.session(c.token("github/pull_request", map[string]any{"run_id": "4712", "actor_id": "12"}))
	file := func(text string) []byte {
		return artifacttest.Nx(artifacttest.File("dist/\x1b[31mmain.js", text), artifacttest.File("dist/same.js", "same"))
	}
	s.want(200, "PUT", "1", pr, file("poison"))
	s.want(200, "PUT", "1", main, file("genuine"))
	s.want(200, "PUT", "2", pr, artifacttest.GzipLevel(artifacttest.Tar(artifacttest.File("dist/x", "x"), artifacttest.TerminalOutput("3 ms"), artifacttest.Code(0)), 9))
	s.want(200, "PUT", "2", main, artifacttest.Nx(artifacttest.File("dist/x", "x")))
	waitFor(t, "the alarm", func() bool { return s.metric(`bezoar_divergences_total{level="first"} 1`) })
	if log := s.stderr.String(); strings.Count(log, "an attempt to poison") != 1 || !strings.Contains(log, "run_id=4712") {
		t.Errorf("the log does not tell once:\n%s", log)
	}
	check := func() admin.Divergence {
		t.Helper()
		all := divergencesOf(t, c.data)
		if len(all) != 1 {
			t.Fatalf("%+v", all)
		}
		d := all[0]
		if d.Hash != "1" || d.Level != "first" || d.Trusted.Producer.RunID != "4711" || d.Other.Producer.RunID != "4712" || d.Comparison.Differing != 1 || len(d.Comparison.Members) != 1 {
			t.Errorf("%+v", d)
		}
		return d
	}
	d := check()

	id := fmt.Sprint(d.ID)
	status, stdout, stderr := ledgerCommand(t, c.data, "divergences", "show", id, "--data", c.data)
	for _, want := range []string{
		`(?m)^  level +first: nothing of the kind was seen before$`,
		`(?m)^  run_id +4711 +4712$`,
		`(?m)^  dist/\\x1b\[31mmain\.js +0644 file, 7 bytes, [0-9a-f]{12} +0644 file, 6 bytes, [0-9a-f]{12}$`,
		`(?m)^  1 of 1 members that differ are shown; 0 are in the trusted one alone, 0 in the other one alone$`,
		`(?m)^    bezoar inspect \S+ '` + regexp.QuoteMeta(d.Scope) + `' 1$`,
		`(?m)^    bezoar revoke run '4712' --workspace \S+ --reason 'divergence ` + id + `'$`,
	} {
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("no %s in\n%s", want, stdout)
		}
	}
	if status != exitOK || stderr != "" || strings.Contains(stdout, "\x1b") {
		t.Errorf("status %d: %q", status, stderr)
	}
	if _, shown, _ := ledgerCommand(t, c.data, "divergences", "show", id, "--json", "--data", c.data); !strings.Contains(shown, `"dist/\u001b[31mmain.js"`) {
		t.Error(shown)
	}
	_, table, _ := ledgerCommand(t, c.data, "divergences", string(d.Workspace), "--first-only", "--since", "1h", "--data", c.data)
	if !regexp.MustCompile(`(?m)^` + id + ` +\S+Z +first +` + string(d.Workspace) + ` +1 +1 +\S+ +run 4712 of `).MatchString(table) {
		t.Error(table)
	}
	for _, args := range [][]string{{"docs"}, {"--scope", "pr/1"}, {"--since", time.Now().Add(time.Hour).Format(time.RFC3339)}} {
		if all := divergencesOf(t, c.data, args...); len(all) != 0 {
			t.Errorf("%q: %+v", args, all)
		}
	}
	if s.stop() != exitOK {
		t.Error(s.stderr)
	}

	if err := os.Remove(filepath.Join(c.data, "had-credentials")); err != nil { // as an administrator does who lost the ledger
		t.Fatal(err)
	}
	newLedger(t, c.data)
	if status, _, stderr := ledgerCommand(t, c.data, "ledger", "rebuild", "--data", c.data); status != exitOK {
		t.Fatal(stderr)
	}
	s = c.serve()
	waitFor(t, "the alarm of what was there before", func() bool { return s.metric(`bezoar_divergences_total{level="first"} 1`) })
	check()
	s.stop()
}

// TestListOfDivergences: pages, bounds, what was counted and not kept.
func TestListOfDivergences(t *testing.T) {
	dir := t.TempDir()
	newLedger(t, dir)
	l, err := ledger.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	recordDivergences(t, l, 103)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]int{"": 100, "--limit 7": 7, "--limit 0": 100, "--first-only --limit 200": 100} {
		if all := divergencesOf(t, dir, strings.Fields(args)...); len(all) != want {
			t.Errorf("%q: %d, want %d", args, len(all), want)
		}
	}
	_, stdout, stderr := ledgerCommand(t, dir, "divergences", "--limit", "7", "--data", dir)
	if lines := strings.Count(stdout, "\n"); lines != 8 || !strings.Contains(stdout, " pending ") || !strings.Contains(stdout, " ? ") {
		t.Error(stdout)
	}
	if !strings.Contains(stderr, "There are more: --limit shows them.\n3 more of scope pr/1 in workspace web, from ") {
		t.Error(stderr)
	}
	if _, stdout, _ = ledgerCommand(t, dir, "divergences", "show", "1", "--data", dir); !strings.Contains(stdout, "not known: the archives are not compared yet") {
		t.Error(stdout)
	}
}

// recordDivergences has a ledger find n of pr/1.
func recordDivergences(t *testing.T, l *ledger.Ledger, n int) {
	t.Helper()
	var entries []cache.Entry
	for i := range n {
		for k, scope := range []cache.Scope{cache.Trusted, "pr/1"} {
			entries = append(entries, cache.Entry{
				Key:    cache.Key{Workspace: "web", Scope: scope, Hash: cache.Hash(strconv.Itoa(i))},
				Record: cache.Record{SHA256: artifact.Digest{byte(k)}, Content: artifact.Digest{byte(k)}, Created: time.Now()},
			})
		}
	}
	if err := l.RecordEntries(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		found, err := l.FindDivergences(t.Context(), 500)
		if err != nil {
			t.Fatal(err)
		}
		more = found.More
	}
}
