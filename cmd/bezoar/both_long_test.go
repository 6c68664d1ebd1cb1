package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/audit"
)

// TestLongWorkAtServers orders, at one of two servers over the same data, what takes longer than a request: it is in force at both, and on record as done by
// the token.
func TestLongWorkAtServers(t *testing.T) {
	data, body := t.TempDir(), artifacttest.Typical(1)
	admins := mustCommand(t, "token", "create", "--data", data, "--name", "ops", "--role", "admin")
	stolen := strings.TrimSpace(mustCommand(t, "token", "create", "--data", data, "--name", "stolen", "--access", "trusted"))
	reader := strings.TrimSpace(mustCommand(t, "token", "create", "--data", data, "--name", "reader", "--access", "read"))
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(admins), 0o600); err != nil {
		t.Fatal(err)
	}
	one := startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	two := startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	defer two.stop()
	defer one.stop()
	at := func(s *running, args ...string) []string {
		return append(args, "--server", "http://"+s.addr, "--token-file", file)
	}
	get := func(s *running, hash string) int {
		status, _ := call(t, http.MethodGet, "http://"+s.addr+"/v1/cache/"+hash, reader, nil)
		return status
	}
	hashes := []string{"1", "2", "3"}
	for _, hash := range hashes {
		if status, text := call(t, http.MethodPut, "http://"+one.addr+"/v1/cache/"+hash, stolen, body); status != 200 {
			t.Fatal(status, text)
		}
	}
	waitFor(t, "the entries to be known", func() bool {
		return len(decode[[]admin.Entry](t, mustCommand(t, at(two, "ledger", "entries", "--json")...))) == len(hashes)
	})
	if scopes := decode[[]scopeJSON](t, mustCommand(t, at(one, "scope", "list", "default", "--json")...)); len(scopes) != 1 || scopes[0].Entries != 3 || scopes[0].Used == "" {
		t.Errorf("%+v", scopes)
	}

	plan := decode[planJSON](t, mustCommand(t, at(one, "purge", "--hash", "2", "--json")...))
	if !plan.DryRun || !plan.Complete || plan.Entries != 1 || plan.Purge != nil || get(one, "2") != 200 {
		t.Errorf("%+v", plan)
	}
	purged := decode[planJSON](t, mustCommand(t, at(one, "purge", "--hash", "2", "--yes", "--reason", "INC-42", "--json")...))
	if get(one, "2") != 404 {
		t.Error("the server that was asked serves what was purged")
	}
	if p := purged.Purge; purged.Entries != 1 || p == nil || p.State != "quarantined" || p.Entries["held"] != 1 || !strings.HasPrefix(p.By, "token ops (") {
		t.Fatalf("%+v", purged)
	}
	waitFor(t, "the other server to hear of it", func() bool { return get(two, "2") == 404 })
	if get(one, "1") != 200 || get(two, "3") != 200 {
		t.Error("more was purged than was asked for")
	}
	for _, p := range decode[[]admin.Purge](t, mustCommand(t, at(two, "purge", "list", "--json")...)) {
		if p.ID != purged.Purge.ID || p.Reason != "INC-42" {
			t.Errorf("%+v", p)
		}
	}
	if out := mustCommand(t, at(two, "purge", "resume", purged.Purge.ID)...); !strings.Contains(out, "1 entries (") {
		t.Error(out)
	}
	if out := mustCommand(t, at(two, "purge", "undo", purged.Purge.ID)...); !strings.Contains(out, "is undone: 1 entries are back") {
		t.Error(out)
	}
	waitFor(t, "it to be back", func() bool { return get(one, "2") == 200 && get(two, "2") == 200 })
	if _, stderr, status := command(t, at(one, "purge", "discard", purged.Purge.ID)...); status != exitFailure || !strings.Contains(stderr, "is undone") {
		t.Error(status, stderr)
	}

	if out := mustCommand(t, at(one, "gc")...); out != "0 entries with 0 bytes went.\n" {
		t.Error(out)
	}
	runs := decode[[]admin.GCRun](t, mustCommand(t, at(two, "gc", "runs", "--json")...))
	if len(runs) == 0 || runs[0].State != "done" || !strings.HasPrefix(runs[0].By, "token ops (") || runs[0].Replica == "" {
		t.Errorf("%+v", runs)
	}
	if _, stderr, status := command(t, at(one, "purge", "--hash", "2", "--scan")...); status != exitUsage || !strings.Contains(stderr, "beside the server's data") {
		t.Error(status, stderr)
	}

	// What was done by way of the API is on record as the token's doing.
	events := decode[[]admin.Event](t, mustCommand(t, at(two, "audit", "list", "--action", "purge", "--json")...))
	if len(events) != 2 || decode[audit.Actor](t, string(events[0].Actor)).TokenName != "ops" || !strings.Contains(string(events[1].Details), "INC-42") {
		t.Errorf("%+v", events)
	}
	head := decode[headJSON](t, mustCommand(t, at(one, "audit", "head", "--json")...))
	for _, args := range [][]string{at(two, "audit", "verify", "--head", head.Head), at(two, "audit", "verify", "--public-key", head.PublicKey)} {
		stdout, stderr, status := command(t, args...)
		if status != exitOK || !strings.Contains(stdout, "is whole") || strings.Contains(stdout, "by nobody yet") || strings.Contains(stderr, "the server tells") != (args[2] == "--head") {
			t.Errorf("%v: %d %s%s", args, status, stdout, stderr)
		}
	}
	inLedger(t, data, `UPDATE audit SET details = replace(details, 'INC-42', 'INC-43')`)
	if stdout, _, status := command(t, at(two, "audit", "verify")...); status != exitFailure || !strings.HasPrefix(stdout, "BROKEN at row ") {
		t.Error(status, stdout)
	}
}
