// Package trust answers who is asking: it turns what a request presents into a [cache.Grant], or says why there is none.
package trust

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// The kinds of a [cache.Producer] that this package knows.
const (
	ProducerAnonymous = "anonymous"
	ProducerToken     = "token"
	ProducerCI        = "ci"
)

// Options are what an [Authenticator] is made of.
type Options struct {
	// Source gives the recorded tokens and revocations. Nil: there are no tokens but the fixed ones, and no revocations.
	Source Source
	// Fixed are the tokens of the configuration. They last as long as the process.
	Fixed []Token
	// Workspaces are known besides the default one and those that tokens and the policy are for.
	Workspaces []cache.Workspace
	// Policy judges identities of CIs. Nil: there are none, until [Authenticator.SetPolicy].
	Policy *policy.Policy
	// Identities verifies their tokens, for the issuers and the audience of the policy. Nil: none is taken.
	Identities Verifier
	// Keys sign and verify sessions. The servers that take each other's sessions have the same ones.
	Keys keyring.Keys
	// Uses remembers which identity tokens were exchanged. Nil: exchanges are refused.
	Uses Uses
	// Now is the clock that expiries are judged by.
	Now func() time.Time
	// Logger hears of changes of state. It never gets to see what was presented.
	Logger *slog.Logger
}

// Authenticator judges static tokens, sessions, and identity tokens of CIs. It is safe for concurrent use.
//
// Without any token and policy it is open: anyone reads and writes the default workspace. From the first token on, be it revoked or expired,
// or the first policy, it is closed for good.
//
// Requests are judged by a copy of tokens and revocations in memory. [Authenticator.Run] keeps it up to date, so that the ledger is never on
// the way of a request: while it is slow or down, what was last known stays in force. An exchange alone asks it.
type Authenticator struct {
	fixed      []Token
	workspaces []cache.Workspace
	verifier   Verifier
	keys       keyring.Keys
	uses       Uses
	others     chan struct{} // holds one for each exchange that asks uses, but for trusted identities
	now        func() time.Time
	log        *slog.Logger
	refresher  refresher

	changing sync.Mutex // held while current is replaced by what is made of it
	current  atomic.Pointer[snapshot]

	sessions   *memo[*heldSession]
	identities *memo[*heldIdentity]
}

// NewAuthenticator reads the tokens once. It fails if that fails: a server that does not know its tokens must not start, since it
// could not tell whether it is open.
func NewAuthenticator(ctx context.Context, opts Options) (*Authenticator, error) {
	a := &Authenticator{
		fixed:      slices.Clone(opts.Fixed),
		workspaces: slices.Clone(opts.Workspaces),
		verifier:   opts.Identities,
		keys:       slices.Clone(opts.Keys),
		uses:       opts.Uses,
		others:     make(chan struct{}, othersAtOnce),
		now:        opts.Now,
		log:        opts.Logger,
		refresher:  newRefresher(opts.Source, opts.Logger),
		sessions:   newMemo[*heldSession](),
		identities: newMemo[*heldIdentity](),
	}
	recorded, err := a.refresher.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the tokens: %w", err)
	}
	if err := checkFixed(a.fixed, recorded.tokens); err != nil {
		return nil, err
	}
	a.current.Store(newSnapshot(a.fixed, recorded, a.workspaces).under(rulesOf(opts.Policy), nil))
	return a, nil
}

// SetPolicy puts another policy into force, whole and at once: the next look at any credential is by it, running sessions and uploads included.
// The verifier is to know the policy's issuers and audience before. Nil takes all rights from identities of CIs and leaves the server closed.
func (a *Authenticator) SetPolicy(p *policy.Policy) { a.setRules(rulesOf(p)) }

func (a *Authenticator) setRules(r rules) {
	a.install(func(old *snapshot) *snapshot { return old.under(r, old) })
}

// install replaces the snapshot by one that is made of it.
func (a *Authenticator) install(next func(old *snapshot) *snapshot) {
	a.changing.Lock()
	defer a.changing.Unlock()
	old := a.current.Load()
	s := next(old)
	a.current.Store(s)
	if s.closed && !old.closed {
		a.log.Info("the first token or policy exists: from now on requests need a credential")
	}
}

// Open says whether anyone may read and write, because there never was a token or a policy. An open server must not be reachable by
// others.
func (a *Authenticator) Open() bool { return !a.current.Load().closed }

// Workspaces returns the names of all known workspaces, sorted. The caller may keep the slice but not change it.
func (a *Authenticator) Workspaces() []cache.Workspace { return a.current.Load().workspaces }

// Known says whether there is a workspace of that name.
func (a *Authenticator) Known(name cache.Workspace) bool {
	_, ok := slices.BinarySearch(a.current.Load().workspaces, name)
	return ok
}

// Degraded tells why tokens and revocations cannot be refreshed at present, and nil while they can.
func (a *Authenticator) Degraded() error { return a.refresher.degraded() }

// ErrRunning says that Run was called while it runs.
var ErrRunning = errors.New("the authenticator is running already")
