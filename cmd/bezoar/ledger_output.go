package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

func newEntriesWriter(w io.Writer, asJSON bool) *listWriter[admin.Entry] {
	return newListWriter(w, asJSON, "CREATED\tWORKSPACE\tSCOPE\tHASH\tSIZE\tMADE BY", func(e *admin.Entry) []string {
		return []string{timeOr(e.Record.Created, ""), string(e.Workspace), e.Scope, string(e.Hash), fmt.Sprint(e.Record.Size), admin.MadeBy(&e.Record.Producer)}
	})
}

// showReconciled says what was found. Its error carries the exit status alone.
func showReconciled(w io.Writer, c ledger.Reconciled, dryRun, incomplete, asJSON bool) error {
	if err := writeReconciled(w, c, dryRun, incomplete, asJSON); err != nil {
		return err
	}
	if c.Unfit+c.Errors > 0 || dryRun && c.Added+c.Corrected+c.Forgotten > 0 {
		return &statusError{status: exitFailure}
	}
	return nil
}

func writeReconciled(w io.Writer, c ledger.Reconciled, dryRun, incomplete, asJSON bool) error {
	if asJSON {
		return writeJSON(w, c)
	}
	first := "Entries in the store that were listed"
	names := [3]string{"added", "corrected", "forgotten"}
	if dryRun {
		names = [3]string{"not in the ledger", "in the ledger with another record", "in the ledger and gone"}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name string, n int64) { fmt.Fprintf(table, "%s\t%d\n", name, n) }
	line(first, c.Listed)
	line("  "+names[0], c.Added)
	line("  "+names[1], c.Corrected)
	if incomplete {
		fmt.Fprintf(table, "  %s\tnot known\n", names[2])
	} else {
		line("  "+names[2], c.Forgotten)
	}
	if c.Unfit > 0 {
		line("Entries whose seal is not good", c.Unfit)
	}
	if c.Errors > 0 {
		line("Errors of the listing", c.Errors)
	}
	return table.Flush()
}
