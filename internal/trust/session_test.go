package trust

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/trust/session"
)

func TestASessionMayWhatWasIssued(t *testing.T) {
	for kind, want := range map[string]struct {
		read  []cache.Scope
		write cache.Scope
	}{
		"main":    {[]cache.Scope{"trusted"}, "trusted"},
		"pr":      {[]cache.Scope{"trusted", "pr/17"}, "pr/17"},
		"release": {[]cache.Scope{"trusted"}, ""},
		"tag":     {nil, ""},
	} {
		t.Run(kind, func(t *testing.T) {
			r := newRules("p", nil)
			b := newBench(t, r, nil)
			issued := b.session("kind", kind)
			if issued.Workspace != "web" || !slices.Equal(issued.Read, want.read) || issued.Write != want.write || issued.Rule != "rule for "+kind {
				t.Fatalf("issued %+v", issued)
			}
			if !issued.Expires.Equal(start.Add(time.Hour)) || !session.IsID(issued.ID) {
				t.Fatalf("issued %+v", issued)
			}
			asked := r.asked
			for _, named := range []cache.Workspace{"", "web"} {
				g, err := b.Grant(t.Context(), "Bearer "+issued.Token, named)
				if err != nil {
					t.Fatal(err)
				}
				wanted := cache.Grant{Workspace: "web", Read: want.read, Write: want.write, Producer: cache.Producer{
					Kind: "ci", Provider: "gitlab", Issuer: testIssuer, Subject: "project:acme", Session: issued.ID,
					RepositoryID: "r1", SourceID: "r2", RunID: "u1", ActorID: "a1",
				}}
				if diff := cmp.Diff(wanted, g); diff != "" {
					t.Fatal(diff)
				}
				if err := b.Valid(t.Context(), "Bearer "+issued.Token, named, g); err != nil {
					t.Fatal(err)
				}
			}
			if r.asked != asked {
				t.Error("under the policy that issued it the session is judged again")
			}
			_, err := b.Grant(t.Context(), "Bearer "+issued.Token, "library")
			wantDenial(t, err, ErrOtherWorkspace, issued.Token)
			if d, _ := errors.AsType[*DeniedError](err); d.Session != issued.ID || d.Producer.RunID != "u1" {
				t.Errorf("the denial says %+v", d)
			}
		})
	}
}

func TestASessionExpires(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	issued := b.session()
	g := b.mustGrant(issued.Token)
	b.clock.pass(time.Hour - 1)
	b.mustGrant(issued.Token)
	b.clock.pass(1)
	_, err := b.grant(issued.Token)
	wantDenial(t, err, ErrExpired, issued.Token)
	wantDenial(t, b.valid(issued.Token, g), ErrExpired, issued.Token)
}

// One that no request brought before, so that nothing of it is remembered.
func TestAnExpiredSessionIsNotTakenUnseen(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	issued := b.session()
	b.clock.pass(2 * time.Hour)
	_, err := b.grant(issued.Token)
	wantDenial(t, err, ErrExpired, issued.Token)
}

func TestForgedSessions(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	stranger := newBench(t, newRules("p", nil), func(o *Options) { o.Keys = keyring.Keys{keyTwo} })
	impostor := newBench(t, newRules("p", nil), func(o *Options) { o.Keys = keyring.Keys{{ID: "one", Secret: keyTwo.Secret}} })
	issued := b.session()
	for name, tt := range map[string]struct {
		text, says string
		want       error
	}{
		"another server's": {stranger.session().Token, "--seal-key-file", ErrNotAllowed},
		"an impostor's":    {impostor.session().Token, "signature", ErrForged},
		"cut":              {issued.Token[:len(issued.Token)-2], "cut", ErrMalformed},
		"prefix alone":     {session.Prefix, "cut", ErrMalformed},
		"longer":           {issued.Token + "=", "cut", ErrMalformed},
		"huge":             {session.Prefix + strings.Repeat("A", MaxCredential), "longer than", ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.grant(tt.text)
			wantDenial(t, err, tt.want, tt.text)
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q does not say %q", err, tt.says)
			}
		})
	}
}

