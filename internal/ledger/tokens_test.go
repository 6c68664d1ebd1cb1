package ledger

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

var created = time.Date(2026, 11, 20, 12, 0, 0, 123e6, time.UTC)

func newToken(name string, workspace cache.Workspace) trust.Token {
	_, hash := trust.NewToken()
	return trust.Token{ID: hash.ID(), Name: name, Workspace: workspace, Access: trust.Trusted, Hash: hash, Created: created}
}

func TestTokensComeBackAsTheyWere(t *testing.T) { onEvery(t, testTokensComeBackAsTheyWere) }

func testTokensComeBackAsTheyWere(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	plain, full, early := newToken("plain", "web"), newToken("full", "library"), newToken("early", "web")
	full.Access = trust.Isolated
	full.Expires = created.Add(time.Hour).In(time.FixedZone("somewhere", 3600))
	full.Revoked = created.Add(time.Minute)
	early.Created = created.Add(-time.Hour)
	for _, token := range []trust.Token{plain, full, early} {
		if err := l.CreateToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	full.Expires = full.Expires.UTC()
	want := []trust.Token{early, plain, full}
	if full.ID < plain.ID { // made at the same time
		want = []trust.Token{early, full, plain}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	for _, token := range got {
		for _, at := range []time.Time{token.Created, token.Expires, token.Revoked} {
			if at.Location() != time.UTC {
				t.Fatalf("%v is not in UTC", at)
			}
		}
	}
}

func TestCreateTokenRefuses(t *testing.T) { onEvery(t, testCreateTokenRefuses) }

func testCreateTokenRefuses(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	first := newToken("ci", "web")
	if err := l.CreateToken(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := l.CreateToken(t.Context(), newToken("ci", "web")); !errors.Is(err, ErrTokenExists) || !strings.Contains(err.Error(), "revoke") {
		t.Fatalf("the same name: %v", err)
	}
	again := first
	again.Name = "other"
	if err := l.CreateToken(t.Context(), again); !errors.Is(err, ErrTokenExists) {
		t.Fatalf("the same hash: %v", err)
	}
	if err := l.CreateToken(t.Context(), newToken("ci", "library")); err != nil {
		t.Fatalf("the same name in another workspace: %v", err)
	}
	bad := newToken("", "web")
	if err := l.CreateToken(t.Context(), bad); err == nil {
		t.Fatal("took a token without a name")
	}
	if _, err := l.RevokeToken(t.Context(), first.ID, "", created); err != nil {
		t.Fatal(err)
	}
	if err := l.CreateToken(t.Context(), newToken("ci", "web")); err != nil {
		t.Fatalf("the name of a revoked token: %v", err)
	}
	if tokens, err := l.Tokens(t.Context()); err != nil || len(tokens) != 3 {
		t.Fatal(tokens, err)
	}
}

func TestRevokeToken(t *testing.T) { onEvery(t, testRevokeToken) }

func testRevokeToken(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	old, older := newToken("ci", "web"), newToken("ci", "web")
	older.Revoked, old.Revoked = created.Add(time.Minute), created.Add(time.Hour)
	live, library, both, both2 := newToken("ci", "web"), newToken("ci", "library"), newToken("gone", "web"), newToken("gone", "web")
	both.Revoked, both2.Revoked = created.Add(time.Hour), created.Add(time.Minute)
	for _, token := range []trust.Token{older, old, live, library, both, both2} {
		if err := l.CreateToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	now := created.Add(24*time.Hour + 456*time.Microsecond)
	cut := created.Add(24 * time.Hour)

	for _, tt := range []struct {
		name, arg string
		workspace cache.Workspace
		wantID    string
		wantAt    time.Time
		wantErr   error
	}{
		{"unknown", "nobody", "", "", time.Time{}, ErrNoToken},
		{"empty", "", "", "", time.Time{}, ErrNoToken},
		{"pattern", "%", "", "", time.Time{}, ErrNoToken},
		{"statement", "x' OR '1'='1", "", "", time.Time{}, ErrNoToken},
		{"known in another workspace", "gone", "library", "", time.Time{}, ErrNoToken},
		{"id in another workspace", live.ID, "library", "", time.Time{}, ErrNoToken},
		{"ambiguous", "ci", "", "", time.Time{}, ErrAmbiguous},
		{"revoked ones only: the last", "gone", "", both.ID, both.Revoked, nil},
		{"revoked, by id", older.ID, "", older.ID, older.Revoked, nil},
		{"name and workspace", "ci", "web", live.ID, cut, nil},
		{"again", "ci", "web", live.ID, cut, nil},
		{"no longer ambiguous", "ci", "", library.ID, cut, nil},
		{"again, by id", library.ID, "library", library.ID, cut, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, err := l.Version(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := l.RevokeToken(t.Context(), tt.arg, tt.workspace, now)
			if !errors.Is(err, tt.wantErr) {
				t.Fatalf("got %v", err)
			}
			if got.ID != tt.wantID || !got.Revoked.Equal(tt.wantAt) {
				t.Fatalf("got %s revoked %s, want %s revoked %s", got.ID, got.Revoked, tt.wantID, tt.wantAt)
			}
			if errors.Is(err, ErrAmbiguous) && (!strings.Contains(err.Error(), live.ID) || !strings.Contains(err.Error(), library.ID)) {
				t.Fatalf("%v does not name the choices", err)
			}
			after, err := l.Version(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if changed := tt.wantAt.Equal(cut) && !strings.Contains(tt.name, "again"); changed != (after != before) {
				t.Fatalf("version went from %d to %d", before, after)
			}
		})
		now = now.Add(time.Microsecond)
	}
}

// Without its revoked tokens a server would think that it never had one, and open.
func TestTokensAreNeverDeleted(t *testing.T) { onEvery(t, testTokensAreNeverDeleted) }

func testTokensAreNeverDeleted(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	l := db.open(t, dir)
	if err := l.CreateToken(t.Context(), newToken("ci", "web")); err != nil {
		t.Fatal(err)
	}
	if _, err := db.raw(t, dir).ExecContext(t.Context(), `DELETE FROM tokens`); err == nil {
		t.Fatal("deleted")
	}
	if tokens, err := l.Tokens(t.Context()); err != nil || len(tokens) != 1 {
		t.Fatal(tokens, err)
	}
}

// Nothing of a token's text gets into any of the files.
func TestOnlyTheHashIsKept(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	text, hash := trust.NewToken()
	if err := l.CreateToken(t.Context(), trust.Token{
		ID: hash.ID(), Name: "ci", Workspace: "web", Access: trust.Trusted, Hash: hash, Created: created,
	}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	found := false
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), text[len(trust.TokenPrefix):len(trust.TokenPrefix)+12]) {
			t.Fatalf("%s holds the token", file)
		}
		found = found || strings.Contains(string(data), string(hash[:]))
	}
	if !found {
		t.Fatal("not even the hash was found: the test looks in the wrong place")
	}
}

// The whole way: what one process does to the file, an authenticator of another one heeds.
func TestAuthenticatorFollowsAnotherHandle(t *testing.T) {
	onEvery(t, testAuthenticatorFollowsAnotherHandle)
}

func testAuthenticatorFollowsAnotherHandle(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	server, command := db.open(t, dir), db.open(t, dir)
	auth, err := trust.NewAuthenticator(t.Context(), trust.Options{
		Source: server, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- auth.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	if !auth.Open() {
		t.Fatal("closed without a token")
	}

	text, hash := trust.NewToken()
	token := trust.Token{ID: hash.ID(), Name: "ci", Workspace: "web", Access: trust.Isolated, Hash: hash, Created: time.Now()}
	if err := command.CreateToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return !auth.Open() })
	grant, err := auth.Grant(t.Context(), "Bearer "+text, "web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := command.RevokeToken(t.Context(), "ci", "", time.Now()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return errors.Is(auth.Valid(t.Context(), "Bearer "+text, "web", grant), trust.ErrRevoked) })
	if _, err := auth.Grant(t.Context(), "Bearer "+text, "web"); !errors.Is(err, trust.ErrRevoked) {
		t.Fatalf("got %v", err)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("it did not come to pass")
		case <-tick.C:
		}
	}
}

// Two handles agree at every step, and their version moves with every change and with nothing else.
func TestHandlesAgree(t *testing.T) { onEvery(t, testHandlesAgree) }

func testHandlesAgree(t *testing.T, db testDatabase) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		handles := [2]*Ledger{}
		for i := range handles {
			if handles[i], err = db.openIn(t.Context(), dir); err != nil {
				rt.Fatal(err)
			}
			defer handles[i].Close()
		}
		version, now := int64(0), created
		live := map[string]string{} // id by workspace and name
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			now = now.Add(time.Second)
			one := handles[rapid.IntRange(0, 1).Draw(rt, "handle")]
			name := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "name")
			workspace := rapid.SampledFrom([]cache.Workspace{"web", "library"}).Draw(rt, "workspace")
			slot := string(workspace) + " " + name
			if rapid.Bool().Draw(rt, "create") {
				token := newToken(name, workspace)
				err := one.CreateToken(t.Context(), token)
				switch _, taken := live[slot]; {
				case taken && !errors.Is(err, ErrTokenExists), !taken && err != nil:
					rt.Fatalf("create: %v", err)
				case !taken:
					live[slot], version = token.ID, version+1
				}
			} else {
				token, err := one.RevokeToken(t.Context(), name, workspace, now)
				switch id, ok := live[slot]; {
				case ok && (err != nil || token.ID != id || !token.Revoked.Equal(now)):
					rt.Fatalf("revoke: %+v, %v", token, err)
				case ok:
					delete(live, slot)
					version++
				case err != nil && !errors.Is(err, ErrNoToken), err == nil && token.Revoked.Equal(now):
					rt.Fatalf("revoke again: %+v, %v", token, err)
				}
			}
			var lists [2][]trust.Token
			for i, l := range handles {
				if v, err := l.Version(t.Context()); err != nil || v != version {
					rt.Fatalf("version %d, want %d, %v", v, version, err)
				}
				if lists[i], err = l.Tokens(t.Context()); err != nil {
					rt.Fatal(err)
				}
			}
			if diff := cmp.Diff(lists[0], lists[1]); diff != "" {
				rt.Fatal(diff)
			}
			active := 0
			for _, token := range lists[0] {
				if token.Revoked.IsZero() {
					active++
					if live[string(token.Workspace)+" "+token.Name] != token.ID {
						rt.Fatalf("%+v is not revoked", token)
					}
				}
			}
			if active != len(live) {
				rt.Fatalf("%d active tokens, want %d", active, len(live))
			}
		}
	})
}
