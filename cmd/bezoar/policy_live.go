package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/bezoar-cache/bezoar/internal/trust"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
	"github.com/bezoar-cache/bezoar/internal/watch"
)

// livePolicy is the policy that is in force, and the file that it came from.
type livePolicy struct {
	path string
	file *watch.File
	log  *slog.Logger
	auth interface{ SetPolicy(*policy.Policy) }
	// identities take tokens of the issuers and for the audience of the policy in force.
	identities interface{ Configure(string, []oidc.Issuer) }

	// changed, if there is one, is told the fingerprints of a policy and of the one in whose place it came.
	changed func(before, now string)

	current atomic.Pointer[policy.Policy]
	refused atomic.Pointer[error] // why what the file says now is not in force
}

var (
	_ interface{ SetPolicy(*policy.Policy) }        = (*trust.Authenticator)(nil)
	_ interface{ Configure(string, []oidc.Issuer) } = (*oidc.Verifier)(nil)
)

// openPolicy reads the file strictly; the error has all problems of it.
func openPolicy(path string, log *slog.Logger) (*livePolicy, error) {
	file, data, err := watch.Open(path, policy.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("the policy cannot be read: %w", err)
	}
	p, err := policy.Parse(path, data)
	if err != nil {
		return nil, err
	}
	l := &livePolicy{path: path, file: file, log: log}
	l.current.Store(p)
	l.warn(p)
	return l, nil
}

// bind says who follows the policy, and tells the verifier of the one in force.
func (l *livePolicy) bind(auth *trust.Authenticator, identities *oidc.Verifier) {
	l.auth, l.identities = auth, identities
	p := l.current.Load()
	identities.Configure(p.Audience(), issuersOf(p))
}

// Run takes up what the file says anew, until ctx ends.
func (l *livePolicy) Run(ctx context.Context) { l.file.Run(ctx, l.take) }

// take puts new content of the file into force as a whole, or leaves the policy before where it is.
func (l *livePolicy) take(data []byte, err error) {
	old := l.current.Load()
	var p *policy.Policy
	if err == nil {
		p, err = policy.Parse(l.path, data)
	}
	if err != nil {
		l.refused.Store(&err)
		l.log.Error("the policy file cannot be used; the policy before stays in force", "file", l.path, "fingerprint", old.Fingerprint(), "error", err)
		return
	}
	// The verifier first: by the new policy no token is judged that was verified for the old one.
	l.identities.Configure(p.Audience(), issuersOf(p))
	l.auth.SetPolicy(p)
	l.current.Store(p)
	l.refused.Store(nil)
	if p.Fingerprint() == old.Fingerprint() {
		l.log.Info("the policy file changed and means the same", "file", l.path, "fingerprint", p.Fingerprint())
	} else {
		l.log.Info("took up the policy anew; running sessions are judged by it", "file", l.path, "old", old.Fingerprint(), "new", p.Fingerprint())
		if l.changed != nil {
			l.changed(old.Fingerprint(), p.Fingerprint())
		}
	}
	l.warn(p)
}

// Degraded tells why what the file says now is not in force, nil if it is.
func (l *livePolicy) Degraded() error {
	if err := l.refused.Load(); err != nil {
		return *err
	}
	return nil
}

func (l *livePolicy) warn(p *policy.Policy) {
	for _, warning := range p.Warnings() {
		l.log.Warn(warning, "file", l.path)
	}
}

func issuersOf(p *policy.Policy) []oidc.Issuer {
	var all []oidc.Issuer
	for _, i := range p.Issuers() {
		all = append(all, oidc.Issuer{URL: i.URL, Keys: i.Keys})
	}
	return all
}

func issuerURLs(p *policy.Policy) []string {
	var all []string
	for _, i := range p.Issuers() {
		all = append(all, i.URL)
	}
	return all
}
