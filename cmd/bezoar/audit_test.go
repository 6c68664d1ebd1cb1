package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/audit"
)

// exported is a line of an export, as other programs read it.
type exported struct {
	Seal, Time, Action, Actor, Subject, Workspace, Scope, Details, Replica, Hash, Key, Signature string
	Seq                                                                                          int64
}

func (e *exported) actor(t *testing.T) audit.Actor {
	t.Helper()
	return decode[audit.Actor](t, e.Actor)
}

func (e *exported) detail(t *testing.T, name string) any {
	t.Helper()
	return decode[map[string]any](t, e.Details)[name]
}

// TestEverythingIsOnRecord does one of everything with a real server and real commands, and finds all of it in the export, and no secret.
func TestEverythingIsOnRecord(t *testing.T) {
	c := newCI(t)
	data := func(args ...string) []string { return append(args, "--data", c.data) }
	static := strings.TrimSpace(mustCommand(t, data("token", "create", "--name", "ci", "--access", "trusted", "--workspace", "web")...))
	reader := strings.TrimSpace(mustCommand(t, data("token", "create", "--name", "laptop", "--access", "read", "--workspace", "web")...))
	s := c.serve()
	identity := c.token("github/push-main", nil)
	session := s.session(identity)
	pullRequest := s.session(c.token("github/pull_request", nil))
	body := artifacttest.Typical(1)
	s.want(200, "PUT", "1", session, body)
	s.want(200, "PUT", "2", static, body)
	s.want(200, "PUT", "5", pullRequest, body)
	s.want(409, "PUT", "1", session, body)
	s.want(200, "GET", "1", session, nil) // on no record
	s.want(404, "GET", "9", session, nil)
	for range 20 {
		s.want(403, "PUT", "3", reader, body)
	}
	unknown := static[:len(static)-4] + "0000"
	s.want(401, "GET", "1", unknown, nil)
	s.want(404, "GET", "1", "", nil)
	s.want(403, "PUT", "4", session, artifacttest.Nx(artifacttest.File("../../evil", "x")))
	for credential, status := range map[string]int{identity: 403, static: 401, "": 401} {
		if got, text := call(t, "POST", "http://"+s.addr+"/v1/session", credential, nil); got != status {
			t.Errorf("an exchange: %d %s, want %d", got, text, status)
		}
	}
	c.write(c.rules("off"))
	waitFor(t, "the new policy", func() bool { return strings.Contains(s.stderr.String(), "took up the policy anew") })
	mustCommand(t, data("token", "revoke", "ci", "--json")...)
	revocation := decode[admin.Revocation](t, mustCommand(t, data("revoke", "run", "17650000001", "--reason", "leaked", "--json")...))
	mustCommand(t, data("revoke", "lift", revocation.ID)...)
	s.stop()
	keyFile := filepath.Join(c.data, "seal.key")
	before := strings.TrimSpace(mustCommand(t, data("key", "add")...))
	mustCommand(t, data("key", "activate", before)...)
	s = c.serve()
	s.stop()

	text := mustCommand(t, data("audit", "export")...)
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{static, reader, unknown, session, pullRequest, identity, "bzr_", "bzs_", "bzk_", "eyJ"}
	for line := range strings.Lines(string(key)) {
		secrets = append(secrets, strings.TrimSpace(line))
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(text, secret) {
			t.Errorf("%.8s… is in the audit log", secret)
		}
	}

	var all []exported
	seals := 0
	for line := range strings.Lines(text) {
		e := decode[exported](t, line)
		if e.Seal != "" {
			seals++
			continue
		}
		all = append(all, e)
	}
	if seals == 0 {
		t.Errorf("%d seals", seals)
	}
	find := func(action audit.Action, subject string, also func(*exported) bool) []exported {
		t.Helper()
		var found []exported
		for _, e := range all {
			if e.Action == string(action) && (subject == "" || e.Subject == subject) && (also == nil || also(&e)) {
				found = append(found, e)
			}
		}
		return found
	}
	tokenOf := func(name string) func(*exported) bool {
		return func(e *exported) bool { return e.actor(t).TokenName == name }
	}
	of := func(kind string) func(*exported) bool {
		return func(e *exported) bool { return e.actor(t).Kind == kind }
	}
	for _, want := range []struct {
		action  audit.Action
		subject string
		n       int
		also    func(*exported) bool
	}{
		{audit.Uploaded, "1", 1, func(e *exported) bool {
			return e.Workspace == "web" && e.Scope == "trusted" && e.actor(t).RepositoryID == "456789" && e.actor(t).RunID != "" && len(e.detail(t, "sha256").(string)) == 64
		}},
		{audit.Uploaded, "5", 1, func(e *exported) bool { return strings.HasPrefix(e.Scope, "pr/") }},
		{audit.Uploaded, "2", 1, tokenOf("ci")},
		{audit.Uploaded, "", 3, nil},
		{audit.SessionGranted, "", 2, func(e *exported) bool { return e.actor(t).Session == e.Subject && e.detail(t, "rule") != "" }},
		{audit.SessionRefused, "replayed", 1, func(e *exported) bool { return e.actor(t).RunID != "" && e.Workspace == "" }},
		{audit.SessionRefused, "malformed_credential", 1, of(audit.KindUnknown)},
		{audit.SessionRefused, "no_credential", 1, of(audit.KindUnknown)},
		{audit.Denied, "read_only", 1, func(e *exported) bool {
			return e.detail(t, "count") == float64(20) && tokenOf("laptop")(e) && e.Workspace == "web"
		}},
		{audit.Denied, "", 4, nil},
		{audit.Denied, "no_credential", 1, of(audit.KindUnknown)},
		{audit.Denied, "artifact", 1, of("ci")},
		{audit.TokenCreated, "", 2, of(audit.KindOperator)},
		{audit.TokenRevoked, "", 1, of(audit.KindOperator)},
		{audit.RevocationMade, revocation.ID, 1, func(e *exported) bool {
			return e.detail(t, "value") == "17650000001" && e.detail(t, "reason") == "leaked"
		}},
		{audit.RevocationLifted, revocation.ID, 1, of(audit.KindOperator)},
		{audit.PolicyChanged, "", 2, of(audit.KindServer)}, // of none, and live
		{audit.KeysChanged, before, 1, func(e *exported) bool { return len(e.detail(t, "to").([]any)) == 2 }},
		{audit.KeysChanged, "", 2, nil},
		{audit.ServerStarted, version(), 2, of(audit.KindServer)},
		{audit.ServerStopped, version(), 2, of(audit.KindServer)},
	} {
		if got := find(want.action, want.subject, want.also); len(got) != want.n {
			t.Errorf("%s %s: %d, want %d\n%s", want.action, want.subject, len(got), want.n, text)
		}
	}
	if e := find(audit.PolicyChanged, "", func(e *exported) bool { return len(e.detail(t, "from").([]any)) == 1 }); len(e) != 1 || e[0].Subject != e[0].detail(t, "to").([]any)[0] {
		t.Errorf("the change of the policy: %+v", e)
	}

	// It verifies, and who changes it is found out.
	head := strings.TrimSpace(mustCommand(t, data("audit", "head")...))
	if out := mustCommand(t, data("audit", "verify", "--head", head)...); !strings.Contains(out, "is whole") || !strings.Contains(out, head) {
		t.Errorf("%s", out)
	}
	listed := decode[[]admin.Event](t, mustCommand(t, data("audit", "list", "--json", "--limit", "0", "--action", "upload", "--actor", "ci")...))
	if len(listed) != 3 || !slices.IsSortedFunc(listed, func(a, b admin.Event) int { return int(b.Seq - a.Seq) }) {
		t.Errorf("%+v", listed)
	}
	db, err := sql.Open("sqlite", filepath.Join(c.data, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `UPDATE audit SET scope = 'trusted' WHERE scope LIKE 'pr/%' AND action = 'upload'`); err != nil {
		t.Fatal(err)
	}
	stdout, _, status := command(t, data("audit", "verify", "--json")...)
	poisoned := find(audit.Uploaded, "", func(e *exported) bool { return strings.HasPrefix(e.Scope, "pr/") })[0]
	if got := decode[verifiedJSON](t, stdout); status != exitFailure || got.Whole || got.Kind != audit.Changed || got.Row != poisoned.Seq {
		t.Errorf("%d %+v", status, got)
	}
	// The server notices at its next start only what comes behind its last seal; what it goes on with, verify and the export from before tell.
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	mustCommand(t, "audit", "verify", "--from-file", file, "--data", c.data)
	if err := os.WriteFile(file, bytes.Replace([]byte(text), []byte("leaked"), []byte("harmless"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, _, status := command(t, "audit", "verify", "--from-file", file, "--data", c.data); status != exitFailure || !strings.HasPrefix(stdout, "BROKEN at row ") {
		t.Errorf("%d %s", status, stdout)
	}
}

// TestAnAuditLogThatWasCutOff: a server that starts says so where it is watched, and serves.
func TestAnAuditLogThatWasCutOff(t *testing.T) {
	dir := t.TempDir()
	mustCommand(t, "token", "create", "--name", "ci", "--access", "trusted", "--data", dir)
	s := startServe(t, "--data", dir, "--listen", "127.0.0.1:0")
	s.stop()
	db, err := sql.Open("sqlite", filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `DELETE FROM audit WHERE seq > 2`); err != nil {
		t.Fatal(err)
	}
	s = startServe(t, "--data", dir, "--listen", "127.0.0.1:0")
	waitFor(t, "the server to notice", func() bool {
		return s.metric(`bezoar_degraded{cause="audit_chain"} 1`) && s.metric("bezoar_audit_broken 1")
	})
	if !strings.Contains(s.stderr.String(), "the audit log is broken") {
		t.Errorf("nothing is said of it:\n%s", s.stderr)
	}
	if status := s.stop(); status != 0 {
		t.Errorf("status %d", status)
	}
}

func TestAuditExportIsWholeJSON(t *testing.T) {
	text := strings.TrimSuffix(mustRead(t, "../../docs/examples/audit.jsonl"), "\n")
	for line := range strings.SplitSeq(text, "\n") {
		if !json.Valid([]byte(line)) {
			t.Error(line)
		}
	}
	// The example of the docs is one that the command verifies, by the key that the docs name.
	doc := mustRead(t, "../../docs/audit.md")
	const key = "3f9a1c22b07e:7bc3079518ed11da0336085bf6962920ff87fb3c4d630a9b58cb6153674f5dd6"
	if !strings.Contains(doc, key) {
		t.Error("docs/audit.md does not name the key of the example")
	}
	out := mustCommand(t, "audit", "verify", "--from-file", "../../docs/examples/audit.jsonl", "--public-key", key, "--data", t.TempDir())
	if !strings.Contains(out, "2 rows, from 1 to 2") || !strings.Contains(out, "good seals: 1") {
		t.Error(out)
	}
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
