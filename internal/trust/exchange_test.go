package trust

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

func TestHowLongASessionLasts(t *testing.T) {
	for _, tt := range []struct {
		asked, ttl, longest, want time.Duration
	}{
		{0, time.Hour, 6 * time.Hour, time.Hour},
		{-time.Minute, time.Hour, 6 * time.Hour, time.Hour},
		{time.Minute, time.Hour, 6 * time.Hour, time.Minute},
		{5 * time.Hour, time.Hour, 6 * time.Hour, 5 * time.Hour},
		{1 << 62, time.Hour, 6 * time.Hour, 6 * time.Hour},
		{0, 12 * time.Hour, 6 * time.Hour, 6 * time.Hour},
		{1500 * time.Millisecond, time.Hour, 6 * time.Hour, time.Second},
	} {
		b := newBench(t, newRules("p", func(r *fakeRules) {
			r.settings["web"] = policy.Settings{SessionTTL: tt.ttl, SessionMax: tt.longest}
		}), nil)
		issued, err := b.Exchange(t.Context(), b.verifier.identity(start, 5*time.Minute), "", tt.asked)
		if err != nil {
			t.Fatal(err)
		}
		if got := issued.Expires.Sub(start); got != tt.want {
			t.Errorf("asked for %s of %s, at most %s: got %s", tt.asked, tt.ttl, tt.longest, got)
		}
		// It may outlive the identity.
		b.clock.pass(tt.want - 1)
		b.mustGrant(issued.Token)
		b.clock.pass(1)
		_, err = b.grant(issued.Token)
		wantDenial(t, err, ErrExpired, issued.Token)
	}
}

func TestExchangeRefuses(t *testing.T) {
	static := newMade("ci", "web", Trusted)
	for name, tt := range map[string]struct {
		rules      func(*fakeRules)
		opts       func(*Options)
		before     func(*bench)
		credential func(*bench) string
		ttl        time.Duration
		want       error
		says       string
	}{
		"nothing":         {credential: func(*bench) string { return "" }, want: ErrNoCredential},
		"a static token":  {credential: func(*bench) string { return static.text }, want: ErrMalformed, says: "as it is"},
		"a session":       {credential: func(b *bench) string { return b.session().Token }, want: ErrMalformed, says: "as it is"},
		"something else":  {credential: func(*bench) string { return "ghp_abcdefghijklmnopqrstuvwxyz" }, want: ErrMalformed, says: "JWT"},
		"something huge":  {credential: func(*bench) string { return "eyJ." + strings.Repeat("A", MaxCredential) + "." }, want: ErrMalformed, says: "longer"},
		"expired":         {before: func(b *bench) { b.clock.pass(time.Hour) }, want: ErrExpired},
		"the run revoked": {before: func(b *bench) { b.revoke(RevokeRun, "u1", ""); b.look(b.t.Context()) }, want: ErrRevoked},
		"ledger down":     {before: func(b *bench) { b.uses.err = errors.New("inner trouble") }, want: ErrLedger, says: "operator"},
		"no ledger":       {opts: func(o *Options) { o.Uses = nil }, want: ErrLedger},
		"no keys":         {opts: func(o *Options) { o.Keys = nil }, want: ErrNotAllowed, says: "--seal-key-file"},
		"no verifier":     {opts: func(o *Options) { o.Identities = nil }, want: ErrNotAllowed, says: "--policy"},
		"too many claims": {credential: func(b *bench) string { return b.identity("x", strings.Repeat("x", 7000)) }, want: ErrNotAllowed, says: "claims"},
		"no time":         {ttl: time.Millisecond, want: ErrNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, newRules("p", tt.rules), tt.opts)
			var identity string
			if tt.credential != nil {
				identity = tt.credential(b)
			} else {
				identity = b.identity()
			}
			if tt.before != nil {
				tt.before(b)
			}
			used := len(b.uses.used)
			issued, err := b.Exchange(t.Context(), identity, "", tt.ttl)
			if issued.Token != "" {
				t.Fatalf("issued %+v", issued)
			}
			wantDenial(t, err, tt.want, identity)
			if !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "inner") {
				t.Errorf("%q does not say %q", err, tt.says)
			}
			if len(b.uses.used) != used {
				t.Error("a token that got no session was used up")
			}
			wantNoSecret(t, b.log.String(), identity)
		})
	}
}

func TestALedgerThatIsDownIsLogged(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	b.uses.err = errors.New("disk on fire")
	identity := b.identity()
	_, err := b.Exchange(t.Context(), identity, "", 0)
	wantDenial(t, err, ErrLedger, identity)
	if !strings.Contains(b.log.String(), "disk on fire") {
		t.Error("the operator does not hear of it")
	}
	// It can be tried again.
	b.uses.err = nil
	if _, err := b.Exchange(t.Context(), identity, "", 0); err != nil {
		t.Fatal(err)
	}
}

