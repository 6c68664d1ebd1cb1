// Package oidc verifies the identity tokens of CIs: who made them, for whom and when, and nothing of what their claims mean.
//
// A token is hostile until its signature is checked, and so is what decides which key to check it with. A token therefore is taken apart here, strictly, before
// any library sees it; the issuer that it names only picks one of those that the configuration names; and nothing that it says makes this package
// fetch from anywhere but there.
package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/prometheus/client_golang/prometheus"
)

// Why a token is not taken. Errors of [Verifier.Verify] wrap one of them, say what to do, and hold nothing of the token.
var (
	// ErrMalformed is for what is no identity token, or surely forged. A token that may be authentic never gets it.
	ErrMalformed = errors.New("malformed or forged identity token")
	// ErrIssuer is for a token of an issuer that is not configured. Nobody can say whether it is authentic: it was, perhaps, taken a moment ago, before
	// the issuer left the configuration.
	ErrIssuer = errors.New("identity token of an issuer that is not known")
	// ErrExpired is for a token that is authentic but outside of its time: it has had it, it is still to come, or the issuer has withdrawn the key.
	ErrExpired = errors.New("expired identity token")
	// ErrAudience is for one that is authentic but meant for somebody else.
	ErrAudience = errors.New("identity token for another audience")
	// ErrUnavailable says that the issuer's keys cannot be had now, so that nothing can be said.
	ErrUnavailable = errors.New("the issuer's keys cannot be had now")
)

// Limits of a token.
const (
	// MaxToken is the most bytes that a token may have.
	MaxToken = 8 << 10
	// Skew is how far the clocks of an issuer and of this server may be apart.
	Skew = time.Minute
	// MaxLife is how long after it was issued a token is taken at most, whatever it says itself.
	MaxLife = 7 * 24 * time.Hour
)

// Issuer is one whose tokens are taken.
type Issuer struct {
	URL  string // compared with "iss" byte by byte
	Keys string // where the key set is, if not where discovery says
}

// Token is a verified token.
type Token struct {
	Issuer string
	// ID is the same whenever this token is presented, and another one for any other token: made of "iss" and "jti", or of the signed bytes if
	// there is no jti. 43 characters of the URL-safe base64 alphabet.
	ID string
	// IssuedAt is what it says. Expires is the moment from which on it is no longer taken, [Skew] included: who remembers that the token was used
	// has to do so until then.
	IssuedAt, Expires time.Time
	// Claims are all of them, as [encoding/json] decodes them, numbers as [encoding/json.Number].
	Claims map[string]any
}

// Options are what a Verifier is made of.
type Options struct {
	Transport  http.RoundTripper // nil: one of our own, that honours the proxy variables
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: not measured
}

// Verifier verifies tokens. It is safe for concurrent use. A request whose token is signed with a key at hand takes no lock.
//
// [Verifier.Run] keeps the keys at hand. Without it, keys are fetched when a token first needs them, and such a fetch ends by itself within [fetchTimeout].
type Verifier struct {
	now     func() time.Time
	log     *slog.Logger
	client  *http.Client
	fetches *prometheus.CounterVec

	current atomic.Pointer[issuers]
	epoch   atomic.Uint64
	running atomic.Bool
	wake    chan struct{} // holds one wish that Run looks at what is due
	flights sync.WaitGroup

	mu      sync.Mutex // orders Configure and the end of Run
	stopped bool
}

// issuers is one configuration. It never changes.
type issuers struct {
	audience string
	sources  map[string]*source
}

// New makes a Verifier that knows no issuer yet.
func New(opts Options) *Verifier {
	v := &Verifier{
		now:     opts.Now,
		log:     opts.Logger,
		client:  newClient(opts.Transport),
		fetches: newFetches(opts.Registerer),
		wake:    make(chan struct{}, 1),
	}
	v.current.Store(&issuers{})
	return v
}

// Configure sets audience and issuers, in one step. Key sets of issuers that stay are kept.
func (v *Verifier) Configure(audience string, list []Issuer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.current.Load()
	next := &issuers{audience: audience, sources: make(map[string]*source, len(list))}
	for _, issuer := range list {
		if _, ok := next.sources[issuer.URL]; ok {
			continue
		}
		if s, ok := old.sources[issuer.URL]; ok && s.issuer == issuer {
			next.sources[issuer.URL] = s
			continue
		}
		next.sources[issuer.URL] = &source{v: v, issuer: issuer, closed: v.stopped}
	}
	v.current.Store(next)
	v.epoch.Add(1)
	for url, s := range old.sources {
		if next.sources[url] != s {
			s.close()
		}
	}
	v.poke()
}

// Epoch is another number whenever a token that was taken before might no longer be: the configuration changed, or a key left its set. Who remembers
// verified tokens forgets them then.
func (v *Verifier) Epoch() uint64 { return v.epoch.Load() }

// Verify checks a token: its form, issuer, signature, audience and times, in this order. It waits for keys, if it has to, no longer than ctx or [fetchWait]
// allow.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Token, error) {
	p, err := parse(raw)
	if err != nil {
		return nil, err
	}
	current := v.current.Load()
	s, ok := current.sources[p.issuer]
	if !ok {
		return nil, fmt.Errorf("%w: the policy of this server names no issuer like the one in its iss claim, which is compared byte by byte: "+
			"name it there, or get the token from a CI that is named", ErrIssuer)
	}
	attempt := &attempt{source: s, presented: p}
	verifier := goidc.NewVerifier(s.issuer.URL, attempt, &goidc.Config{
		SupportedSigningAlgs: algorithmNames(),
		SkipClientIDCheck:    true, // its check takes any list that has us in it: ours is stricter
		SkipExpiryCheck:      true, // its check allows no skew for exp and five minutes for nbf
	})
	if _, err := verifier.Verify(ctx, raw); err != nil {
		if attempt.err != nil {
			return nil, attempt.err // the library drops what an error wraps
		}
		return nil, malformed("a header parameter or a claim that the standards define (such as sub, nonce or _claim_names) has a value of the wrong type: " +
			"this is no identity token")
	}
	if !attempt.verified {
		return nil, malformed("its signature was not checked") // not reached as long as the library does what it says
	}
	if err := p.checkAudience(current.audience); err != nil {
		return nil, err
	}
	return p.token(v.now())
}

// attempt is the verification of one token, as a key set of go-oidc. It keeps the error, which go-oidc only quotes.
type attempt struct {
	source    *source
	presented *presented
	verified  bool
	err       error
}

// VerifySignature implements [goidc.KeySet].
func (a *attempt) VerifySignature(ctx context.Context, _ string) ([]byte, error) {
	if a.err = a.source.verify(ctx, a.presented); a.err != nil {
		return nil, a.err
	}
	a.verified = true
	return a.presented.payload, nil
}

func malformed(text string) error { return fmt.Errorf("%w: %s", ErrMalformed, text) }
