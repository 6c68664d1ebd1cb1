package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/ledger"
)

func newLedgerBackupCmd(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the ledger to a file while servers run",
		Long: `Copy the ledger to a new file while servers run. A copy of ledger.db by other means may be broken, since SQLite has part of it in other files.

The copy is the ledger of one moment, in one file that only its owner can read. It is checked, and has its name when it is whole and on the
disk; a file that is there already is not written over. The ledger is not brought up to date: run it before an upgrade, too.

A ledger in PostgreSQL is backed up by the means of that, such as pg_dump.`,
		Example: "  bezoar ledger backup /mnt/backup/ledger-$(date +%F).db",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(cmd, fmt.Errorf("'%s' takes the name of one file", cmd.CommandPath()))
			}
			return nil
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := tokenConfig(cmd, env)
		if err != nil {
			return err
		}
		if cfg.Ledger.IsPostgres() {
			return &statusError{exitUsage, errors.New("the ledger is in PostgreSQL: back it up by the means of that, such as pg_dump")}
		}
		switch err := ledger.Backup(cmd.Context(), string(cfg.Data), args[0]); {
		case err == nil:
			_, err := fmt.Fprintf(env.Stdout, "The ledger of %s is in %s.\n", cfg.Data, args[0])
			return err
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: is --data the server's data directory, and is the directory of the copy there?", err)
		default:
			return err
		}
	}
	return cmd
}
