package trust

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

const testIssuer = "https://issuer.example"

var (
	keyOne = keyring.Key{ID: "one", Secret: &keyring.Secret{1}}
	keyTwo = keyring.Key{ID: "two", Secret: &keyring.Secret{2}}
)

// level is what fake rules give to a kind of build.
type level int

const (
	nothing level = iota
	bypass
	readOnly
	isolated
	trusted
)

func (l level) grant(own cache.Scope) (read []cache.Scope, write cache.Scope) {
	switch l {
	case readOnly:
		return []cache.Scope{cache.Trusted}, ""
	case isolated:
		return []cache.Scope{cache.Trusted, own}, own
	case trusted:
		return []cache.Scope{cache.Trusted}, cache.Trusted
	}
	return nil, ""
}

// fakeRules are a policy that decides by the claims "workspace", "kind" and "n" alone.
type fakeRules struct {
	mark     string
	audience string
	settings map[cache.Workspace]policy.Settings
	kinds    map[string]level // by kind
	bearer   bool
	asked    int
	mu       sync.Mutex
}

var testSettings = policy.Settings{DevelopersRead: true, DevelopersWrite: true, SessionTTL: time.Hour, SessionMax: 6 * time.Hour}

func newRules(fingerprint string, edit func(*fakeRules)) *fakeRules {
	r := &fakeRules{
		mark:     fingerprint,
		settings: map[cache.Workspace]policy.Settings{"web": testSettings, "library": testSettings},
		kinds:    map[string]level{"main": trusted, "pr": isolated, "tag": bypass, "release": readOnly, "other": nothing},
		bearer:   true,
	}
	if edit != nil {
		edit(r)
	}
	return r
}

func (r *fakeRules) Fingerprint() string { return r.mark }

func (r *fakeRules) Audience() string { return r.audience }

func (r *fakeRules) Workspaces() (names []cache.Workspace) {
	for name := range r.settings {
		names = append(names, name)
	}
	return names
}

func (r *fakeRules) Settings(w cache.Workspace) (policy.Settings, bool) {
	s, ok := r.settings[w]
	return s, ok
}

func (r *fakeRules) Judge(id policy.Identity, named cache.Workspace) policy.Decision {
	r.mu.Lock()
	r.asked++
	r.mu.Unlock()
	text := func(name string) string { s, _ := id.Claims[name].(string); return s }
	workspace := cache.Workspace(text("workspace"))
	d := policy.Decision{
		Provider: policy.GitLab, Bearer: r.bearer, Rule: "rule for " + text("kind"), Reason: "because of the kind " + text("kind"), Claims: id.Claims,
		Grant: cache.Grant{Producer: cache.Producer{
			Provider: "gitlab", Subject: text("sub"), RepositoryID: text("repository"), SourceID: text("source"), RunID: text("run"), ActorID: text("actor"),
		}},
	}
	_, ok := r.settings[workspace]
	l := r.kinds[text("kind")]
	if !ok || l == nothing || named != "" && named != workspace {
		return d
	}
	d.Allowed = true
	d.Grant.Workspace = workspace
	d.Grant.Read, d.Grant.Write = l.grant(cache.Scope("pr/" + text("n")))
	return d
}

// fakeVerifier knows tokens that it made itself.
type fakeVerifier struct {
	mu     sync.Mutex
	made   map[string]*oidc.Token
	err    error // what Verify fails with, whatever is presented
	asked  int
	epoch  uint64
	during func()
}

func (v *fakeVerifier) Epoch() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.epoch
}

// change makes another epoch begin, in which Verify fails with err.
func (v *fakeVerifier) change(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.epoch++
	v.err = err
}

func (v *fakeVerifier) Verify(ctx context.Context, raw string) (*oidc.Token, error) {
	if v.during != nil {
		v.during()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	switch token := v.made[raw]; {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case v.err != nil:
		return nil, v.err
	case token == nil:
		return nil, oidc.ErrMalformed
	default:
		return token, nil
	}
}

func (v *fakeVerifier) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
}

