package ledger

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

func newRevocation(t *testing.T, kind trust.RevocationKind, value string, workspace cache.Workspace, now time.Time) trust.Revocation {
	t.Helper()
	r, err := trust.NewRevocation(kind, value, workspace, "because", now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func version(t *testing.T, l *Ledger) int64 {
	t.Helper()
	v, err := l.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRevocationsComeBackAsTheyWere(t *testing.T) { onEvery(t, testRevocationsComeBackAsTheyWere) }

func testRevocationsComeBackAsTheyWere(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	local := created.Add(456 * time.Microsecond).In(time.FixedZone("somewhere", 3600))
	var want []trust.Revocation
	for i, kind := range trust.RevocationKinds {
		value := "17 ü '; --"
		if kind == trust.RevokeSession {
			value = "0123456789abcdef0123456789abcdef"
		}
		r := newRevocation(t, kind, value, []cache.Workspace{"", "web"}[i%2], local.Add(time.Duration(i)*time.Second))
		before := version(t, l)
		got, err := l.CreateRevocation(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if version(t, l) == before {
			t.Fatal("a new revocation does not move the version")
		}
		r.Created = created.Add(time.Duration(i) * time.Second)
		if diff := cmp.Diff(r, got); diff != "" {
			t.Fatal(diff)
		}
		want = append(want, r)
	}
	got, err := l.Revocations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestTheSameIsRevokedOnce(t *testing.T) { onEvery(t, testTheSameIsRevokedOnce) }

func testTheSameIsRevokedOnce(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	l, other := db.open(t, dir), db.open(t, dir)
	first, err := l.CreateRevocation(t.Context(), newRevocation(t, trust.RevokeRun, "17", "", created))
	if err != nil {
		t.Fatal(err)
	}
	before := version(t, l)
	again, err := other.CreateRevocation(t.Context(), newRevocation(t, trust.RevokeRun, "17", "", created.Add(time.Hour)))
	if err != nil || again != first || version(t, l) != before {
		t.Fatalf("%+v, %v, version %d after %d", again, err, version(t, l), before)
	}
	for _, r := range []trust.Revocation{
		newRevocation(t, trust.RevokeRun, "17", "web", created),
		newRevocation(t, trust.RevokeActor, "17", "", created),
		newRevocation(t, trust.RevokeRun, "18", "", created),
	} {
		if got, err := l.CreateRevocation(t.Context(), r); err != nil || got.ID != r.ID {
			t.Fatalf("%+v: %+v, %v", r, got, err)
		}
	}
}

func TestLiftRevocation(t *testing.T) { onEvery(t, testLiftRevocation) }

func testLiftRevocation(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	r, err := l.CreateRevocation(t.Context(), newRevocation(t, trust.RevokeRun, "17", "", created))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "nobody", "%", "17"} {
		if _, err := l.LiftRevocation(t.Context(), id, created); !errors.Is(err, ErrNoRevocation) {
			t.Fatalf("%q: %v", id, err)
		}
	}
	before := version(t, l)
	at := created.Add(time.Hour)
	lifted, err := l.LiftRevocation(t.Context(), r.ID, at.Add(456*time.Microsecond))
	if err != nil || !lifted.Lifted.Equal(at) || version(t, l) == before {
		t.Fatalf("%+v, %v", lifted, err)
	}
	before = version(t, l)
	again, err := l.LiftRevocation(t.Context(), r.ID, at.Add(time.Hour))
	if err != nil || again != lifted || version(t, l) != before {
		t.Fatalf("%+v, %v", again, err)
	}
	// It is history, and the same can be revoked anew.
	fresh, err := l.CreateRevocation(t.Context(), newRevocation(t, trust.RevokeRun, "17", "", at))
	if err != nil || fresh.ID == r.ID {
		t.Fatalf("%+v, %v", fresh, err)
	}
	if all, err := l.Revocations(t.Context()); err != nil || len(all) != 2 || all[0] != lifted || all[1] != fresh {
		t.Fatal(all, err)
	}
}

func TestCreateRevocationRefuses(t *testing.T) { onEvery(t, testCreateRevocationRefuses) }

func testCreateRevocationRefuses(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	for _, edit := range []func(*trust.Revocation){
		func(r *trust.Revocation) { r.ID = "" }, func(r *trust.Revocation) { r.Kind = "weekday" },
		func(r *trust.Revocation) { r.Value = "" }, func(r *trust.Revocation) { r.Workspace = "Web" },
	} {
		r := newRevocation(t, trust.RevokeRun, "17", "", created)
		edit(&r)
		if _, err := l.CreateRevocation(t.Context(), r); err == nil {
			t.Errorf("took %+v", r)
		}
	}
	if all, err := l.Revocations(t.Context()); err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
}

func TestRevocationsAreNeverDeleted(t *testing.T) { onEvery(t, testRevocationsAreNeverDeleted) }

func testRevocationsAreNeverDeleted(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	l := db.open(t, dir)
	if _, err := l.CreateRevocation(t.Context(), newRevocation(t, trust.RevokeRun, "17", "", created)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.raw(t, dir).ExecContext(t.Context(), `DELETE FROM revocations`); err == nil {
		t.Fatal("deleted")
	}
}

func TestDevelopersComeBack(t *testing.T) { onEvery(t, testDevelopersComeBack) }

func testDevelopersComeBack(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	token := newToken("jo-laptop", "web")
	token.Access, token.Developer = trust.Isolated, "jo"
	if err := l.CreateToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if tokens, err := l.Tokens(t.Context()); err != nil || len(tokens) != 1 || tokens[0] != token {
		t.Fatal(tokens, err)
	}
	bad := newToken("x", "web")
	bad.Developer = "jo"
	if err := l.CreateToken(t.Context(), bad); err == nil {
		t.Fatal("took a trusted token of a developer")
	}
}
