package main

import (
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
	"github.com/bezoar-cache/bezoar/internal/trust/session"
)

func TestRevokeAndLift(t *testing.T) {
	dir := t.TempDir()
	mustCommand(t, "token", "create", "--data", dir, "--name", "ci", "--access", "read")
	begin := time.Now().Truncate(time.Millisecond)
	created := decode[admin.Revocation](t, mustCommand(t, "revoke", "run", "17", "--data", dir, "--workspace", "web", "--reason", "stolen", "--json"))
	if created.Kind != "run" || created.Value != "17" || created.Workspace == nil || *created.Workspace != "web" || created.Reason != "stolen" ||
		created.State != "in force" || created.Lifted != nil || created.Created.Before(begin) {
		t.Fatalf("%+v", created)
	}
	again := decode[admin.Revocation](t, mustCommand(t, "revoke", "run", "17", "--data", dir, "--workspace", "web", "--reason", "other", "--json"))
	if again.ID != created.ID || again.Reason != "stolen" {
		t.Fatalf("revoked twice: %+v", again)
	}

	if text := mustCommand(t, "revoke", "lift", created.ID, "--data", dir); !strings.Contains(text, "The revocation "+created.ID) ||
		!strings.Contains(text, "of run 17, in workspace web is lifted: ") {
		t.Fatal(text)
	}
	if text := mustCommand(t, "revoke", "lift", created.ID, "--data", dir); !strings.Contains(text, "was lifted already, on 20") {
		t.Fatal(text)
	}
	lifted := decode[admin.Revocation](t, mustCommand(t, "revoke", "lift", created.ID, "--data", dir, "--json"))
	if lifted.State != "lifted" || lifted.Lifted == nil || lifted.Lifted.Before(created.Created) {
		t.Fatalf("%+v", lifted)
	}
	fresh := decode[admin.Revocation](t, mustCommand(t, "revoke", "run", "17", "--data", dir, "--workspace", "web", "--json"))
	if fresh.ID == created.ID {
		t.Fatal("what is lifted cannot be revoked again")
	}
	list := decode[[]admin.Revocation](t, mustCommand(t, "revoke", "list", "--data", dir, "--json"))
	if len(list) != 2 || list[0].State != "lifted" || list[1].State != "in force" {
		t.Fatalf("%+v", list)
	}
	if text := mustCommand(t, "revoke", "list", "--data", dir); !strings.Contains(text, "lifted    stolen") || strings.Count(text, "\n") != 3 {
		t.Fatal(text)
	}
}

// Whoever finds a session's token somewhere can revoke it with that alone, and shows it to nobody.
func TestRevokeSessionByItsToken(t *testing.T) {
	dir := t.TempDir()
	mustCommand(t, "token", "create", "--data", dir, "--name", "ci", "--access", "read")
	s := &session.Session{ID: session.NewID(), Issuer: "https://issuer.example", Policy: "p", Issued: time.Now(), Expires: time.Now().Add(time.Hour)}
	s.Grant.Workspace = "web"
	text, err := session.Mint(keyring.Keys{{ID: "one", Secret: &keyring.Secret{1}}}, s)
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status := command(t, "revoke", "session", text, "--data", dir)
	if status != exitOK || !strings.Contains(stdout, "session "+s.ID) || strings.Contains(stdout+stderr, text) {
		t.Fatal(stdout, stderr)
	}
	records, err := ledger.OpenExisting(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer records.Close()
	all, err := records.Revocations(t.Context())
	if err != nil || len(all) != 1 || all[0].Kind != trust.RevokeSession || all[0].Value != s.ID {
		t.Fatal(all, err)
	}
}

// The five kinds and their help belong together.
func TestEveryKindIsExplained(t *testing.T) {
	for _, kind := range trust.RevocationKinds {
		if help := revocationHelp[kind]; help.argument == "" || help.short == "" || help.hits == "" {
			t.Errorf("nothing explains %s", kind)
		}
	}
	if len(revocationHelp) != len(trust.RevocationKinds) {
		t.Error("help for what there is not")
	}
}
