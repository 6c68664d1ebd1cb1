package main

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/bezoar-cache/bezoar/internal/admin"
)

// gcWriter prints entries as they go, and what went in the end.
type gcWriter struct {
	w     io.Writer
	q     *gcQuery
	table *tabwriter.Writer
	list  []admin.RemovedEntry
	shown bool
}

func newGCWriter(w io.Writer, q *gcQuery) *gcWriter {
	return &gcWriter{w: w, q: q, table: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

func (g *gcWriter) each(e admin.RemovedEntry) {
	if g.q.form.asJSON {
		g.list = append(g.list, e)
		return
	}
	if !g.shown {
		g.shown = true
		fmt.Fprintln(g.table, "WORKSPACE\tSCOPE\tHASH\tSIZE\tCREATED\tUSED\tREASON")
	}
	fmt.Fprintf(g.table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", e.Workspace, harmless(e.Scope, ""), harmless(e.Hash, ""), e.Size, harmless(e.Created, ""),
		harmless(cmp.Or(e.Used, "not known"), ""), harmless(e.Reason, ""))
}

func (g *gcWriter) close(report admin.Collection) error {
	if g.q.form.asJSON {
		report.List = g.list
		return writeHarmlessJSON(g.w, report)
	}
	if g.shown {
		fmt.Fprintln(g.table)
	}
	if err := g.table.Flush(); err != nil {
		return err
	}
	if len(report.Removed) > 0 {
		fmt.Fprintln(g.table, "WORKSPACE\tSCOPE\tREASON\tENTRIES\tBYTES")
		for _, l := range report.Removed {
			fmt.Fprintf(g.table, "%s\t%s\t%s\t%d\t%d\n", l.Workspace, harmless(l.Scope, ""), harmless(l.Reason, ""), l.Entries, l.Bytes)
		}
		if err := g.table.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(g.w)
	}
	what := "went"
	if g.q.dryRun {
		what = "would go"
	}
	fmt.Fprintf(g.w, "%d entries with %d bytes %s.\n", report.Entries, report.Bytes, what)
	if report.Other > 0 {
		fmt.Fprintf(g.w, "%d entries stayed: under their keys the store has others than the ledger knows. 'bezoar ledger rebuild' helps.\n", report.Other)
	}
	if report.Failed > 0 {
		fmt.Fprintf(g.w, "%d entries could not be deleted.\n", report.Failed)
	}
	if report.Lacking > 0 {
		fmt.Fprintf(g.w, "The store is still %d bytes beyond the bound for the disk: what is left was used within the last two hours, is trusted and within its own bound, or lies in uploads that have not ended.\n", report.Lacking)
	}
	if report.AgesWait != "" {
		fmt.Fprintf(g.w, "No entry goes for its age until %s: for more than three days nobody looked, so the clock may have been wrong.\n", harmless(report.AgesWait, ""))
	}
	return nil
}
