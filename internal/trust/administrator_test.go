package trust

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

func newMadeAdmin(name string, workspace cache.Workspace, role Role) made {
	text, hash := NewAdminToken()
	return made{Token{ID: hash.ID(), Name: name, Workspace: workspace, Role: role, Hash: hash, Created: start}, text}
}

func TestAdministrator(t *testing.T) {
	ops, web := newMadeAdmin("ops", "", Admin), newMadeAdmin("web-ops", "web", Viewer)
	expired, revoked, builds := newMadeAdmin("old", "", Admin), newMadeAdmin("gone", "", Admin), newMade("ci", "web", Trusted)
	expired.Expires, revoked.Revoked = start, start
	source := &fakeSource{tokens: []Token{ops.Token, web.Token, expired.Token, revoked.Token, builds.Token}}
	a := newTestAuthenticator(t, Options{Source: source})
	for _, m := range []made{ops, web} {
		who, err := a.Administrator(t.Context(), m.bearer())
		if err != nil || who != (Administrator{Role: m.Role, Workspace: m.Workspace, TokenID: m.ID, TokenName: m.Name}) {
			t.Errorf("%+v, %v", who, err)
		}
	}
	stranger := newMadeAdmin("x", "", Admin)
	for _, x := range []struct {
		header string
		want   error
	}{
		{"", ErrNoCredential}, {"Bearer", ErrNoCredential}, {"Basic eA==", ErrMalformed}, {"Bearer x", ErrMalformed}, {ops.bearer()[:40], ErrMalformed},
		{ops.bearer() + ", " + ops.bearer(), ErrMalformed}, {"Bearer " + AdminPrefix + strings.Repeat("x", MaxCredential), ErrMalformed},
		{expired.bearer(), ErrExpired}, {revoked.bearer(), ErrRevoked}, {stranger.bearer(), ErrUnknown}, {builds.bearer(), ErrWrongKind},
		{"Bearer " + SessionPrefix + "x", ErrWrongKind}, {"Bearer eyJ.e30.x", ErrWrongKind},
	} {
		_, err := a.Administrator(t.Context(), x.header)
		wantDenial(t, err, x.want, ops.text, expired.text, revoked.text, stranger.text, builds.text)
	}
	for _, w := range a.Workspaces() {
		if w == "" {
			t.Error("a token for the whole server made a workspace without a name")
		}
	}
}

// A token of operators is none of the cache's, in whatever state, and closes a server as any token does.
func TestTokensOfOperatorsAreNoneOfTheCache(t *testing.T) {
	a := newTestAuthenticator(t, Options{Source: &fakeSource{}})
	if !a.Open() {
		t.Fatal("closed")
	}
	ops := newMadeAdmin("ops", "", Admin)
	a = newTestAuthenticator(t, Options{Source: &fakeSource{tokens: []Token{ops.Token}}})
	if a.Open() {
		t.Fatal("open, with a token")
	}
	for _, named := range []cache.Workspace{"", "default", "web"} {
		_, err := a.Grant(t.Context(), ops.bearer(), named)
		wantDenial(t, err, ErrMalformed, ops.text)
		wantDenial(t, a.Valid(t.Context(), ops.bearer(), named, cache.Grant{Write: cache.Trusted}), ErrMalformed, ops.text)
	}
	_, err := a.Exchange(t.Context(), ops.text, "", time.Hour)
	wantDenial(t, err, ErrMalformed, ops.text)
}

// TestTheTwoKindsNeverMeet: whatever is recorded of a token, by its form and its record together it is of the cache or of operators, and never of both.
func TestTheTwoKindsNeverMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, hash := NewToken()
		if rapid.Bool().Draw(t, "form of operators") {
			text, hash = NewAdminToken()
		}
		token := Token{
			ID: hash.ID(), Name: "x", Workspace: "web", Hash: hash, Created: start,
			Access: rapid.SampledFrom([]Access{"", Read, Isolated, Trusted, "write"}).Draw(t, "access"),
			Role:   rapid.SampledFrom([]Role{"", Viewer, Operator, Admin, "root"}).Draw(t, "role"),
		}
		a := &Authenticator{now: func() time.Time { return start }}
		a.current.Store(newSnapshot(nil, records{tokens: []Token{token}}, nil).under(nil, nil))
		grant, cacheErr := a.Grant(t.Context(), "Bearer "+text, "")
		who, adminErr := a.Administrator(t.Context(), "Bearer "+text)
		ofCache := cacheErr == nil && (grant.Write != "" || len(grant.Read) > 0)
		ofAdmins := adminErr == nil && who.Role.May(Viewer)
		operators := strings.HasPrefix(text, AdminPrefix)
		if ofCache && (operators || token.Role != "" || token.Access.rank() == 0) || ofAdmins && (!operators || token.Role.rank() == 0) || ofCache && ofAdmins {
			t.Fatalf("%+v: of the cache %t, of operators %t", token, ofCache, ofAdmins)
		}
	})
}

// A token that the configuration lists as one of the cache, and the ledger as one of operators, is neither.
func TestATokenOfBothKindsIsOfNone(t *testing.T) {
	ops := newMadeAdmin("ops", "web", Admin)
	listed := ops.Token
	listed.Role, listed.Access = "", Trusted
	if got := narrower(listed, ops.Token); got.Role != "" || got.Access != "" {
		t.Errorf("%+v", got)
	}
	_, err := NewAuthenticator(t.Context(), Options{Source: &fakeSource{tokens: []Token{ops.Token}}, Fixed: []Token{listed}, Now: time.Now, Logger: new(logBook).logger()})
	if err == nil || !strings.Contains(err.Error(), "take it out of the configuration") {
		t.Error(err)
	}
}

func TestRoles(t *testing.T) {
	all := []Role{"", "root", Viewer, Operator, Admin}
	for i, has := range all {
		for j, needed := range all {
			if want := j >= 2 && i >= j; has.May(needed) != want {
				t.Errorf("%q may what takes %q: %t", has, needed, !want)
			}
		}
	}
	for _, wrong := range []Token{
		{Role: "root"}, {Role: Admin, Access: Read}, {Role: Admin, Developer: "jo"}, {Role: Admin, Workspace: "WEB"}, {},
	} {
		m := newMadeAdmin("x", wrong.Workspace, wrong.Role)
		m.Access, m.Developer = wrong.Access, wrong.Developer
		if err := m.Validate(); err == nil || errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}
