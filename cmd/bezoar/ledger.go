package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

// maxReported bounds the problems of a listing that are told one by one.
const maxReported = 20

func newLedgerCmd(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Search what is stored, bring the ledger up to date with the store, and back it up",
		Long: `Search what is stored by who made it, and bring what the ledger knows of entries up to date with the store.

Servers note in the ledger what they store and delete, a moment later. What they could not note, because the ledger was locked for long, a
server ended suddenly, or entries were deleted or brought in by other means, 'bezoar ledger rebuild' learns from the store, where each entry
carries its record. No request depends on what the ledger knows of entries.`,
		Args: commandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addLedgerFlags(cmd)
	cmd.AddCommand(newLedgerEntriesCmd(env), newLedgerRebuildCmd(env), newLedgerCheckCmd(env), newLedgerBackupCmd(env))
	return cmd
}

func newLedgerRebuildCmd(env *environment) *cobra.Command {
	return newReconcileCmd(env, false, &cobra.Command{
		Use:   "rebuild",
		Short: "Make what the ledger knows of entries what the store has",
		Long: `Make what the ledger knows of entries what the store has: add what is missing, correct what differs, forget what is gone.

Servers may run meanwhile, and the command may be broken off and run again at any time. It lists the whole store and reads the record of each entry, not its
body. What it finds damaged is set aside, as a server does. Nothing else in the store is changed, and nothing but entries in the ledger. With a bucket, it also
lists what waits in the spool of this machine, and an S3 bucket takes a request for each entry.

Entries whose seal is not good are reported and not recorded; what was known of them stays. If a part of the store cannot be listed, nothing is
forgotten. The exit status is 1 in either case, and 0 if the ledger now knows what the store has.

With --json one object goes to standard output, with the numbers listed, added, corrected, forgotten, unfit (the seal is not good) and errors (of the
listing). What is unfit or failed is told on standard error.`,
		Example: "  bezoar ledger rebuild\n  bezoar ledger rebuild --config /etc/bezoar.yaml --json",
	})
}

func newLedgerCheckCmd(env *environment) *cobra.Command {
	return newReconcileCmd(env, true, &cobra.Command{
		Use:   "check",
		Short: "Tell what 'bezoar ledger rebuild' would change",
		Long: `Tell how what the ledger knows of entries differs from what the store has, and leave it as it is.

The exit status is 0 if they agree, and 1 if 'bezoar ledger rebuild' would change something, a seal is not good, or the store cannot be listed. While servers
run, what they store in this moment may count.

With --json one object goes to standard output, with the fields of 'bezoar ledger rebuild': added, corrected and forgotten are what it would do.`,
		Example: "  bezoar ledger check",
	})
}

func newReconcileCmd(env *environment, dryRun bool, cmd *cobra.Command) *cobra.Command {
	var asJSON bool
	var all pflag.FlagSet
	config.Flags(&all)
	for _, name := range []string{"store", "spool-dir", "seal", "seal-key-file"} {
		cmd.Flags().AddFlag(all.Lookup(name))
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Args = noArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := tokenConfig(cmd, env)
		if err != nil {
			return err
		}
		return withRecords(cmd.Context(), cfg, func(records *ledger.Ledger) error {
			return reconcileLedger(cmd.Context(), env, cfg, records, dryRun, asJSON)
		})
	}
	return cmd
}

func reconcileLedger(ctx context.Context, env *environment, cfg *config.Config, records *ledger.Ledger, dryRun, asJSON bool) (err error) {
	ring, err := openRing(cfg)
	if err != nil {
		return err
	}
	store, closeStore, err := openStoreForReading(ctx, cfg, ring)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	reported := 0
	counts, err := records.Reconcile(ctx, verified(store.List(ctx, ""), ring.Derive("seal")), ledger.ReconcileOptions{
		DryRun: dryRun,
		Report: func(_ cache.Key, err error) {
			if reported++; reported <= maxReported {
				fmt.Fprintf(env.Stderr, "bezoar: %s\n", harmless(err.Error(), ""))
			}
		},
	})
	if reported > maxReported {
		fmt.Fprintf(env.Stderr, "bezoar: and %d more\n", reported-maxReported)
	}
	if err != nil && !errors.Is(err, ledger.ErrIncomplete) {
		return err // nothing is known of the rest, and what was done will not be done again
	}
	return errors.Join(err, showReconciled(env.Stdout, counts, dryRun, err != nil, asJSON))
}