// Also where the genuine one is remembered, and a forged one stands beside it.
func TestNoChangedSessionPasses(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	issued := b.session()
	b.mustGrant(issued.Token)
	for i := range issued.Token {
		for _, flip := range []byte{1, 2, 4, 0x20, 0x80} {
			wrong := issued.Token[:i] + string([]byte{issued.Token[i] ^ flip}) + issued.Token[i+1:]
			if g, err := b.grant(wrong); err == nil {
				t.Fatalf("byte %d: granted %+v", i, g)
			} else if d, ok := errors.AsType[*DeniedError](err); !ok || d.Session != "" || d.Producer.Kind != "" {
				t.Fatalf("byte %d: %+v says who it is of", i, err)
			}
		}
	}
	b.mustGrant(issued.Token)
}

// What a session asks for is on the server that gets the request, not on the one that issued it: neither the ledger nor the issuer's keys.
func TestSessionsWorkOnEveryReplica(t *testing.T) {
	one := newBench(t, newRules("p", nil), nil)
	other := newBench(t, newRules("p", nil), nil)
	dead := errors.New("dead")
	other.source.change(func(s *fakeSource) { s.err = dead })
	other.uses.err = dead
	other.verifier.fail(dead)
	issued := one.session()
	g := other.mustGrant(issued.Token)
	if diff := cmp.Diff(one.mustGrant(issued.Token), g); diff != "" {
		t.Fatal(diff)
	}
	if err := other.valid(issued.Token, g); err != nil {
		t.Fatal(err)
	}
}

