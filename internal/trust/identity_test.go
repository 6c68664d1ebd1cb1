package trust

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

func TestAnIdentityAsTheBearer(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	identity := b.identity()
	want := cache.Grant{Workspace: "web", Read: []cache.Scope{"trusted", "pr/17"}, Write: "pr/17", Producer: cache.Producer{
		Kind: "ci", Provider: "gitlab", Issuer: testIssuer, Subject: "project:acme", RepositoryID: "r1", SourceID: "r2", RunID: "u1", ActorID: "a1",
	}}
	for _, named := range []cache.Workspace{"", "web", "", "web", "web"} {
		g, err := b.Grant(t.Context(), "Bearer "+identity, named)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, g); diff != "" {
			t.Fatal(diff)
		}
		if err := b.Valid(t.Context(), "Bearer "+identity, named, g); err != nil {
			t.Fatal(err)
		}
	}
	if b.verifier.asked != 1 {
		t.Errorf("verified %d times", b.verifier.asked)
	}
	_, err := b.Grant(t.Context(), "Bearer "+identity, "library")
	wantDenial(t, err, ErrNotAllowed, identity)
	b.mustGrant(identity) // the one for another workspace is not remembered for this one
	if len(b.uses.used) != 0 {
		t.Error("a bearer was used up")
	}
}

func TestDenialsOfIdentities(t *testing.T) {
	inner := errors.New("trouble of the inner parts")
	for name, tt := range map[string]struct {
		fail   error // of the verifier
		claims []string
		edit   func(*fakeRules)
		named  cache.Workspace
		want   error
		known  bool // who it is of
	}{
		"expired":             {fail: fmt.Errorf("%w: since noon", oidc.ErrExpired), want: ErrExpired},
		"another audience":    {fail: fmt.Errorf("%w: theirs", oidc.ErrAudience), want: ErrAudience},
		"forged":              {fail: fmt.Errorf("%w: badly", oidc.ErrMalformed), want: ErrForged},
		"unknown issuer":      {fail: fmt.Errorf("%w: name it", oidc.ErrIssuer), want: ErrNotAllowed},
		"unavailable":         {fail: fmt.Errorf("%w: since noon", oidc.ErrUnavailable), want: ErrUnverifiable},
		"unexpected trouble":  {fail: inner, want: ErrUnverifiable},
		"not allowed":         {claims: []string{"kind", "other"}, want: ErrNotAllowed, known: true},
		"no such workspace":   {claims: []string{"workspace", "nowhere"}, want: ErrNotAllowed, known: true},
		"another workspace":   {named: "library", want: ErrNotAllowed, known: true},
		"must be exchanged":   {edit: func(r *fakeRules) { r.bearer = false }, want: ErrNeedsExchange, known: true},
		"a scope that is not": {claims: []string{"n", "1\n2"}, want: ErrNotAllowed, known: true},
		"a scope too long":    {claims: []string{"n", strings.Repeat("9", cache.MaxScopeName+1)}, want: ErrNotAllowed, known: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, newRules("p", tt.edit), nil)
			identity := b.identity(tt.claims...)
			b.verifier.fail(tt.fail)
			_, err := b.Grant(t.Context(), "Bearer "+identity, tt.named)
			wantDenial(t, err, tt.want, identity, inner.Error())
			if tt.fail != nil && !errors.Is(tt.fail, inner) && err.Error() != tt.fail.Error() {
				t.Errorf("%q is not what the verifier says", err)
			}
			if d, _ := errors.AsType[*DeniedError](err); (d.Producer.Kind == ProducerCI && d.Producer.RunID == "u1") != tt.known {
				t.Errorf("the denial says %+v", d)
			}
			if errors.Is(tt.want, ErrNeedsExchange) {
				return
			}
			_, err = b.Exchange(t.Context(), identity, tt.named, 0)
			wantDenial(t, err, tt.want, identity, inner.Error())
			if len(b.uses.used) != 0 {
				t.Error("a denied token was used up")
			}
		})
	}
}

// rogue rules answer with a workspace that was not asked for.
type rogue struct{ *fakeRules }

func (r rogue) Judge(id policy.Identity, _ cache.Workspace) policy.Decision {
	return r.fakeRules.Judge(id, "")
}

