package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/bezoar-cache/bezoar/internal/retention"
)

// gcJSON is what --output json prints. Scripts depend on it: fields are added, never changed.
type gcJSON struct {
	DryRun   bool          `json:"dry_run"`
	Removed  []gcLineJSON  `json:"removed"`
	Entries  int64         `json:"entries"`
	Bytes    int64         `json:"bytes"`
	Other    int64         `json:"other"`
	Failed   int64         `json:"failed"`
	Lacking  int64         `json:"lacking"`
	AgesWait string        `json:"ages_wait,omitempty"`
	List     []gcEntryJSON `json:"list,omitempty"`
}

type gcLineJSON struct {
	Workspace string `json:"workspace"`
	Scope     string `json:"scope"`
	Reason    string `json:"reason"`
	Entries   int64  `json:"entries"`
	Bytes     int64  `json:"bytes"`
}

type gcEntryJSON struct {
	Workspace string `json:"workspace"`
	Scope     string `json:"scope"`
	Hash      string `json:"hash"`
	Size      int64  `json:"size"`
	Created   string `json:"created"`
	Used      string `json:"used,omitempty"`
	Reason    string `json:"reason"`
}

// gcWriter prints entries as they go, and what went in the end.
type gcWriter struct {
	w     io.Writer
	q     *gcQuery
	table *tabwriter.Writer
	list  []gcEntryJSON
	shown bool
}

func newGCWriter(w io.Writer, q *gcQuery) *gcWriter {
	return &gcWriter{w: w, q: q, table: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

func (g *gcWriter) each(e retention.Entry, reason retention.Reason) {
	if g.q.form.asJSON {
		g.list = append(g.list, gcEntryJSON{
			string(e.Key.Workspace), string(e.Key.Scope), string(e.Key.Hash), e.Size, timeOr(e.Created, ""), timeOr(e.Used, ""), string(reason),
		})
		return
	}
	if !g.shown {
		g.shown = true
		fmt.Fprintln(g.table, "WORKSPACE\tSCOPE\tHASH\tSIZE\tCREATED\tUSED\tREASON")
	}
	fmt.Fprintf(g.table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", e.Key.Workspace, harmless(string(e.Key.Scope), ""), e.Key.Hash, e.Size,
		timeOr(e.Created, ""), timeOr(e.Used, "not known"), reason)
}

func (g *gcWriter) close(report retention.Report) error {
	if g.q.form.asJSON {
		return g.closeJSON(report)
	}
	if g.shown {
		fmt.Fprintln(g.table)
	}
	if err := g.table.Flush(); err != nil {
		return err
	}
	if len(report.Lines) > 0 {
		fmt.Fprintln(g.table, "WORKSPACE\tSCOPE\tREASON\tENTRIES\tBYTES")
		for _, l := range report.Lines {
			fmt.Fprintf(g.table, "%s\t%s\t%s\t%d\t%d\n", l.Workspace, harmless(string(l.Scope), ""), l.Reason, l.Entries, l.Bytes)
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
		fmt.Fprintf(g.w, "The store is still %d bytes beyond the bound for the disk: what is left was used within the last two hours, or is trusted and within its own bound.\n", report.Lacking)
	}
	if !report.AgesWait.IsZero() {
		fmt.Fprintf(g.w, "No entry goes for its age until %s: for more than three days nobody looked, so the clock may have been wrong.\n", report.AgesWait.UTC().Format(time.RFC3339))
	}
	return nil
}

func (g *gcWriter) closeJSON(report retention.Report) error {
	out := gcJSON{
		DryRun: g.q.dryRun, Removed: []gcLineJSON{}, Entries: report.Entries, Bytes: report.Bytes, Other: report.Other, Failed: report.Failed,
		Lacking: report.Lacking, AgesWait: timeOr(report.AgesWait, ""), List: g.list,
	}
	for _, l := range report.Lines {
		out.Removed = append(out.Removed, gcLineJSON{string(l.Workspace), string(l.Scope), string(l.Reason), l.Entries, l.Bytes})
	}
	return writeHarmlessJSON(g.w, out)
}
