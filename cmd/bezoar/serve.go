package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/divergence"
	"github.com/bezoar-cache/bezoar/internal/health"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/purge"
	"github.com/bezoar-cache/bezoar/internal/retention"
	"github.com/bezoar-cache/bezoar/internal/scrub"
	"github.com/bezoar-cache/bezoar/internal/server"
	"github.com/bezoar-cache/bezoar/internal/store/breaker"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/tier"
	"github.com/bezoar-cache/bezoar/internal/tracing"
	"github.com/bezoar-cache/bezoar/internal/trust"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc"
)

func newServeCmd(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the cache server",
		Long: `Run the cache server until it is interrupted.

Without any setting it serves the workspace "default" to this machine alone and keeps everything in the user's state
directory. Settings are flags, environment variables (--tls-cert is BEZOAR_TLS_CERT) and keys of the file that --config
names (tls-cert); 'bezoar config check' shows which are in effect.`,
		Example: "  bezoar serve\n  bezoar serve --config /etc/bezoar.yaml",
		Args:    noArgs,
	}
	config.Flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, sources, err := config.Load(cmd.Flags(), env.Environ, config.OS{})
		if err != nil {
			return &statusError{exitUsage, err}
		}
		return serve(cmd.Context(), cfg, sources.Warnings, env)
	}
	return cmd
}

// serve runs a server until ctx ends.
func serve(ctx context.Context, cfg *config.Config, warnings []string, env *environment) (err error) {
	log, flush := newLogger(cfg, env.Stderr)
	defer flush()
	for _, warning := range warnings {
		log.Warn(warning)
	}
	app := &app{cfg: cfg, log: log, registry: newRegistry(), environ: env.Environ}
	app.causes = health.New(health.Options{Logger: log, Registerer: app.registry})
	defer func() { err = errors.Join(err, app.close()) }()
	app.limitMemory()
	if err := app.open(ctx); err != nil {
		return err
	}
	if err := app.listen(ctx); err != nil {
		return err
	}
	app.recordStart(ctx)
	app.announce(env.Stdout)
	return app.run(ctx)
}

// recordingEnd bounds the wait for the ledger at the end.
const recordingEnd = 5 * time.Second

// app is the server's parts, wired together.
type app struct {
	cfg      *config.Config
	log      *slog.Logger
	registry *prometheus.Registry
	causes   *health.Causes
	environ  []string

	traces     *tracing.Tracing // nil without traces
	policy     *livePolicy      // nil without --policy
	ledger     *ledger.Ledger
	auth       *trust.Authenticator
	identities *oidc.Verifier // nil without --policy
	place      string         // of the artifacts, for people
	graves     *seal.Graveyard
	replica    string // names this server in the audit log
	audit      auditor
	auditFacts []fact
	onRecord   bool // the start is on record, and so is the end to be
	keeper     *audit.Keeper
	breaker    *breaker.Breaker
	purges     *purge.Keeper
	scrub      *scrub.Scrubber            // nil with --scrub-rate 0
	spool      *fs.Store                  // the directory of the spool, if there is one
	tier       atomic.Pointer[tier.Store] // nil unless it shares a disk with the spool
	retention  *retention.Runner
	exact      retention.Store // deletes what is meant and nothing else
	dir        *fs.Store       // of the entries; nil with a bucket
	closers    []func() error
	tls        *tls.Config
	server     *server.Server
	listeners  []net.Listener
	telemetry  net.Listener // nil without --metrics-listen

	divergences *divergence.Watcher
	checking    time.Duration // bounds the tries on the bucket at the start; 0: startupCheck
	direct      cache.Store   // the entries of a bucket without a tier; nil for a directory
}

