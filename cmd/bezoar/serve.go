package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/server"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	storemetrics "github.com/bezoar-cache/bezoar/internal/store/metrics"
	"github.com/bezoar-cache/bezoar/internal/trust"
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
	log := newLogger(cfg, env.Stderr)
	for _, warning := range warnings {
		log.Warn(warning)
	}
	app := &app{cfg: cfg, log: log, registry: newRegistry()}
	defer func() { err = errors.Join(err, app.close()) }()
	if err := app.open(ctx); err != nil {
		return err
	}
	if err := app.listen(ctx); err != nil {
		return err
	}
	app.announce(env.Stdout)
	return app.run(ctx)
}

// app is the server's parts, wired together.
type app struct {
	cfg      *config.Config
	log      *slog.Logger
	registry *prometheus.Registry

	ledger    *ledger.Ledger
	auth      *trust.Authenticator
	storeDir  string
	store     *fs.Store
	tls       *tls.Config
	server    *server.Server
	listeners []net.Listener
	telemetry net.Listener // nil without --metrics-listen
}

// open brings up what the server stands on. It is strict: what is wrong is said now and not at the first request.
func (a *app) open(ctx context.Context) (err error) {
	if a.ledger, err = ledger.Open(ctx, string(a.cfg.Data)); err != nil {
		return err
	}
	if a.auth, err = trust.NewAuthenticator(ctx, trust.Options{
		Source: a.ledger, Fixed: fixedTokens(a.cfg.Tokens), Now: time.Now, Logger: a.log,
	}); err != nil {
		return err
	}
	a.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "bezoar_degraded",
		Help:        "1 while a part of the server does not work as it should, by cause. tokens: the ledger cannot be read, later revocations do not hold yet.",
		ConstLabels: prometheus.Labels{"cause": "tokens"},
	}, func() float64 {
		if a.auth.Degraded() != nil {
			return 1
		}
		return 0
	}))
	a.storeDir = a.cfg.Store.Path
	if a.store, err = fs.Open(a.storeDir, fs.Options{Logger: a.log, Now: time.Now}); err != nil {
		return err
	}
	if a.cfg.TLSCert != "" {
		certificate, err := server.LoadCertificate(string(a.cfg.TLSCert), string(a.cfg.TLSKey), a.log, time.Now)
		if err != nil {
			return err
		}
		a.tls = certificate.Config()
	}
	a.server = server.New(server.Options{
		Cache: cache.New(storemetrics.New(a.store, a.registry), cache.Options{
			MaxSize: int64(a.cfg.MaxArtifactSize),
			Limits: artifact.Limits{
				MaxInflated:   int64(a.cfg.MaxInflatedSize),
				MaxRatio:      int64(a.cfg.MaxInflateRatio),
				MaxMembers:    a.cfg.MaxMembers,
				MaxPathLength: a.cfg.MaxPathLength,
				Budget:        artifact.NewBudget(int64(a.cfg.MaxCheckMemory)),
				AllowUnknown:  a.cfg.UnknownFormat == config.UnknownStore,
			},
			StoreTimeout: a.cfg.StoreTimeout,
			Now:          time.Now,
		}),
		Auth:          a.auth,
		Log:           a.log,
		Registry:      a.registry,
		MetricsToken:  a.cfg.MetricsToken.Reveal(),
		ServeMetrics:  a.cfg.MetricsListen == "",
		HeaderTimeout: a.cfg.HeaderTimeout,
		IdleTimeout:   a.cfg.IdleTimeout,
		StallTimeout:  a.cfg.StallTimeout,
		DrainTimeout:  a.cfg.DrainTimeout,
		DrainLimit:    int64(a.cfg.DrainLimit),
	})
	return nil
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
			a.log.Warn("anyone who can reach the metrics' address can read them: set metrics-token, or listen on the loopback", "metrics-listen", string(a.cfg.MetricsListen))
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
	return &statusError{exitUsage, fmt.Errorf(`refusing to listen on %s: there is no token yet, so anyone who can reach it could read and write the cache.
Create a token first:    bezoar token create --data %s --name ci --access trusted
or stay on this machine: --listen 127.0.0.1:8099`, address, a.cfg.Data)}
}

// run serves until ctx ends, then ends in order: not ready at once, running transfers within their bound, nothing new.
func (a *app) run(ctx context.Context) error {
	group, failed := errgroup.WithContext(ctx)
	background, endBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer endBackground()
	group.Go(func() error { return a.auth.Run(background) })
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
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if a.ledger != nil {
		errs = append(errs, a.ledger.Close())
	}
	return errors.Join(errs...)
}

// announce says on w what a person wants to know first.
func (a *app) announce(w io.Writer) {
	base := a.baseURL()
	access := "by token: 'bezoar token list' shows them, 'bezoar token create' makes one"
	tokenLine := "export NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN=<a token from 'bezoar token create'>"
	if a.auth.Open() {
		access = "open: everybody on this machine reads and writes, nobody else can connect; the first token ends that"
		tokenLine = "export NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN=open   # anything will do while the server is open"
	}
	if a.cfg.LogFormat == config.LogJSON {
		a.log.Info("serving", "version", version(), "url", base, "addresses", a.addresses(), "store", a.storeDir, "ledger", a.ledger.Path(), "open", a.auth.Open())
		return
	}
	workspaces := make([]string, 0, 1)
	for _, name := range a.auth.Workspaces() {
		workspaces = append(workspaces, string(name))
	}
	fmt.Fprintf(w, `bezoar %s serves on %s

  artifacts    %s
  ledger       %s
  workspaces   %s
  access       %s

In an Nx workspace:

  export NX_SELF_HOSTED_REMOTE_CACHE_SERVER=%s
  %s

`, version(), strings.Join(a.addresses(), ", "), a.storeDir, a.ledger.Path(), strings.Join(workspaces, ", "), access, base, tokenLine)
}

// addresses are those that are really listened on, port and all.
func (a *app) addresses() []string {
	var all []string
	for _, l := range a.listeners {
		if l.Addr().Network() == "unix" {
			all = append(all, "unix:"+l.Addr().String())
		} else {
			all = append(all, l.Addr().String())
		}
	}
	if a.telemetry != nil {
		all = append(all, a.telemetry.Addr().String()+" (metrics)")
	}
	return all
}

// baseURL is what a client on this machine may use; the configured one if there is one.
func (a *app) baseURL() string {
	if a.cfg.PublicURL != "" {
		return string(a.cfg.PublicURL)
	}
	scheme := "http"
	if a.tls != nil {
		scheme = "https"
	}
	for _, l := range a.listeners {
		tcp, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			continue
		}
		host := tcp.IP.String()
		if tcp.IP.IsUnspecified() {
			if name, err := os.Hostname(); err == nil {
				host = name
			}
		}
		return scheme + "://" + net.JoinHostPort(host, fmt.Sprint(tcp.Port))
	}
	return scheme + "://<the name of your proxy>"
}

func newLogger(cfg *config.Config, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
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
			ID: t.Hash.ID(), Name: string(t.Name), Workspace: t.Workspace, Access: trust.Access(t.Access), Hash: t.Hash, Expires: t.Expires,
		})
	}
	return fixed
}