// identity makes an identity token of a build, which lives for life.
func (v *fakeVerifier) identity(now time.Time, life time.Duration, claims ...string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.made == nil {
		v.made = map[string]*oidc.Token{}
	}
	n := len(v.made)
	all := map[string]any{"workspace": "web", "kind": "pr", "n": "17", "sub": "project:acme", "repository": "r1", "source": "r2", "run": "u1", "actor": "a1"}
	for i := 0; i < len(claims); i += 2 {
		all[claims[i]] = claims[i+1]
	}
	raw := fmt.Sprintf("eyJhbGciOiJSUzI1NiJ9.eyJzZWNyZXQi%07d.%s", n, strings.Repeat("s", 40))
	v.made[raw] = &oidc.Token{Issuer: testIssuer, ID: fmt.Sprint("jti-", n), IssuedAt: now, Expires: now.Add(life), Claims: all}
	return raw
}

// fakeUses is a ledger in memory that can fail.
type fakeUses struct {
	mu   sync.Mutex
	used map[string]time.Time
	err  error
}

func (u *fakeUses) UseOnce(ctx context.Context, id string, until time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil {
		return u.err
	}
	if _, ok := u.used[id]; ok {
		return fmt.Errorf("%w: so it was", ErrReplayed)
	}
	if u.used == nil {
		u.used = map[string]time.Time{}
	}
	u.used[id] = until
	return ctx.Err()
}

// bench is an authenticator with all that it needs around it, and a clock to turn.
type bench struct {
	*Authenticator
	t        testing.TB
	clock    *clock
	source   *fakeSource
	verifier *fakeVerifier
	uses     *fakeUses
	log      *logBook
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

func newBench(t testing.TB, r rules, edit func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, clock: &clock{now: start}, source: &fakeSource{}, verifier: &fakeVerifier{}, uses: &fakeUses{}, log: &logBook{}}
	opts := Options{
		Source: b.source, Identities: b.verifier, Keys: keyring.Keys{keyOne}, Uses: b.uses, Now: b.clock.read, Logger: b.log.logger(),
	}
	if edit != nil {
		edit(&opts)
	}
	a, err := NewAuthenticator(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	a.setRules(r)
	b.Authenticator = a
	return b
}

// identity makes an identity token that lives for an hour.
func (b *bench) identity(claims ...string) string {
	return b.verifier.identity(b.clock.read(), time.Hour, claims...)
}

// session exchanges a fresh identity token.
func (b *bench) session(claims ...string) Issued {
	b.t.Helper()
	issued, err := b.Exchange(b.t.Context(), b.identity(claims...), "", 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return issued
}

func (b *bench) grant(credential string) (cache.Grant, error) {
	return b.Grant(b.t.Context(), "Bearer "+credential, "")
}

func (b *bench) mustGrant(credential string) cache.Grant {
	b.t.Helper()
	g, err := b.grant(credential)
	if err != nil {
		b.t.Fatal(err)
	}
	return g
}

func (b *bench) valid(credential string, g cache.Grant) error {
	return b.Valid(b.t.Context(), "Bearer "+credential, "", g)
}

func (b *bench) revoke(kind RevocationKind, value string, workspace cache.Workspace) Revocation {
	b.t.Helper()
	r, err := NewRevocation(kind, value, workspace, "", b.clock.read())
	if err != nil {
		b.t.Fatal(err)
	}
	b.source.change(func(s *fakeSource) { s.revocations = append(s.revocations, r); s.version++ })
	return r
}

func (b *bench) lift(id string) {
	b.source.change(func(s *fakeSource) {
		for i := range s.revocations {
			if s.revocations[i].ID == id {
				s.revocations[i].Lifted = b.clock.read()
			}
		}
		s.version++
	})
}
