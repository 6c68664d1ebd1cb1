package noninterference

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/server"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/trust"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// stage is what all histories share. Nothing on it changes but what is made once and kept.
type stage struct {
	principals []*principal
	policies   [variants]*policy.Policy
	issuers    *issuers
	bodies     *bodyMaker
	ring       *keyring.Ring
}

func newStage(tb testing.TB) *stage {
	tb.Helper()
	s := &stage{
		principals: newPrincipals(), issuers: newIssuers(tb), bodies: newBodyMaker(),
		ring: keyring.New([32]byte{1}),
	}
	for v, text := range policyTexts {
		p, err := policy.Parse("policy.yaml", []byte(text))
		if err != nil {
			tb.Fatalf("policy %d: %v", v, err)
		}
		s.policies[v] = p
	}
	return s
}

// world is a server: all of it but the sockets.
type world struct {
	shelf   shelf
	auth    *trust.Authenticator
	verify  *oidc.Verifier // nil: tokens are not signed
	handler http.Handler
	records *records
	close   func() error
}

func (s *stage) newWorld(h *history, dir func() string) (*world, error) {
	log := slog.New(slog.DiscardHandler)
	registry := prometheus.NewRegistry()
	memory := mem.New()
	w := &world{shelf: shelf{memory, memory}, records: &records{}, close: func() error { return nil }}
	if h.where == onFiles {
		if err := w.openFiles(filepath.Join(dir(), "store"), log); err != nil {
			return nil, err
		}
	}
	for _, p := range s.principals {
		if p.token != nil {
			w.records.tokens = append(w.records.tokens, *p.token)
		}
	}
	var verifier trust.Verifier = credulous{}
	if h.real {
		w.verify = oidc.New(oidc.Options{Transport: s.issuers, Now: time.Now, Logger: log})
		w.configure(s.policies[ordinary])
		verifier = w.verify
	}
	var err error
	w.auth, err = trust.NewAuthenticator(context.Background(), trust.Options{
		Source: w.records, Policy: s.policies[ordinary], Identities: verifier, Keys: s.ring.Derive("session"), Uses: w.records,
		Now: time.Now, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	sealed := seal.New(w.shelf, s.ring.Derive("seal"), seal.Options{Logger: log, Registerer: registry, Now: time.Now})
	w.handler = server.New(server.Options{
		Cache: cache.New(sealed, cache.Options{MaxSize: 1 << 20, Limits: artifact.DefaultLimits(), Now: time.Now}),
		Auth:  w.auth, Log: log, Registry: registry,
		DrainTimeout: time.Minute, DrainLimit: 1 << 20,
	}).Handler()
	return w, nil
}

// openFiles puts a store of files under the server, and opens it a second time for whoever has the disk.
func (w *world) openFiles(dir string, log *slog.Logger) error {
	files, err := fs.Open(dir, fs.Options{Logger: log, Now: time.Now})
	if err != nil {
		return err
	}
	back, err := fs.Open(dir, fs.Options{Logger: log, Now: time.Now})
	if err != nil {
		return errors.Join(err, files.Close())
	}
	w.shelf = shelf{files, back}
	w.close = func() error { return errors.Join(files.Close(), back.Close()) }
	return nil
}

func (w *world) configure(p *policy.Policy) {
	if w.verify == nil {
		return
	}
	var known []oidc.Issuer
	for _, i := range p.Issuers() {
		known = append(known, oidc.Issuer{URL: i.URL, Keys: i.Keys})
	}
	w.verify.Configure(p.Audience(), known)
}

// reload is what the server does when the file of the policy changed.
func (w *world) reload(p *policy.Policy) {
	w.configure(p)
	w.auth.SetPolicy(p)
}

// look lets the authenticator see what the records say now. It looks by itself several times a second; the clock stands still while nobody
// waits, so it is given a while.
func (w *world) look() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.auth.Run(ctx)
	}()
	<-time.After(time.Second)
	cancel()
	<-done
}

// records stand for the ledger.
type records struct {
	mu          sync.Mutex
	version     int64
	tokens      []trust.Token
	revocations []trust.Revocation
	used        map[string]bool
}

func (r *records) Version(context.Context) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version, nil
}

func (r *records) Tokens(context.Context) ([]trust.Token, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tokens), nil
}

func (r *records) Revocations(context.Context) ([]trust.Revocation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.revocations), nil
}

func (r *records) UseOnce(_ context.Context, id string, _ time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used[id] {
		return trust.ErrReplayed
	}
	if r.used == nil {
		r.used = map[string]bool{}
	}
	r.used[id] = true
	return nil
}

// change edits the records as a command beside the server does.
func (r *records) change(edit func(*records)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	edit(r)
	r.version++
}