func TestAnIdentityIsExchangedOnce(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	identity := b.identity()
	const many = 50
	var won, lost atomic.Int32
	start := make(chan struct{})
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			<-start
			switch _, err := b.Exchange(t.Context(), identity, "", 0); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrReplayed):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	if won.Load() != 1 || lost.Load() != many-1 {
		t.Fatalf("%d won, %d lost", won.Load(), lost.Load())
	}
	_, err := b.Exchange(t.Context(), identity, "", 0)
	wantDenial(t, err, ErrReplayed, identity)
	if d, _ := errors.AsType[*DeniedError](err); d.Producer.RunID != "u1" {
		t.Errorf("the denial says %+v", d)
	}
	// It is remembered for as long as any replica could take it.
	if until := b.uses.used["jti-0"]; until.Before(b.verifier.made[identity].Expires.Add(time.Minute)) {
		t.Errorf("remembered until %v", until)
	}
}

// The ledger that hangs ends the exchange, and not the server.
func TestAnExchangeHasAnEnd(t *testing.T) {
	b := newBench(t, newRules("p", nil), func(o *Options) { o.Uses = deadlineUses{} })
	_, err := b.Exchange(context.Background(), b.identity(), "", 0)
	wantDenial(t, err, ErrLedger)
}

// Those who ask for sessions without end wait for each other, and a trusted build for none of them.
func TestAFloodOfExchangesDoesNotHoldUpTrustedBuilds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		uses := &slowUses{}
		b := newBench(t, newRules("p", nil), func(o *Options) { o.Uses = uses })
		var flood sync.WaitGroup
		var late atomic.Int32
		for range 20 {
			identity := b.identity()
			flood.Go(func() {
				if _, err := b.Exchange(t.Context(), identity, "", 0); errors.Is(err, ErrLedger) {
					late.Add(1)
				}
			})
		}
		synctest.Wait()
		if n := uses.asked.Load(); n != othersAtOnce {
			t.Errorf("%d exchanges ask the ledger at a time", n)
		}
		go func() { _, _ = b.Exchange(t.Context(), b.identity("kind", "main"), "", 0) }()
		synctest.Wait()
		if n := uses.asked.Load(); n != othersAtOnce+1 {
			t.Errorf("a trusted build waits for others: %d ask the ledger", n)
		}
		flood.Wait()
		if n := late.Load(); n != 20 {
			t.Errorf("%d of 20 were refused when the time was over", n)
		}
	})
}

// slowUses never answers in time.
type slowUses struct{ asked atomic.Int32 }

func (u *slowUses) UseOnce(ctx context.Context, _ string, _ time.Time) error {
	u.asked.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

// deadlineUses fails unless it is told when to be ready.
type deadlineUses struct{}

func (deadlineUses) UseOnce(ctx context.Context, _ string, _ time.Time) error {
	if _, ok := ctx.Deadline(); !ok {
		return nil
	}
	return context.DeadlineExceeded
}

// I1: whatever a request says beside its credential, the scopes are those of the credential.
func TestTheNamedWorkspaceOnlyChooses(t *testing.T) {
	b := newBench(t, newRules("p", nil), nil)
	for _, kind := range []string{"main", "pr", "tag", "release", "other"} {
		for _, workspace := range []string{"web", "library"} {
			for _, named := range []cache.Workspace{"", "web", "library", "default", "nowhere", "trusted"} {
				identity := b.identity("kind", kind, "workspace", workspace)
				issued, err := b.Exchange(t.Context(), identity, named, 0)
				allowed := kind != "other" && (named == "" || string(named) == workspace)
				if allowed != (err == nil) {
					t.Fatalf("%s of %s for %q: %v", kind, workspace, named, err)
				}
				if !allowed {
					wantDenial(t, err, ErrNotAllowed, identity)
					continue
				}
				if string(issued.Workspace) != workspace || (issued.Write == cache.Trusted) != (kind == "main") {
					t.Fatalf("%s of %s for %q: %+v", kind, workspace, named, issued)
				}
				for _, later := range []cache.Workspace{"", "web", "library", "default", "nowhere"} {
					g, err := b.Grant(t.Context(), "Bearer "+issued.Token, later)
					if ok := later == "" || string(later) == workspace; ok != (err == nil) || ok && (g.Write != issued.Write || g.Workspace != issued.Workspace) {
						t.Fatalf("%s of %s for %q: %+v, %v", kind, workspace, later, g, err)
					}
				}
			}
		}
	}
}

// A policy that takes its place while an identity is being verified: the session is issued by the one that judged it, and judged again.
func TestAPolicyChangesDuringAnExchange(t *testing.T) {
	b := newBench(t, newRules("old", nil), nil)
	b.verifier.during = func() {
		b.setRules(newRules("new", func(r *fakeRules) { r.kinds["main"] = readOnly }))
	}
	issued := b.session("kind", "main")
	if g := b.mustGrant(issued.Token); g.Write != "" {
		t.Fatalf("granted %+v under a policy that does not", g)
	}
}

func TestOptionsAreCopied(t *testing.T) {
	keys := keyring.Keys{keyOne}
	b := newBench(t, newRules("p", nil), func(o *Options) { o.Keys = keys })
	issued := b.session()
	keys[0] = keyTwo
	b.mustGrant(issued.Token)
}