func TestAnotherWorkspaceThanTheNamedOneIsNeverGranted(t *testing.T) {
	b := newBench(t, rogue{newRules("p", nil)}, nil)
	identity := b.identity()
	for _, named := range []cache.Workspace{"library", "default", "nowhere"} {
		_, err := b.Grant(t.Context(), "Bearer "+identity, named)
		wantDenial(t, err, ErrNotAllowed, identity)
		_, err = b.Exchange(t.Context(), identity, named, 0)
		wantDenial(t, err, ErrNotAllowed, identity)
	}
}

func TestFormsThatAreNoIdentity(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	for _, text := range []string{"eyJ.e30", "eyJ.e30.e30.e30", "xyJ.e30.e30", "ey", "ghp_abcdefghijklmnop", "eyJ" + strings.Repeat(".", 2) + strings.Repeat("A", MaxCredential)} {
		_, err := b.grant(text)
		wantDenial(t, err, ErrMalformed)
	}
	if b.verifier.asked != 0 {
		t.Error("the verifier was asked")
	}
}

func TestAnIdentityEnds(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	identity := b.identity()
	g := b.mustGrant(identity)
	b.clock.pass(time.Hour - 1)
	b.mustGrant(identity)
	// From its end on the verifier decides.
	b.clock.pass(1)
	b.mustGrant(identity)
	b.verifier.fail(oidc.ErrExpired)
	_, err := b.grant(identity)
	wantDenial(t, err, ErrExpired, identity)
	wantDenial(t, b.valid(identity, g), ErrExpired, identity)
}

func TestAnIdentityIsNoOlderThanASession(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	identity := b.verifier.identity(start, 1000*time.Hour)
	g := b.mustGrant(identity)
	b.clock.pass(testSettings.SessionMax - 1)
	b.mustGrant(identity)
	b.clock.pass(1)
	_, err := b.grant(identity)
	wantDenial(t, err, ErrExpired, identity)
	wantDenial(t, b.valid(identity, g), ErrExpired, identity)
	if d, _ := errors.AsType[*DeniedError](err); d.Producer.RunID != "u1" {
		t.Errorf("the denial says %+v", d)
	}
}

// A key that the issuer withdrew or that was stolen counts no longer, for tokens that were taken before either.
func TestAnIdentityIsVerifiedAnewInAnotherEpoch(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	identity := b.identity()
	g := b.mustGrant(identity)
	b.verifier.change(nil)
	b.mustGrant(identity)
	b.verifier.change(oidc.ErrExpired)
	_, err := b.grant(identity)
	wantDenial(t, err, ErrExpired, identity)
	wantDenial(t, b.valid(identity, g), ErrExpired, identity)
	// What was refused once is not remembered as taken.
	b.verifier.fail(oidc.ErrUnavailable)
	_, err = b.grant(identity)
	wantDenial(t, err, ErrUnverifiable, identity)
}

// An epoch that begins while a token is being verified is not the one that it was verified in.
func TestAnEpochBeginsInTheMidst(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	identity := b.identity()
	b.verifier.during = func() { b.verifier.change(nil) }
	b.mustGrant(identity)
	b.verifier.during = nil
	b.verifier.fail(oidc.ErrAudience)
	_, err := b.grant(identity)
	wantDenial(t, err, ErrAudience, identity)
}

// onlyVerifies says nothing of epochs.
type onlyVerifies struct{ v *fakeVerifier }

func (o onlyVerifies) Verify(ctx context.Context, raw string) (*oidc.Token, error) {
	return o.v.Verify(ctx, raw)
}

func TestWithoutEpochsEachRequestIsVerified(t *testing.T) {
	v := &fakeVerifier{}
	b := newBench(t, newRules("p", nil), func(o *Options) { o.Identities = onlyVerifies{v} })
	identity := v.identity(start, time.Hour)
	for range 3 {
		b.mustGrant(identity)
	}
	if v.asked != 3 {
		t.Errorf("verified %d times", v.asked)
	}
	v.fail(oidc.ErrExpired)
	_, err := b.grant(identity)
	wantDenial(t, err, ErrExpired, identity)
}

func TestAnOutageOfTheIssuer(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	identity, unseen, issued := b.identity(), b.identity(), b.session()
	b.mustGrant(identity)
	asked := b.verifier.asked
	b.verifier.fail(oidc.ErrUnavailable)
	for range 59 {
		b.clock.pass(time.Minute)
		b.mustGrant(identity)
		b.mustGrant(issued.Token)
		_, err := b.grant(unseen)
		wantDenial(t, err, ErrUnverifiable, unseen)
	}
	if b.verifier.asked != asked+59 {
		t.Errorf("asked %d times for a token that was verified", b.verifier.asked-asked-59)
	}
	b.clock.pass(time.Minute) // its end
	_, err := b.grant(identity)
	wantDenial(t, err, ErrUnverifiable, identity)
}

