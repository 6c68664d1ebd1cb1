package trust

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Whatever is created, revoked, expires, fails and is looked at in whatever order: the doors that closed stay closed, and after a look
// that succeeded every token is worth exactly what its records say.
func TestNoSequenceLetsAnyoneIn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := start
		log := new(logBook)
		source := &fakeSource{}
		var all []made
		a, err := NewAuthenticator(t.Context(), Options{Source: source, Now: func() time.Time { return now }, Logger: log.logger()})
		if err != nil {
			rt.Fatal(err)
		}
		seen := 0           // how many of all the authenticator has been told of
		trouble := false    // whether the source fails
		inForce := []bool{} // for each of all: whether its revocation is in force
		revokedAt := []bool{}

		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				m := newMade("ci", rapid.SampledFrom([]cache.Workspace{"default", "web"}).Draw(rt, "workspace"),
					rapid.SampledFrom([]Access{Read, Isolated, Trusted}).Draw(rt, "access"))
				if d := rapid.IntRange(-2, 5).Draw(rt, "minutes to live, 0: forever"); d != 0 {
					m.Expires = now.Add(time.Duration(d) * time.Minute)
				}
				all, inForce, revokedAt = append(all, m), append(inForce, false), append(revokedAt, false)
				source.create(m.Token)
			},
			"revoke": func(rt *rapid.T) {
				if len(all) == 0 {
					rt.Skip("none yet")
				}
				i := rapid.IntRange(0, len(all)-1).Draw(rt, "which")
				revokedAt[i] = true
				source.revoke(all[i].ID, now)
			},
			"pass time": func(rt *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 120).Draw(rt, "seconds")) * time.Second)
			},
			"fail": func(*rapid.T) { trouble = true; source.change(func(s *fakeSource) { s.err = errors.New("trouble") }) },
			"mend": func(*rapid.T) { trouble = false; source.change(func(s *fakeSource) { s.err = nil }) },
			"look": func(*rapid.T) {
				a.look(t.Context())
				if !trouble {
					seen = len(all)
					copy(inForce, revokedAt)
				}
			},
			"": func(rt *rapid.T) {
				if open := seen == 0; a.Open() != open {
					rt.Fatalf("open: %v, after %d tokens", a.Open(), seen)
				}
				if seen == 0 {
					return
				}
				if _, err := a.Grant(t.Context(), "", ""); !errors.Is(err, ErrNoCredential) {
					rt.Fatalf("without a credential: %v", err)
				}
				for i, m := range all {
					var want error
					switch {
					case i >= seen:
						want = ErrUnknown
					case inForce[i]:
						want = ErrRevoked
					case !m.Expires.IsZero() && !now.Before(m.Expires):
						want = ErrExpired
					}
					grant, err := a.Grant(t.Context(), m.bearer(), m.Workspace)
					if !errors.Is(err, want) {
						rt.Fatalf("token %d: %v, want %v", i, err, want)
					}
					if err == nil && (grant.Workspace != m.Workspace || m.Access != Trusted && grant.Write == cache.Trusted) {
						rt.Fatalf("token %d of %s with access %s got %+v", i, m.Workspace, m.Access, grant)
					}
					if valid := a.Valid(t.Context(), m.bearer(), "", m.Grant()); !errors.Is(valid, want) {
						rt.Fatalf("token %d at the commit: %v, want %v", i, valid, want)
					}
				}
			},
		})
	})
}
