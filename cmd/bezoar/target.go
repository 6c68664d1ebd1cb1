package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/admin/remote"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// maxTokenText bounds the file of a token, in bytes.
const maxTokenText = 16 << 10

// serverHelp is said of each command that can work at another server.
const serverHelp = `With --server the command works at that server, through its API, instead of on the data of this machine; the token for it is in the file that
--token-file names. BEZOAR_SERVER and BEZOAR_TOKEN_FILE say the same, unless a flag names data of this machine.`

// target is where a command works: at a server, or on the data of this machine.
type target struct {
	client *remote.Client // nil: this machine
	cfg    *config.Config // of this machine; nil with a client
	env    *environment
	end    func()
}

func addServerFlags(flags *pflag.FlagSet) {
	flags.String("server", "", "`URL` of the server to work at, instead of the data of this machine")
	flags.String("token-file", "", "`file` with the token for --server")
}

// localFlags name data of this machine.
var localFlags = []string{"config", "data", "ledger", "ledger-password", "ledger-password-file", "store", "spool-dir", "seal", "seal-key-file", "purge-quarantine", "policy", "max-store-size", "min-free"}

// findTarget says where the command works.
func findTarget(cmd *cobra.Command, env *environment) (*target, error) {
	vars := variablesOf(env.Environ)
	flag := func(name, variable string) (value string, given bool) {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			return f.Value.String(), true
		}
		return vars[variable], false
	}
	local := ""
	for _, name := range localFlags {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			local = name
		}
	}
	server, given := flag("server", config.ServerVariable)
	if server == "" || !given && local != "" {
		cfg, err := tokenConfig(cmd, env)
		return &target{cfg: cfg, env: env, end: func() {}}, err
	}
	if local != "" {
		return nil, usageError(cmd, fmt.Errorf("--server and --%s exclude each other: the one works at a server, the other names data of this machine", local))
	}
	path, _ := flag("token-file", config.TokenFileVariable)
	token, err := readTokenFile(path)
	if err != nil {
		return nil, &statusError{exitUsage, err}
	}
	transport := sessionTransport()
	client, err := remote.New(remote.Options{Server: server, Token: token, Transport: transport})
	if err != nil {
		return nil, &statusError{exitUsage, fmt.Errorf("--server: %w", err)}
	}
	return &target{client: client, env: env, end: transport.CloseIdleConnections}, nil
}

// readTokenFile reads the file of a token. Its errors repeat nothing of it, nor a path that is a token itself.
func readTokenFile(path string) (string, error) {
	switch {
	case path == "":
		return "", errors.New("--server needs --token-file, or " + config.TokenFileVariable + ": a file with a token that has a role ('bezoar token create --role')")
	case trust.HoldsToken(path) || strings.HasPrefix(path, "eyJ"):
		return "", errors.New("--token-file: this is a token and no file (not shown): put it into a file that nobody else can read")
	}
	text, err := readFile(path, maxTokenText)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("--token-file: %s holds no token: it is one line of letters and digits", path)
	}
	return token, nil
}

// url is where clients find the server.
func (t *target) url() string {
	if t.client != nil {
		return t.client.Place()
	}
	return serverURL(t.cfg)
}

// with works with the records: at the server, or in the ledger that open opens.
func (t *target) with(ctx context.Context, open func(context.Context, *config.Config) (*ledger.Ledger, error), do func(admin.Service) error) error {
	return t.withLedger(ctx, open, func(service admin.Service, _ *ledger.Ledger) error { return do(service) })
}

// withLedger is with for what also needs the ledger itself, which is nil at a server.
func (t *target) withLedger(
	ctx context.Context, open func(context.Context, *config.Config) (*ledger.Ledger, error), do func(admin.Service, *ledger.Ledger) error,
) (err error) {
	defer t.end()
	if t.client != nil {
		return do(t.client, nil)
	}
	records, err := open(ctx, t.cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	local := admin.New(admin.Options{
		Ledger: records, Now: time.Now, PurgeKeep: t.cfg.PurgeQuarantine, NotOnRecord: func(err error) { notOnRecord(t.env, err) },
	})
	return do(local.As(admin.LocalOperator(whoOrders())), records)
}

// withRecords is with for what makes no sense without a ledger: a revocation in the wrong directory would be heeded by nobody.
func (t *target) withRecords(ctx context.Context, do func(admin.Service) error) error {
	return t.withExisting(ctx, func(service admin.Service, _ *ledger.Ledger) error { return do(service) })
}

// withExisting is withLedger for the same.
func (t *target) withExisting(ctx context.Context, do func(admin.Service, *ledger.Ledger) error) error {
	open := func(ctx context.Context, cfg *config.Config) (*ledger.Ledger, error) {
		records, err := openExistingLedger(ctx, cfg)
		if errors.Is(err, fs.ErrNotExist) { // and not something else that is missing later
			return nil, fmt.Errorf("%s has no ledger: is it the server's data directory (--data)?", cfg.Data)
		}
		return records, err
	}
	return t.withLedger(ctx, open, do)
}

// flagError names the flag that an error is about.
func flagError(err error) error {
	if f, ok := errors.AsType[*admin.FieldError](err); ok {
		return fmt.Errorf("--%w", f)
	}
	return err
}
