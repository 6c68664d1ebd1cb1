package trust

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// For each kind of revocation: a new request, an exchange and an upload that is under way, within a second.
func TestRevocationsOfIdentities(t *testing.T) {
	for _, tt := range []struct {
		kind     RevocationKind
		value    func(Issued) string
		identity bool // whether it hits an identity token too
	}{
		{RevokeSession, func(i Issued) string { return i.ID }, false},
		{RevokeRun, func(Issued) string { return "u1" }, true},
		{RevokeActor, func(Issued) string { return "a1" }, true},
		{RevokeRepository, func(Issued) string { return "r1" }, true},
		{RevokeRepository, func(Issued) string { return "r2" }, true}, // where the code is from
		{RevokeSubject, func(Issued) string { return "project:acme" }, true},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				short := func(r *fakeRules) {
					settings := testSettings
					settings.SessionTTL = time.Minute
					r.settings["web"] = settings
				}
				b := newBench(t, newRules("p", short), func(o *Options) { o.Now = time.Now })
				b.clock.now = time.Now()
				run(t, b.Authenticator)
				issued, identity := b.session(), b.identity()
				another := b.session("run", "u2", "actor", "a2", "repository", "r8", "source", "r9", "sub", "project:other")
				during, otherDuring := b.mustGrant(issued.Token), b.mustGrant(another.Token)
				identityDuring := b.mustGrant(identity)

				// Another kind's value, another workspace: nobody is hit.
				for _, kind := range RevocationKinds {
					if kind == RevokeSession {
						b.revoke(kind, strings.Repeat("0", 32), "")
						continue
					}
					b.revoke(kind, "x"+tt.value(issued), "")
					if kind != tt.kind {
						b.revoke(kind, tt.value(issued), "")
					}
				}
				b.revoke(tt.kind, tt.value(issued), "library")
				pass(time.Second)
				b.mustGrant(issued.Token)

				r := b.revoke(tt.kind, tt.value(issued), "web")
				pass(time.Second)
				_, err := b.grant(issued.Token)
				wantDenial(t, err, ErrRevoked, issued.Token)
				if !strings.Contains(err.Error(), r.ID) {
					t.Errorf("%q does not name the revocation", err)
				}
				wantDenial(t, b.valid(issued.Token, during), ErrRevoked, issued.Token)
				if _, err := b.grant(identity); tt.identity {
					wantDenial(t, err, ErrRevoked, identity)
					wantDenial(t, b.valid(identity, identityDuring), ErrRevoked, identity)
					_, err := b.Exchange(t.Context(), identity, "", 0)
					wantDenial(t, err, ErrRevoked, identity)
				} else if err != nil {
					t.Error(err)
				}
				b.mustGrant(another.Token)
				if err := b.valid(another.Token, otherDuring); err != nil {
					t.Error("another one was hit:", err)
				}

				// It is loud even where the session has expired or the policy has changed.
				b.setRules(newRules("q", func(r *fakeRules) { r.kinds["pr"] = nothing }))
				pass(time.Minute)
				_, err = b.grant(issued.Token)
				wantDenial(t, err, ErrRevoked, issued.Token)

				b.setRules(newRules("p", short))
				b.lift(r.ID)
				pass(time.Second)
				_, err = b.grant(issued.Token)
				wantDenial(t, err, ErrExpired, issued.Token)
			})
		})
	}
}

// run lets an authenticator of a bubble refresh until its test ends.
func run(t *testing.T, a *Authenticator) {
	t.Helper()
	running := make(chan error)
	go func() { running <- a.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-running; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

func TestALiftedRevocation(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	issued := b.session()
	r := b.revoke(RevokeRun, "u1", "")
	same := b.revoke(RevokeRun, "u1", "web")
	for _, tt := range []struct {
		lift    string
		revoked bool
	}{{"", true}, {r.ID, true}, {same.ID, false}} {
		b.lift(tt.lift)
		b.look(t.Context())
		if _, err := b.grant(issued.Token); (err != nil) != tt.revoked {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// Static tokens have nothing that a revocation of an identity is compared with, and empty claims are no value.
func TestRevocationsHitNobodyElse(t *testing.T) {
	m := newMade("ci", "web", Trusted)
	b := newBench(t, newRules("p", nil), func(o *Options) { o.Fixed = []Token{m.Token} })
	issued := b.session("run", "", "actor", "", "source", "", "repository", "")
	b.source.change(func(s *fakeSource) {
		for _, kind := range append(RevocationKinds[:], "weekday") {
			for _, value := range []string{"", m.ID, m.Name} {
				s.revocations = append(s.revocations, Revocation{ID: "0123456789ab", Kind: kind, Value: value})
			}
		}
		s.version++
	})
	b.look(t.Context())
	b.mustGrant(m.text)
	b.mustGrant(issued.Token)
}

func TestNewRevocation(t *testing.T) {
	text, _ := NewToken()
	good := []struct {
		kind      RevocationKind
		value     string
		workspace cache.Workspace
		reason    string
	}{
		{RevokeRun, "17", "", ""}, {RevokeSubject, "repo:acme/web:ref:refs/heads/ä b", "web", "stolen, see ticket 7"},
		{RevokeActor, strings.Repeat("x", MaxRevocationValue), "", strings.Repeat("x", MaxRevocationReason)},
	}
	for _, g := range good {
		r, err := NewRevocation(g.kind, g.value, g.workspace, g.reason, start)
		if err != nil || r.Created != start || !r.Lifted.IsZero() || !looksLikeID(r.ID) {
			t.Errorf("%+v: %+v, %v", g, r, err)
		}
	}
	for name, bad := range map[string]struct {
		kind      RevocationKind
		value     string
		workspace cache.Workspace
		reason    string
	}{
		"no kind": {"", "1", "", ""}, "another kind": {"weekday", "1", "", ""}, "no value": {RevokeRun, "", "", ""},
		"a session's name": {RevokeSession, "17", "", ""},
		"long":             {RevokeRun, strings.Repeat("x", MaxRevocationValue+1), "", ""},
		"line":             {RevokeRun, "1\n2", "", ""},
		"escape":           {RevokeRun, "1\x1b[31m", "", ""},
		"C1":               {RevokeRun, "1\u009b31m", "", ""},
		"not text":         {RevokeRun, "1\xff", "", ""},
		"workspace":        {RevokeRun, "1", "Web", ""},
		"long reason":      {RevokeRun, "1", "", strings.Repeat("x", MaxRevocationReason+1)},
		"reason's lines":   {RevokeRun, "1", "", "a\nb"},
		"a token":          {RevokeRun, text + "\n", "", text},
	} {
		_, err := NewRevocation(bad.kind, bad.value, bad.workspace, bad.reason, start)
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		wantNoSecret(t, err.Error(), text)
	}
	b := newBench(t, newRules("p", nil), nil)
	issued := b.session()
	for _, text := range []string{issued.ID, issued.Token} {
		if id, err := SessionID(text); err != nil || id != issued.ID {
			t.Errorf("%q, %v", id, err)
		}
	}
	for _, text := range []string{"", "17", issued.Token[:40], "bzs_" + issued.ID, text} {
		id, err := SessionID(text)
		if err == nil {
			t.Fatalf("took it for %q", id)
		}
		wantNoSecret(t, err.Error(), text, issued.Token)
	}
	r, _ := NewRevocation(RevokeRun, "1", "", "", start)
	r.ID = "x"
	if r.Validate() == nil {
		t.Error("took a bad id")
	}
}
