package ledger

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/trust"
)

// makeVersionOne makes a ledger as the first release did, with the given tokens in it.
func makeVersionOne(t *testing.T, dir string, tokens ...trust.Token) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, FileName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	step, err := migrations.ReadFile("migrations/sqlite/0001_tokens.sql")
	if err != nil {
		t.Fatal(err)
	}
	db := raw(t, dir)
	execute(t, db, fmt.Sprintf(`PRAGMA application_id = %d`, applicationID), `PRAGMA journal_mode = wal`,
		`CREATE TABLE schema_versions (version INTEGER NOT NULL PRIMARY KEY, applied INTEGER NOT NULL) STRICT`,
		string(step), `INSERT INTO schema_versions VALUES (1, 0)`)
	for _, token := range tokens {
		if _, err := db.ExecContext(t.Context(), `
			INSERT INTO tokens (id, hash, name, workspace, access, created, expires, revoked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			token.ID, token.Hash[:], token.Name, string(token.Workspace), string(token.Access),
			millis(token.Created), millis(token.Expires), millis(token.Revoked)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestALedgerOfVersionOneOpens(t *testing.T) {
	dir := t.TempDir()
	first, second := newToken("a", "web"), newToken("b", "web")
	second.Created, second.Revoked = created.Add(time.Second), created.Add(time.Hour)
	makeVersionOne(t, dir, first, second)

	l := openTest(t, dir)
	tokens, err := l.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]trust.Token{first, second}, tokens); diff != "" {
		t.Fatal(diff)
	}
	if v := version(t, l); v != 2 {
		t.Errorf("version %d after two changes", v)
	}
	if all, err := l.Revocations(t.Context()); err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
	if _, err := l.CreateRevocation(t.Context(), newRevocation(t, trust.RevokeRun, "17", "", created)); err != nil {
		t.Fatal(err)
	}
	if err := l.UseOnce(t.Context(), "a", created); err != nil {
		t.Fatal(err)
	}
	jo := newToken("jo", "web")
	jo.Access, jo.Developer = trust.Isolated, "jo"
	if err := l.CreateToken(t.Context(), jo); err != nil {
		t.Fatal(err)
	}
	if v := version(t, l); v != 4 {
		t.Errorf("version %d after four changes", v)
	}
	// And a second time there is nothing left to do.
	if tokens, err := openTest(t, dir).Tokens(t.Context()); err != nil || len(tokens) != 3 {
		t.Fatal(tokens, err)
	}
}
