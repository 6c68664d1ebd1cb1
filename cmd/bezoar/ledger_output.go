package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

// entriesWriter prints entries as they come: as a table, or as one array.
type entriesWriter struct {
	w       io.Writer
	asJSON  bool
	table   *tabwriter.Writer
	written int
}

func newEntriesWriter(w io.Writer, asJSON bool) *entriesWriter {
	return &entriesWriter{w: w, asJSON: asJSON, table: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

// write prints a page. A table's columns fit what is on the page.
func (e *entriesWriter) write(entries []admin.Entry) error {
	for i := range entries {
		if e.asJSON {
			if err := e.writeJSON(&entries[i]); err != nil {
				return err
			}
		} else {
			e.writeRow(&entries[i])
		}
		e.written++
	}
	return e.table.Flush()
}

func (e *entriesWriter) writeJSON(entry *admin.Entry) error {
	between := "[\n"
	if e.written > 0 {
		between = ",\n"
	}
	if _, err := io.WriteString(e.w, between); err != nil {
		return err
	}
	return writeHarmlessJSON(e.w, entry)
}

func (e *entriesWriter) writeRow(entry *admin.Entry) {
	if e.written == 0 {
		fmt.Fprintln(e.table, "CREATED\tWORKSPACE\tSCOPE\tHASH\tSIZE\tMADE BY")
	}
	fmt.Fprintf(e.table, "%s\t%s\t%s\t%s\t%d\t%s\n", timeOr(entry.Record.Created, ""), entry.Workspace, harmless(entry.Scope, ""), entry.Hash,
		entry.Record.Size, harmless(madeBy(&entry.Record.Producer), ""))
}

// close ends the array.
func (e *entriesWriter) close() error {
	if !e.asJSON {
		return nil
	}
	end := "]\n"
	if e.written == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(e.w, end)
	return err
}

// madeBy names a producer in a line.
func madeBy(p *cache.Producer) string {
	switch {
	case p.RunID != "":
		text := "run " + p.RunID
		if p.Repository != "" {
			text += " of " + p.Repository
		}
		if p.Ref != "" {
			text += ", " + p.Ref
		}
		if p.Actor != "" || p.ActorID != "" {
			text += ", by " + p.Actor + " (" + p.ActorID + ")"
		}
		return text
	case p.TokenID != "":
		text := "token " + p.TokenName + " (" + p.TokenID + ")"
		if p.Developer != "" {
			text += " of " + p.Developer
		}
		return text
	case p.Subject != "":
		return p.Subject
	}
	return p.Kind
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
