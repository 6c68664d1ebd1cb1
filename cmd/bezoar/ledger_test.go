package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// ledgerCommand runs bezoar and returns what it wrote, with the directory's name left out.
func ledgerCommand(t *testing.T, dir string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	status = run(t.Context(), args, &environment{Environ: []string{"HOME=" + dir}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut})
	return status, strings.ReplaceAll(out.String(), dir, "DIR"), strings.ReplaceAll(errOut.String(), dir, "DIR")
}

// entriesOf returns the scopes and hashes that the ledger command lists.
func entriesOf(t *testing.T, dir string, args ...string) (keys []string) {
	t.Helper()
	status, stdout, stderr := ledgerCommand(t, dir, append([]string{"ledger", "entries", "--json", "--data", dir}, args...)...)
	var entries []admin.Entry
	if err := json.Unmarshal([]byte(stdout), &entries); err != nil || status != exitOK {
		t.Fatalf("status %d: %v\n%s%s", status, err, stdout, stderr)
	}
	keys = []string{}
	for _, e := range entries {
		keys = append(keys, e.Scope+" "+string(e.Hash))
	}
	return keys
}

// newLedger makes a ledger that knows nothing in place of the one that is there.
func newLedger(t *testing.T, dir string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.RemoveAll(filepath.Join(dir, ledger.FileName+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := ledger.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWhatDidThisRunWrite is the whole way: jobs upload, the ledger tells, also after it was lost.
func TestWhatDidThisRunWrite(t *testing.T) {
	c := newCI(t)
	s := c.serve()
	main := s.session(c.token("github/push-main", map[string]any{"run_id": "4711", "actor_id": "11"}))
	pr := s.session(c.token("github/pull_request", map[string]any{"run_id": "4712", "actor_id": "12"}))
	s.want(200, "PUT", "1", main, artifacttest.Typical(1))
	s.want(200, "PUT", "2", main, artifacttest.Typical(2))
	s.want(200, "PUT", "3", pr, artifacttest.Typical(3))
	waitFor(t, "the entries in the ledger", func() bool { return len(entriesOf(t, c.data)) == 3 })
	if !s.metric(`bezoar_ledger_changes_total{result="recorded"} 3`) {
		t.Error("the metrics do not tell")
	}
	s.want(200, "PUT", "4", pr, artifacttest.Typical(4))
	s.stop() // which writes what waits

	ask := func() {
		t.Helper()
		for args, want := range map[string][]string{
			"--run 4711":           {"trusted 2", "trusted 1"},
			"--run 4712 --limit 1": {"pr/17 4"},
			"--actor 12":           {"pr/17 4", "pr/17 3"},
			"--repository 456789 --scope trusted --workspace web": {"trusted 2", "trusted 1"},
			"--ref refs/heads/main --hash 1":                      {"trusted 1"},
			"--since 1h --until 2100-01-01 --limit 0":             {"pr/17 4", "pr/17 3", "trusted 2", "trusted 1"},
			"--until 1h":           {},
			"--workspace library":  {},
			"--token 0123456789ab": {},
		} {
			if diff := cmp.Diff(want, entriesOf(t, c.data, strings.Fields(args)...)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", args, diff)
			}
		}
	}
	scope := strings.Fields(entriesOf(t, c.data, "--run", "4712")[0])[0]
	if scope != "pr/17" {
		t.Fatalf("the example is of %s", scope)
	}
	ask()
	check := func(want int, text string) {
		t.Helper()
		status, stdout, stderr := ledgerCommand(t, c.data, "ledger", "check", "--data", c.data)
		if status != want || !strings.Contains(stdout, text) || stderr != "" {
			t.Errorf("check: status %d\n%s%s", status, stdout, stderr)
		}
	}
	check(exitOK, "were listed  4\n")

	// The ledger is lost, with all that it knew.
	if err := os.Remove(filepath.Join(c.data, "had-credentials")); err != nil {
		t.Fatal(err)
	}
	newLedger(t, c.data)
	check(exitFailure, "not in the ledger                    4\n")
	status, stdout, stderr := ledgerCommand(t, c.data, "ledger", "rebuild", "--data", c.data, "--json")
	want := `{"listed": 4, "added": 4, "corrected": 0, "forgotten": 0, "unfit": 0, "errors": 0}`
	if got := strings.Join(strings.Fields(stdout), " "); status != exitOK || got != strings.NewReplacer("{", "{ ", "}", " }").Replace(want) || stderr != "" {
		t.Errorf("rebuild: status %d\n%s\n%s", status, got, stderr)
	}
	ask()
	check(exitOK, "were listed  4\n")

	// Somebody deletes an entry by hand.
	for _, path := range files(t, filepath.Join(c.data, "store", "entries")) {
		if filepath.Base(path) == "1" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	check(exitFailure, "in the ledger and gone               1\n")
	if status, stdout, _ := ledgerCommand(t, c.data, "ledger", "rebuild", "--data", c.data); status != exitOK || !strings.Contains(stdout, "forgotten                            1\n") {
		t.Errorf("rebuild: status %d\n%s", status, stdout)
	}
	if got := entriesOf(t, c.data, "--run", "4711"); len(got) != 1 {
		t.Errorf("after the deletion: %v", got)
	}
}

// TestNoRequestWaitsForTheLedger: somebody holds its lock, as a backup may, and builds do not feel it.
func TestNoRequestWaitsForTheLedger(t *testing.T) {
	dir := t.TempDir()
	s := startServe(t, "--data", dir, "--listen", "127.0.0.1:0")
	// The server writes to it as well when it starts.
	db, err := sql.Open("sqlite", filepath.Join(dir, ledger.FileName)+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	holder, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if _, err := holder.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	s.want(200, "PUT", "1", "open", artifacttest.Typical(1))
	s.want(200, "GET", "1", "open", nil)
	waitFor(t, "an attempt of the ledger", func() bool { return s.metric(`bezoar_degraded{cause="entries"} 1`) })
	s.want(200, "PUT", "2", "open", artifacttest.Typical(2))
	s.want(200, "GET", "2", "open", nil)
	if got := entriesOf(t, dir); len(got) != 0 {
		t.Errorf("the ledger knows %v", got)
	}
	if _, err := holder.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the entries in the ledger", func() bool { return len(entriesOf(t, dir)) == 2 })
	waitFor(t, "the end of the trouble", func() bool { return s.metric(`bezoar_degraded{cause="entries"} 0`) })
	s.stop()
}

// TestRebuildBelievesSealsAlone: what somebody else put into the storage does not come into the ledger.
func TestRebuildBelievesSealsAlone(t *testing.T) {
	dir := inspectDir(t)
	newLedger(t, dir)
	status, stdout, stderr := ledgerCommand(t, dir, "ledger", "rebuild", "--data", dir)
	if want := `Entries in the store that were listed  4
  added                                4
  corrected                            0
  forgotten                            0
Entries whose seal is not good         3
`; status != exitFailure || stdout != want {
		t.Errorf("status %d\n%s", status, stdout)
	}
	for _, want := range []string{`trusted unsealed" is not recorded: it has no seal`, `trusted foreign" is not recorded: it is sealed with a key`, `trusted moved" is not recorded: its seal is broken`} {
		if !strings.Contains(stderr, want) {
			t.Errorf("nothing is said of %s:\n%s", want, stderr)
		}
	}
	if got := entriesOf(t, dir, "--hash", "moved"); len(got) != 0 {
		t.Errorf("the ledger knows %v", got)
	}
	// With another key file nothing is good, and nothing that is known is forgotten.
	other := filepath.Join(dir, "other.key")
	if err := os.WriteFile(other, []byte(strings.Replace(inspectKey, "01", "03", 1)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, stdout, _ := ledgerCommand(t, dir, "ledger", "rebuild", "--data", dir, "--seal-key-file", other); status != exitFailure || !strings.Contains(stdout, "forgotten                            0\n") {
		t.Errorf("status %d\n%s", status, stdout)
	}
	if got := entriesOf(t, dir); len(got) != 4 {
		t.Errorf("the ledger knows %v", got)
	}

	// What people see of it can do nothing to a terminal.
	status, stdout, stderr = ledgerCommand(t, dir, "ledger", "entries", "--data", dir, "--run", "1658821493", "--scope", "pr/17")
	if want := `CREATED               WORKSPACE  SCOPE  HASH  SIZE  MADE BY
2026-02-03T04:05:06Z  web        pr/17  1     7196  run 1658821493 of acme/web, refs/heads/\x1b[31mfeat, by octo (583231)
`; status != exitOK || stderr != "" || stdout != want {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
	}
	_, stdout, stderr = ledgerCommand(t, dir, "ledger", "entries", "--data", dir, "--run", "1658821493", "--limit", "1", "--json")
	if strings.Contains(stdout, "\x1b") || stderr != "There are more: --limit shows them.\n" {
		t.Errorf("%s%s", stdout, stderr)
	}
}

// TestListedInTurn: of several places, each is asked, until nobody asks any more.
func TestListedInTurn(t *testing.T) {
	var places inTurn
	for _, hash := range []string{"1", "2", "3"} {
		store := mem.New()
		if err := storetest.Put(t.Context(), store, storetest.Key(hash), nil); err != nil {
			t.Fatal(err)
		}
		places = append(places, store)
	}
	for _, most := range []int{2, 3} {
		var got []string
		for entry, err := range places.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, string(entry.Key.Hash)); len(got) == most {
				break
			}
		}
		if diff := cmp.Diff([]string{"1", "2", "3"}[:most], got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestPastTime(t *testing.T) {
	now := time.Date(2026, 11, 24, 4, 21, 40, 0, time.UTC)
	for text, want := range map[string]string{
		"7d": "2026-11-17T04:21:40Z", "0d": "2026-11-24T04:21:40Z", "90m": "2026-11-24T02:51:40Z", "2026-11-01": "2026-11-01T00:00:00Z",
		"2026-11-01T02:00:00+02:00": "2026-11-01T00:00:00Z", "2h30m": "2026-11-24T01:51:40Z",
		"": "", "-1h": "", "-1d": "", "x": "", "1": "", "99999d": "", "d": "", "2026-13-01": "", "yesterday": "",
	} {
		at, err := pastTime(text, now)
		if got := timeOr(at, ""); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}
