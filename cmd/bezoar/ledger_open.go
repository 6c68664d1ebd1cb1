package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

// openLedger opens the ledger that --ledger names, and makes what is missing of it.
func openLedger(ctx context.Context, cfg *config.Config) (*ledger.Ledger, error) {
	if cfg.Ledger.IsPostgres() {
		return openPostgres(ctx, cfg)
	}
	return byOperator(ledger.Open(ctx, string(cfg.Data)))
}

// openExistingLedger is openLedger for what would do nothing with an empty one: the error wraps [fs.ErrNotExist] if there is no file. A database
// has to be there in any case.
func openExistingLedger(ctx context.Context, cfg *config.Config) (*ledger.Ledger, error) {
	if cfg.Ledger.IsPostgres() {
		return openPostgres(ctx, cfg)
	}
	return byOperator(ledger.OpenExisting(ctx, string(cfg.Data)))
}

func openPostgres(ctx context.Context, cfg *config.Config) (*ledger.Ledger, error) {
	l := cfg.Ledger
	return byOperator(ledger.OpenPostgres(ctx, ledger.Postgres{
		Host: l.Host, Port: l.Port, User: l.User, Database: l.Database, Schema: l.Schema, Password: cfg.LedgerPassword.Reveal(),
		SSLMode: l.SSLMode, SSLRootCert: l.SSLRootCert, SSLCert: l.SSLCert, SSLKey: l.SSLKey,
		ApplicationName: l.ApplicationName, ConnectTimeout: l.ConnectTimeout, Directory: string(cfg.Data),
	}))
}

// byOperator has what is changed through a ledger on record as done by who runs this process. A server changes nothing under that name.
func byOperator(l *ledger.Ledger, err error) (*ledger.Ledger, error) {
	if err != nil {
		return nil, err
	}
	name := "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	// Commands run as the server's user, for which sudo says who really is there. That is a courtesy and no proof: neither is any name of who can write
	// to the ledger.
	if sudo := os.Getenv("SUDO_USER"); sudo != "" && sudo != name {
		name = sudo + " as " + name
	}
	return l.By(audit.Actor{Kind: audit.KindOperator, User: name, Host: hostname()}, hostname()), nil
}

// ledgerFlag is how a command is told which ledger is this server's.
func (a *app) ledgerFlag() string {
	if a.cfg.Ledger.IsPostgres() {
		return fmt.Sprintf("--ledger '%s'", a.cfg.Ledger)
	}
	return fmt.Sprintf("--data %s", a.cfg.Data)
}

// addLedgerFlags lets a command find the ledger of a server: by the same settings, from the same places.
func addLedgerFlags(cmd *cobra.Command) {
	var all pflag.FlagSet
	config.Flags(&all)
	for _, name := range []string{"config", "data", "ledger", "ledger-password", "ledger-password-file"} {
		cmd.PersistentFlags().AddFlag(all.Lookup(name))
	}
}
