package trust

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// permissions are what a grant allows, as a set, in the model's own terms.
type permissions map[string]bool

func permissionsOf(g cache.Grant) permissions {
	p := permissions{}
	for _, scope := range g.Read {
		p[fmt.Sprintf("%s: read %s", g.Workspace, scope)] = true
	}
	if g.Write != "" {
		p[fmt.Sprintf("%s: write %s", g.Workspace, g.Write)] = true
	}
	return p
}

func both(a, b permissions) permissions {
	c := permissions{}
	for k := range a {
		if b[k] {
			c[k] = true
		}
	}
	return c
}

// job is a build with its credentials, as the model sees it.
type job struct {
	kind, run, n string
	workspace    cache.Workspace
	identity     string
	identityEnd  time.Time
	started      time.Time

	session     string
	id          string
	issued      permissions
	expires     time.Time
	issuedUnder string
}

// world is the model: a policy is a map, a revocation a string.
type world struct {
	now      time.Time
	kinds    map[string]level
	longest  time.Duration
	gone     bool // the workspace "web" is not in the policy
	inForce  map[string]string
	recorded map[string]string // revocations by id, before the next look
	jobs     []*job
}

func (w *world) fingerprint() string {
	return fmt.Sprint(w.kinds, w.longest, w.gone)
}

func (w *world) rules() *fakeRules {
	return newRules(w.fingerprint(), func(r *fakeRules) {
		r.kinds = maps.Clone(w.kinds)
		settings := testSettings
		settings.SessionMax = w.longest
		r.settings["web"], r.settings["library"] = settings, settings
		if w.gone {
			delete(r.settings, "web")
		}
	})
}

// may is what the present policy gives to a job, nil if it gives no grant.
func (w *world) may(j *job) permissions {
	if w.gone && j.workspace == "web" || w.kinds[j.kind] == nothing {
		return nil
	}
	read, write := w.kinds[j.kind].grant(cache.Scope("pr/" + j.n))
	return permissionsOf(cache.Grant{Workspace: j.workspace, Read: read, Write: write})
}

func (w *world) revoked(j *job, bySession bool) bool {
	for _, what := range w.inForce {
		if what == "run "+j.run || bySession && what == "session "+j.id {
			return true
		}
	}
	return false
}

// want is what the model says of a session: what is allowed, and the sentinel if it is nothing.
func (w *world) want(j *job) (permissions, error) {
	expires := j.expires
	if j.issuedUnder != w.fingerprint() {
		// Also when the policy came back to what it was under another maximum.
		if end := j.started.Add(w.longest); w.may(j) != nil && end.Before(expires) {
			expires = end
		}
	}
	switch now := w.may(j); {
	case w.revoked(j, true):
		return nil, ErrRevoked
	case !w.now.Before(expires):
		return nil, ErrExpired
	case j.issuedUnder != w.fingerprint() && now == nil:
		return nil, ErrNotAllowed
	case j.issuedUnder != w.fingerprint():
		return both(j.issued, now), nil
	}
	return j.issued, nil
}

// wantIdentity is what it says of the identity token as the bearer.
func (w *world) wantIdentity(j *job) (permissions, error) {
	switch {
	case w.may(j) == nil:
		return nil, ErrNotAllowed
	case w.revoked(j, false):
		return nil, ErrRevoked
	case !w.now.Before(j.started.Add(w.longest)):
		return nil, ErrExpired
	}
	return w.may(j), nil
}

