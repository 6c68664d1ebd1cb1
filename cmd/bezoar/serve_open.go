package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/bezoar-cache/bezoar/internal/admit"
	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/server"
	"github.com/bezoar-cache/bezoar/internal/trust"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc"
)

// open brings up what the server stands on. It is strict: what is wrong is said now and not at the first request.
func (a *app) open(ctx context.Context) (err error) {
	if a.cfg.Policy != "" {
		if a.policy, err = openPolicy(string(a.cfg.Policy), a.log); err != nil {
			return &statusError{exitUsage, err}
		}
	}
	a.openTraces(ctx)
	if a.ledger, err = openLedger(ctx, a.cfg); err != nil {
		return err
	}
	a.atEnd(a.ledger.Close)
	ring, err := a.openKeys()
	if err != nil {
		return err
	}
	if err := a.openAuth(ctx, ring.Derive("session")); err != nil {
		return err
	}
	a.openAudit(ring)
	store, err := a.openStore(ctx, ring)
	if err != nil {
		return err
	}
	if a.cfg.TLSCert != "" {
		certificate, err := server.LoadCertificate(string(a.cfg.TLSCert), string(a.cfg.TLSKey), a.log, time.Now)
		if err != nil {
			return err
		}
		a.tls = certificate.Config()
	}
	operators, err := a.openAPI(ctx, ring)
	if err != nil {
		return err
	}
	uploads, downloads := a.openSlots(a.cfg.MaxUploads), a.openSlots(a.cfg.MaxDownloads)
	a.server = a.newServer(store, operators, uploads, downloads)
	a.causes.Add("overload", func() error { return a.overloaded(uploads, downloads) })
	return nil
}

// openKeys reads the key file. One that an operator named must be there: a server with a fresh key of its own would take all that the others
// sealed for forged, and they its sessions.
func (a *app) openKeys() (*keyring.Ring, error) {
	path := string(a.cfg.SealKeyFile)
	if a.cfg.SealKeyFile != a.cfg.DefaultSealKeyFile() {
		ring, err := keyring.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil, &statusError{exitUsage, fmt.Errorf(`there is no key file %s.
Make one:               bezoar key add --seal-key-file %s
or, beside other servers, copy theirs: all servers of one store and one ledger have the same`, path, path)}
		}
		a.warnOf(ring)
		return ring, err
	}
	ring, created, err := keyring.OpenOrCreate(path)
	if err != nil {
		return nil, err
	}
	if created {
		a.log.Info("made a key file; it seals entries and signs sessions: keep it with the backups, and apart from the store", "file", path)
	}
	a.warnOf(ring)
	return ring, nil
}

func (a *app) warnOf(ring *keyring.Ring) {
	if ring == nil {
		return
	}
	for _, warning := range ring.Warnings() {
		a.log.Warn(warning)
	}
}

// openAuth makes what judges requests. Nothing is fetched from issuers yet.
func (a *app) openAuth(ctx context.Context, keys keyring.Keys) (err error) {
	opts := trust.Options{Source: a.ledger, Uses: a.ledger, Keys: keys, Fixed: fixedTokens(a.cfg.Tokens), Now: time.Now, Logger: a.log}
	if a.policy != nil {
		a.identities = oidc.New(oidc.Options{Now: time.Now, Logger: a.log, Registerer: a.registry})
		opts.Identities, opts.Policy = a.identities, a.policy.current.Load()
	}
	if a.auth, err = trust.NewAuthenticator(ctx, opts); err != nil {
		return err
	}
	// Once closed, a server is not opened by what is left out of its configuration.
	closed := a.ledger.MarkClosed
	if a.auth.Open() {
		closed = a.ledger.WasClosed
	}
	if err := closed(ctx); err != nil {
		return err
	}
	a.causes.Add("tokens", a.auth.Degraded)
	if a.policy != nil {
		a.policy.bind(a.auth, a.identities)
		a.causes.Add("policy", a.policy.Degraded)
		a.causes.Add("issuer", a.identities.Degraded)
	}
	return nil
}

func (a *app) newServer(store cache.Store, operators http.Handler, uploads, downloads *admit.Slots) *server.Server {
	opts := server.Options{
		Cache: cache.New(store, cache.Options{
			MaxSize: int64(a.cfg.MaxArtifactSize),
			Limits: artifact.Limits{
				MaxInflated:   int64(a.cfg.MaxInflatedSize),
				MaxRatio:      int64(a.cfg.MaxInflateRatio),
				MaxMembers:    a.cfg.MaxMembers,
				MaxPathLength: a.cfg.MaxPathLength,
				// Half of the memory is for trusted uploads alone: what others hold of it must not turn them away.
				Budget:       artifact.NewBudget(int64(a.cfg.MaxCheckMemory) / 2),
				AllowUnknown: a.cfg.UnknownFormat == config.UnknownStore,
			},
			OthersBudget: artifact.NewBudget(int64(a.cfg.MaxCheckMemory) / 2),
			OthersTurns:  cache.NewTurns(runtime.GOMAXPROCS(0) - 1),
			StoreTimeout: a.cfg.StoreTimeout,
			Now:          time.Now,
		}),
		Auth:           a.auth,
		API:            operators,
		Log:            a.log,
		Registry:       a.registry,
		Causes:         a.causes.All(),
		Audit:          a.audit,
		MetricsToken:   a.cfg.MetricsToken.Reveal(),
		ServeMetrics:   a.cfg.MetricsListen == "",
		Strict:         a.cfg.OnError == config.ErrorStrict,
		MaxConnections: a.maxConnections(),
		Uploads:        uploads,
		Downloads:      downloads,
		HeaderTimeout:  a.cfg.HeaderTimeout,
		IdleTimeout:    a.cfg.IdleTimeout,
		StallTimeout:   a.cfg.StallTimeout,
		MinRate:        int64(a.cfg.MinRate),
		DrainTimeout:   a.cfg.DrainTimeout,
		DrainLimit:     int64(a.cfg.DrainLimit),
	}
	if a.traces != nil {
		opts.Tracer = a.traces.Tracer()
	}
	if a.policy != nil {
		opts.Audience = func() string { return a.policy.current.Load().Audience() }
	}
	return server.New(opts)
}

func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bezoar_build_info", Help: "Always 1; the label is the version that runs.",
			ConstLabels: prometheus.Labels{"version": version()},
		}, func() float64 { return 1 }),
	)
	return reg
}

func fixedTokens(tokens []config.Token) []trust.Token {
	fixed := make([]trust.Token, 0, len(tokens))
	for _, t := range tokens {
		fixed = append(fixed, trust.Token{
			ID: t.Hash.ID(), Name: string(t.Name), Workspace: t.Workspace, Access: trust.Access(t.Access), Developer: string(t.Developer), Hash: t.Hash, Expires: t.Expires,
		})
	}
	return fixed
}