// listen opens the listeners. An open server is not let beyond this machine.
func (a *app) listen(ctx context.Context) error {
	for _, l := range a.cfg.Listen {
		if a.auth.Open() && l.Network == config.TCP {
			if err := a.refuseBeyondLoopback(ctx, l.Address); err != nil {
				return err
			}
		}
		ls, err := server.Listen(ctx, l.Network, l.Address)
		if err != nil {
			return err
		}
		a.listeners = append(a.listeners, ls...)
	}
	for _, l := range a.listeners {
		if a.auth.Open() && !server.OnlyLocal(l.Addr()) {
			return a.tooOpen(l.Addr().String())
		}
	}
	if a.cfg.MetricsListen != "" {
		ls, err := server.Listen(ctx, config.TCP, string(a.cfg.MetricsListen))
		if err != nil {
			return err
		}
		a.telemetry = ls[0]
		if !server.OnlyLocal(a.telemetry.Addr()) && !a.cfg.MetricsToken.Set() {
			a.log.Warn("anyone who can reach the metrics' address can read them, and profiles of the server: set metrics-token, or listen on the loopback", "metrics-listen", string(a.cfg.MetricsListen))
		}
	}
	return nil
}

// refuseBeyondLoopback looks where an address leads before it is bound, so that not even a connection can be made.
func (a *app) refuseBeyondLoopback(ctx context.Context, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if host == "" {
		return a.tooOpen(address)
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	for _, ip := range ips {
		if !ip.IP.IsLoopback() {
			return a.tooOpen(address)
		}
	}
	return nil
}

func (a *app) tooOpen(address string) error {
	return &statusError{exitUsage, fmt.Errorf(`refusing to listen on %s: there is no token and no policy yet, so anyone who can reach it could read and write the cache.
Create a token first:    bezoar token create %s --name ci --access trusted
or name your CI:         --policy FILE
or stay on this machine: --listen 127.0.0.1:8099`, address, a.ledgerFlag())}
}

// run serves until ctx ends, then ends in order: not ready at once, running transfers within their bound, nothing new.
func (a *app) run(ctx context.Context) error {
	group, failed := errgroup.WithContext(ctx)
	background, endBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer endBackground()
	group.Go(func() error { return a.auth.Run(background) })
	group.Go(func() error { return a.graves.Run(background) })
	group.Go(func() error { a.purges.Run(background); return nil })
	group.Go(func() error { a.causes.Run(background); return nil })
	group.Go(func() error { a.divergences.Run(background); return nil })
	group.Go(func() error { a.keeper.Run(background); return nil })
	group.Go(func() error { a.breaker.Run(background); return nil })
	group.Go(func() error { a.retention.Run(background); return nil })
	if a.policy != nil {
		group.Go(func() error { return a.identities.Run(background) })
		group.Go(func() error { a.policy.Run(background); return nil })
	}
	if a.scrub != nil {
		group.Go(func() error { a.scrub.Run(failed); return nil }) // it has no part in ending in order
	}
	for _, l := range a.listeners {
		group.Go(func() error { return ignoreClosed(a.server.Serve(l, a.tls)) })
	}
	telemetry := a.server.Telemetry()
	if a.telemetry != nil {
		group.Go(func() error { return ignoreClosed(telemetry.Serve(a.telemetry)) })
	}
	group.Go(func() error {
		<-failed.Done()
		defer endBackground()
		defer telemetry.Close()
		return a.shutDown()
	})
	a.notify(daemon.SdNotifyReady)
	return group.Wait()
}

func (a *app) shutDown() error {
	a.notify(daemon.SdNotifyStopping)
	a.log.Info("shutting down", "requests_are_taken_for", a.cfg.ShutdownDelay.String(), "transfers_may_take", a.cfg.ShutdownTimeout.String())
	if err := a.server.Shutdown(context.Background(), a.cfg.ShutdownDelay, a.cfg.ShutdownTimeout); err != nil {
		a.log.Warn("transfers that were not done in time are cut off; nothing of their uploads is kept", "shutdown-timeout", a.cfg.ShutdownTimeout.String())
	}
	return nil
}

// notify tells systemd, if that is who started us.
func (a *app) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.log.Warn("systemd could not be told", "state", state, "error", err)
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// close ends what open and listen began, in reverse.
func (a *app) close() error {
	var errs []error
	for _, l := range a.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if a.telemetry != nil {
		a.telemetry.Close()
	}
	return errors.Join(append(errs, a.closeAll())...)
}