// Whatever is exchanged, presented, revoked, lifted, expires, is swapped or tampered with in whatever order: each credential is worth
// exactly what the model says, and never more than it was when it was issued.
func TestNoSequenceWidensACredential(t *testing.T) {
	levels := []level{nothing, bypass, readOnly, isolated, trusted}
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{now: start, kinds: map[string]level{"main": trusted, "pr": isolated, "tag": bypass}, longest: 3 * time.Hour,
			inForce: map[string]string{}, recorded: map[string]string{}}
		b := newBench(t, w.rules(), nil)
		serial := 0
		one := func(rt *rapid.T) *job {
			if len(w.jobs) == 0 {
				rt.Skip("none yet")
			}
			return rapid.SampledFrom(w.jobs).Draw(rt, "job")
		}
		swap := func() { b.setRules(w.rules()) }

		rt.Repeat(map[string]func(*rapid.T){
			"start a job": func(rt *rapid.T) {
				serial++
				j := &job{
					kind:      rapid.SampledFrom([]string{"main", "pr", "tag"}).Draw(rt, "kind"),
					workspace: rapid.SampledFrom([]cache.Workspace{"web", "library"}).Draw(rt, "workspace"),
					run:       rapid.SampledFrom([]string{"1", "2", "3"}).Draw(rt, "run"),
					n:         rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "n"), started: w.now,
				}
				j.identityEnd = w.now.Add(100 * time.Hour)
				j.identity = b.verifier.identity(w.now, 100*time.Hour, "kind", j.kind, "workspace", string(j.workspace), "run", j.run, "n", j.n)
				w.jobs = append(w.jobs, j)
			},
			"exchange": func(rt *rapid.T) {
				j := one(rt)
				named := rapid.SampledFrom([]cache.Workspace{"", "web", "library"}).Draw(rt, "named")
				ttl := time.Duration(rapid.IntRange(0, 300).Draw(rt, "minutes")) * time.Minute
				issued, err := b.Exchange(t.Context(), j.identity, named, ttl)
				var want error
				switch {
				case w.may(j) == nil, named != "" && named != j.workspace:
					want = ErrNotAllowed
				case w.revoked(j, false):
					want = ErrRevoked
				case j.session != "":
					want = ErrReplayed
				}
				if !errors.Is(err, want) || want == nil && err != nil {
					rt.Fatalf("exchange: %v, want %v", err, want)
				}
				if err != nil {
					return
				}
				if ttl == 0 {
					ttl = testSettings.SessionTTL
				}
				j.started = w.now // of the session, from here on
				j.session, j.id, j.issued, j.issuedUnder, j.expires = issued.Token, issued.ID, w.may(j), w.fingerprint(), w.now.Add(min(ttl, w.longest))
				b.verifier.made[j.identity].IssuedAt = w.now
			},
			"revoke a run": func(rt *rapid.T) {
				run := rapid.SampledFrom([]string{"1", "2", "3"}).Draw(rt, "run")
				w.recorded[b.revoke(RevokeRun, run, "").ID] = "run " + run
			},
			"revoke a session": func(rt *rapid.T) {
				if j := one(rt); j.id != "" {
					w.recorded[b.revoke(RevokeSession, j.id, j.workspace).ID] = "session " + j.id
				}
			},
			"lift": func(rt *rapid.T) {
				ids := slices.Sorted(maps.Keys(w.recorded))
				if len(ids) == 0 {
					rt.Skip("none yet")
				}
				id := ids[rapid.IntRange(0, len(ids)-1).Draw(rt, "which")]
				b.lift(id)
				delete(w.recorded, id)
			},
			"look": func(*rapid.T) {
				b.look(t.Context())
				w.inForce = maps.Clone(w.recorded)
			},
			"pass time": func(rt *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 90).Draw(rt, "minutes")) * time.Minute
				w.now = w.now.Add(d)
				b.clock.pass(d)
			},
			"swap the policy": func(rt *rapid.T) {
				w.kinds[rapid.SampledFrom([]string{"main", "pr", "tag"}).Draw(rt, "kind")] = rapid.SampledFrom(levels).Draw(rt, "level")
				swap()
			},
			"swap the maximum": func(rt *rapid.T) {
				w.longest = time.Duration(rapid.IntRange(1, 5).Draw(rt, "hours")) * time.Hour
				swap()
			},
			"lose or find a workspace": func(*rapid.T) { w.gone = !w.gone; swap() },
			"tamper": func(rt *rapid.T) {
				j := one(rt)
				if j.session == "" {
					rt.Skip("no session")
				}
				i := rapid.IntRange(0, len(j.session)-1).Draw(rt, "at")
				c := byte(rapid.IntRange(0, 255).Draw(rt, "byte"))
				if c == j.session[i] {
					return
				}
				if g, err := b.grant(j.session[:i] + string([]byte{c}) + j.session[i+1:]); err == nil {
					rt.Fatalf("byte %d: granted %+v", i, g)
				}
			},
			"": func(rt *rapid.T) {
				for _, j := range w.jobs {
					want, sentinel := w.wantIdentity(j)
					check(rt, b, "identity", j, j.identity, want, sentinel)
					if j.session == "" {
						continue
					}
					want, sentinel = w.want(j)
					g := check(rt, b, "session", j, j.session, want, sentinel)
					if more := permissionsOf(g); len(both(more, j.issued)) != len(more) {
						rt.Fatalf("the session of %+v got %v, and was issued for %v", j, more, j.issued)
					}
				}
			},
		})
	})
}

func check(rt *rapid.T, b *bench, what string, j *job, credential string, want permissions, sentinel error) cache.Grant {
	g, err := b.grant(credential)
	if !errors.Is(err, sentinel) || sentinel == nil && err != nil {
		rt.Fatalf("%s of %+v: %v, want %v", what, j, err, sentinel)
	}
	if err == nil && !maps.Equal(permissionsOf(g), want) {
		rt.Fatalf("%s of %+v: got %v, want %v", what, j, permissionsOf(g), want)
	}
	if valid := b.valid(credential, g); !errors.Is(valid, sentinel) || sentinel == nil && valid != nil {
		rt.Fatalf("%s of %+v at the commit: %v, want %v", what, j, valid, sentinel)
	}
	return g
}