// Replicas get to know a new key one after the other; nothing breaks if all know it before one signs with it.
func TestRotationOfKeys(t *testing.T) {
	with := func(keys ...keyring.Key) *bench {
		return newBench(t, newRules("p", nil), func(o *Options) { o.Keys = keys })
	}
	before, added, active, after := with(keyOne), with(keyOne, keyTwo), with(keyTwo, keyOne), with(keyTwo)
	old, fresh := before.session(), active.session()
	for _, tt := range []struct {
		name  string
		b     *bench
		token string
		want  error
	}{
		{"the new one does not take the old key's away", added, old.Token, nil},
		{"the old key still verifies", active, old.Token, nil},
		{"the new key is known before it signs", added, fresh.Token, nil},
		{"the old key was removed", after, old.Token, ErrNotAllowed},
		{"the new key came too late here", before, fresh.Token, ErrNotAllowed},
		{"the new key alone", after, fresh.Token, nil},
	} {
		if _, err := tt.b.grant(tt.token); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestAnotherPolicy(t *testing.T) {
	set := func(kind string, l level) func(*fakeRules) {
		return func(r *fakeRules) { r.kinds[kind] = l }
	}
	for _, tt := range []struct {
		name, kind string
		edit       func(*fakeRules)
		read       []cache.Scope
		write      cache.Scope
		err        error
	}{
		{"the same under another name", "pr", nil, []cache.Scope{"trusted", "pr/17"}, "pr/17", nil},
		{"narrower: reads", "pr", set("pr", readOnly), []cache.Scope{"trusted"}, "", nil},
		{"narrower: nothing but misses", "pr", set("pr", bypass), nil, "", nil},
		{"narrower: nothing", "pr", set("pr", nothing), nil, "", ErrNotAllowed},
		{"narrower: no longer trusted", "main", set("main", isolated), []cache.Scope{"trusted"}, "", nil},
		{"wider: trusted", "pr", set("pr", trusted), []cache.Scope{"trusted"}, "", nil},
		{"wider: writes", "release", set("release", isolated), []cache.Scope{"trusted"}, "", nil},
		{"wider: reads", "tag", set("tag", readOnly), nil, "", nil},
		{"the workspace is gone", "main", func(r *fakeRules) { delete(r.settings, "web") }, nil, "", ErrNotAllowed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, newRules("old", nil), nil)
			issued := b.session("kind", tt.kind)
			before := b.mustGrant(issued.Token)
			b.setRules(newRules("new", tt.edit))
			g, err := b.grant(issued.Token)
			if !errors.Is(err, tt.err) {
				t.Fatal(err)
			}
			valid := b.valid(issued.Token, before)
			switch {
			case err != nil:
				wantDenial(t, err, tt.err, issued.Token)
				wantDenial(t, valid, tt.err, issued.Token)
				if !strings.Contains(err.Error(), "because of the kind "+tt.kind) {
					t.Errorf("%q does not say why", err)
				}
			case tt.write != before.Write:
				wantDenial(t, valid, ErrNotAllowed, issued.Token)
			case valid != nil:
				t.Fatal(valid)
			}
			if !slices.Equal(g.Read, tt.read) || g.Write != tt.write {
				t.Fatalf("granted %+v", g)
			}
			if err == nil && g.Producer != before.Producer {
				t.Errorf("the producer changed: %+v", g.Producer)
			}
			// The old one again, from another replica or after a mistake was taken back: the session is what it was.
			b.setRules(newRules("old", nil))
			if diff := cmp.Diff(before, b.mustGrant(issued.Token)); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

// A policy that takes tokens for another audience takes no session that was given for one of the old.
func TestAnotherAudience(t *testing.T) {
	b := newBench(t, newRules("old", nil), nil)
	issued := b.session("kind", "main")
	before := b.mustGrant(issued.Token)
	b.setRules(newRules("new", func(r *fakeRules) { r.audience = "https://moved.example.com" }))
	_, err := b.grant(issued.Token)
	wantDenial(t, err, ErrNotAllowed, issued.Token)
	wantDenial(t, b.valid(issued.Token, before), ErrNotAllowed, issued.Token)
	if !strings.Contains(err.Error(), "audience") {
		t.Errorf("%q does not say why", err)
	}
	b.mustGrant(b.session("kind", "main").Token)
}

func TestAnotherPolicyMayShortenSessions(t *testing.T) {
	b := newBench(t, newRules("old", nil), nil)
	issued := b.session()
	b.clock.pass(30 * time.Minute)
	b.mustGrant(issued.Token)
	for _, tt := range []struct {
		longest time.Duration
		want    error
	}{{20 * time.Minute, ErrExpired}, {30 * time.Minute, ErrExpired}, {31 * time.Minute, nil}, {24 * time.Hour, nil}} {
		b.setRules(newRules("new", func(r *fakeRules) {
			s := testSettings
			s.SessionMax = tt.longest
			r.settings["web"] = s
		}))
		if _, err := b.grant(issued.Token); !errors.Is(err, tt.want) {
			t.Errorf("at most %s: %v", tt.longest, err)
		}
	}
	b.clock.pass(30 * time.Minute) // a longer maximum is for new ones
	_, err := b.grant(issued.Token)
	wantDenial(t, err, ErrExpired, issued.Token)
}

func TestWithoutAPolicy(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	issued, identity := b.session(), b.identity()
	b.mustGrant(identity)
	b.SetPolicy(nil)
	if b.Open() {
		t.Fatal("open without a policy, where there was one")
	}
	_, err := b.grant(issued.Token)
	wantDenial(t, err, ErrNotAllowed, issued.Token)
	_, err = b.grant(identity)
	wantDenial(t, err, ErrNotAllowed, identity)
	_, err = b.Exchange(t.Context(), identity, "", 0)
	wantDenial(t, err, ErrNotAllowed, identity)
	if b.Known("web") {
		t.Error("its workspaces are still known")
	}
}

func TestAPolicyClosesTheDoorsForGood(t *testing.T) {
	b := newBench(t, nil, nil)
	if !b.Open() || b.Known("web") {
		t.Fatal("closed without a token and a policy")
	}
	open, err := b.Grant(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	b.setRules(newRules("p", nil))
	if b.Open() || !b.Known("web") || !b.Known("library") || !b.Known("default") {
		t.Fatal("a policy changes nothing")
	}
	_, err = b.Grant(t.Context(), "", "")
	wantDenial(t, err, ErrNoCredential)
	wantDenial(t, b.Valid(t.Context(), "", "", open), ErrNoCredential)
	if n := strings.Count(b.log.String(), "from now on requests need a credential"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	b.source.change(func(s *fakeSource) { s.version++ })
	b.look(t.Context())
	if b.Open() || !b.Known("web") {
		t.Error("a refresh forgot the policy")
	}
}

// Sessions of another release are no forgeries: they must not turn a build red while replicas are upgraded.
func TestASessionOfAnotherRelease(t *testing.T) {
	d := unreadable(session.ErrVersion)
	wantDenial(t, d, ErrNotAllowed)
}

// Requests, exchanges, refreshes and policies at the same time, for the race detector.
func TestConcurrentSessions(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			b.setRules(newRules([]string{"p", "q"}[i%2], nil))
			if i < 100 {
				b.revoke(RevokeRun, "another", "")
			}
			b.look(t.Context())
		}
	})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 50 {
				issued := b.session()
				g := b.mustGrant(issued.Token)
				if err := b.valid(issued.Token, g); err != nil || g.Write != "pr/17" {
					t.Error(err, g)
				}
				if identity := b.identity(); b.mustGrant(identity).Write != "pr/17" {
					t.Error("the identity itself")
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	wg.Wait()
}
