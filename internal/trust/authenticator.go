// Package trust answers who is asking: it turns what a request presents into a [cache.Grant], or says why there is none.
package trust

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// MaxAuthorization bounds an Authorization header, in bytes. What is longer is malformed and not looked at.
const MaxAuthorization = 8 << 10

// The kinds of a [cache.Producer] that this package knows.
const (
	ProducerAnonymous = "anonymous"
	ProducerToken     = "token"
)

// Options are what an [Authenticator] is made of.
type Options struct {
	// Source gives the recorded tokens. Nil: there are none but the fixed ones.
	Source Source
	// Fixed are the tokens of the configuration. They last as long as the process.
	Fixed []Token
	// Workspaces are known besides the default one and those that tokens are for.
	Workspaces []cache.Workspace
	// Now is the clock that expiries are judged by.
	Now func() time.Time
	// Logger hears of changes of state. It never gets to see what was presented.
	Logger *slog.Logger
}

// Authenticator judges static tokens. It is safe for concurrent use.
//
// Without any token it is open: anyone reads and writes the default workspace. From the first token on, be it revoked or expired, it is
// closed for good.
//
// Requests are judged by a copy of the tokens in memory. [Authenticator.Run] keeps it up to date, so that the ledger is never on
// the way of a request: while it is slow or down, what was last known stays in force.
type Authenticator struct {
	fixed      []Token
	workspaces []cache.Workspace
	now        func() time.Time
	current    atomic.Pointer[snapshot]
	refresher  refresher
}

// NewAuthenticator reads the tokens once. It fails if that fails: a server that does not know its tokens must not start, since it
// could not tell whether it is open.
func NewAuthenticator(ctx context.Context, opts Options) (*Authenticator, error) {
	a := &Authenticator{
		fixed:      slices.Clone(opts.Fixed),
		workspaces: slices.Clone(opts.Workspaces),
		now:        opts.Now,
		refresher:  newRefresher(opts.Source, opts.Logger),
	}
	recorded, err := a.refresher.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the tokens: %w", err)
	}
	if err := checkFixed(a.fixed, recorded); err != nil {
		return nil, err
	}
	a.current.Store(newSnapshot(a.fixed, recorded, a.workspaces, false))
	return a, nil
}

// Grant judges a request by its Authorization header, empty if it has none, and by the workspace that its path names, empty if it
// names none. A header that is sent to an open server is ignored.
//
// Its errors are [*DeniedError]. It waits for nothing but, for a well-formed token that is not known, up to [UnknownWait] for the next look at
// the source, so that a token that was made a moment ago works at once.
func (a *Authenticator) Grant(ctx context.Context, authorization string, workspace cache.Workspace) (cache.Grant, error) {
	if s := a.current.Load(); !s.closed {
		return anonymous(workspace)
	}
	hash, err := parseAuthorization(authorization)
	if err != nil {
		return cache.Grant{}, err
	}
	t := a.current.Load().find(hash)
	if t == nil {
		a.refresher.wait(ctx)
		t = a.current.Load().find(hash)
	}
	if t == nil {
		return cache.Grant{}, unknown()
	}
	if err := judge(t, workspace, a.now()); err != nil {
		return cache.Grant{}, err
	}
	return t.Grant(), nil
}

// Valid says whether a grant that [Authenticator.Grant] gave would still be given: not revoked or expired meanwhile, and no longer open
// if it was anonymous. An upload asks right before it is committed. Its errors are [*DeniedError].
func (a *Authenticator) Valid(grant cache.Grant) error {
	s := a.current.Load()
	if grant.Producer.Kind == ProducerAnonymous {
		if s.closed {
			return noCredential()
		}
		return nil
	}
	t := s.byID[grant.Producer.TokenID]
	if t == nil {
		return unknown()
	}
	return judge(t, grant.Workspace, a.now())
}

// Open says whether anyone may read and write, because there never was a token. An open server must not be reachable by
// others.
func (a *Authenticator) Open() bool { return !a.current.Load().closed }

// Workspaces returns the names of all known workspaces, sorted. The caller may keep the slice but not change it.
func (a *Authenticator) Workspaces() []cache.Workspace { return a.current.Load().workspaces }

// Known says whether there is a workspace of that name.
func (a *Authenticator) Known(name cache.Workspace) bool {
	_, ok := slices.BinarySearch(a.current.Load().workspaces, name)
	return ok
}

// Degraded tells why the tokens cannot be refreshed at present, and nil while they can.
func (a *Authenticator) Degraded() error { return a.refresher.degraded() }

// ErrRunning says that Run was called while it runs.
var ErrRunning = errors.New("the authenticator is running already")

// anonymous is the grant of an open server.
func anonymous(workspace cache.Workspace) (cache.Grant, error) {
	if workspace != "" && workspace != cache.DefaultWorkspace {
		return cache.Grant{}, &DeniedError{Err: ErrOtherWorkspace, Reason: fmt.Sprintf(
			"without a token there is only the workspace %s, not %s, which the address names", cache.DefaultWorkspace, workspace)}
	}
	return cache.Grant{
		Workspace: cache.DefaultWorkspace,
		Read:      []cache.Scope{cache.Trusted},
		Write:     cache.Trusted,
		Producer:  cache.Producer{Kind: ProducerAnonymous},
	}, nil
}

// parseAuthorization finds the token in an Authorization header (RFC 9110, section 11.6.2; RFC 6750, section 2.1). The scheme's case does
// not matter, nor do blanks around the token.
func parseAuthorization(header string) (TokenHash, error) {
	if len(header) > MaxAuthorization {
		return TokenHash{}, malformed(fmt.Sprintf("the Authorization header is longer than %d bytes", MaxAuthorization))
	}
	const blanks = " \t"
	scheme, credential := strings.Trim(header, blanks), ""
	if i := strings.IndexAny(scheme, blanks); i >= 0 {
		scheme, credential = scheme[:i], strings.TrimLeft(scheme[i:], blanks)
	}
	switch {
	case scheme == "", credential == "" && strings.EqualFold(scheme, "Bearer"):
		return TokenHash{}, noCredential()
	case !strings.EqualFold(scheme, "Bearer"):
		return TokenHash{}, malformed("the Authorization header must be the word Bearer, a blank and a token")
	}
	return ParseToken(credential)
}