// Whoever breaks his requests off gets nothing by it.
func TestAClientThatLeavesProvesNothing(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	identity := b.identity()
	b.mustGrant(identity)
	b.verifier.change(nil)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	_, err := b.Grant(ctx, "Bearer "+identity, "")
	wantDenial(t, err, ErrUnverifiable, identity)
	b.verifier.fail(oidc.ErrMalformed)
	_, err = b.grant(identity)
	wantDenial(t, err, ErrForged, identity)
}

func TestAnotherPolicyVerifiesAgain(t *testing.T) {
	b := newBench(t, newRules("old", nil), nil)
	identity := b.identity("kind", "main")
	g := b.mustGrant(identity)
	b.setRules(newRules("narrow", func(r *fakeRules) { r.kinds["main"] = isolated }))
	if got := b.mustGrant(identity); got.Write != "pr/17" {
		t.Fatalf("granted %+v", got)
	}
	wantDenial(t, b.valid(identity, g), ErrNotAllowed, identity)
	b.setRules(newRules("no bearer", func(r *fakeRules) { r.bearer = false }))
	_, err := b.grant(identity)
	wantDenial(t, err, ErrNeedsExchange, identity)
	if b.verifier.asked != 3 {
		t.Errorf("verified %d times for three policies", b.verifier.asked)
	}
	// The new policy has another audience: what was verified under the old one counts no more, though the keys cannot be had.
	b.setRules(newRules("another audience", nil))
	b.verifier.fail(oidc.ErrAudience)
	_, err = b.grant(identity)
	wantDenial(t, err, ErrAudience, identity)
	b.setRules(newRules("old", nil))
	b.verifier.fail(oidc.ErrUnavailable)
	_, err = b.grant(identity)
	wantDenial(t, err, ErrUnverifiable, identity)
}

func TestTheMemoIsBounded(t *testing.T) {
	m := newMemo[int]()
	for i := range 10 * memoShards * memoShardSize {
		m.put(keyOf(fmt.Sprint(i)), i)
	}
	held := 0
	for i := range 10 * memoShards * memoShardSize {
		if v, ok := m.get(keyOf(fmt.Sprint(i))); ok {
			if held++; v != i {
				t.Fatalf("%d stands for %d", v, i)
			}
		}
	}
	if held == 0 || held > memoShards*memoShardSize {
		t.Errorf("holds %d", held)
	}
	last := keyOf(fmt.Sprint(10*memoShards*memoShardSize - 1))
	if _, ok := m.get(last); !ok {
		t.Error("the latest is gone")
	}
	m.drop(last)
	if _, ok := m.get(last); ok {
		t.Error("dropped, and still there")
	}
}

// A flood of forgeries leaves alone what is remembered.
func TestForgeriesAreNotRemembered(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	identity, issued := b.identity(), b.session()
	b.mustGrant(identity)
	b.mustGrant(issued.Token)
	asked := b.verifier.asked
	for i := range 2 * memoShards * memoShardSize {
		if _, err := b.grant(fmt.Sprintf("eyJ.e30.%d", i)); !errors.Is(err, ErrForged) {
			t.Fatal(err)
		}
	}
	asked += 2 * memoShards * memoShardSize
	b.mustGrant(identity)
	if b.verifier.asked != asked {
		t.Error("forgeries pushed a genuine one out")
	}
}

func TestIntersection(t *testing.T) {
	scopes := []cache.Scope{"trusted", "pr/1", "pr/2"}
	for mask := range 8 {
		for other := range 8 {
			for _, w := range append(slices.Clone(scopes), "") {
				for _, v := range append(slices.Clone(scopes), "") {
					pick := func(mask int) (read []cache.Scope) {
						for i, s := range scopes {
							if mask&(1<<i) != 0 {
								read = append(read, s)
							}
						}
						return read
					}
					issued := cache.Grant{Workspace: "web", Read: pick(mask), Write: w, Producer: cache.Producer{Kind: "ci"}}
					g := intersect(issued, cache.Grant{Workspace: "other", Read: pick(other), Write: v})
					want := cache.Grant{Workspace: "web", Read: pick(mask & other), Producer: issued.Producer}
					if w == v {
						want.Write = w
					}
					if diff := cmp.Diff(want, g); diff != "" {
						t.Fatal(diff)
					}
				}
			}
		}
	}
}
