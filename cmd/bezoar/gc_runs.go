package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/retention"
)

// runThere is the command at a server.
func (q *gcQuery) runThere(ctx context.Context, env *environment, service admin.Service, workspace cache.Workspace) error {
	out := newGCWriter(env.Stdout, q)
	if q.dryRun {
		list := 0
		if q.verbose {
			list = admin.MaxPage
		}
		report, err := service.PlanGC(ctx, workspace, list)
		if err != nil {
			return err
		}
		for _, e := range report.List {
			out.each(e)
		}
		if q.verbose && report.Entries > int64(len(report.List)) {
			fmt.Fprintf(env.Stderr, "There are more than the %d entries that are listed: a server lists no more at a time.\n", len(report.List))
		}
		return q.end(out, report, nil)
	}
	run, err := service.RunGC(ctx, workspace)
	if err != nil {
		return q.end(out, admin.Collection{}, err)
	}
	if run, err = waitForGC(ctx, env, service, run); err != nil {
		return fmt.Errorf("run %s of the retention has begun, and 'bezoar gc runs' shows how it goes: %w", run.ID, err)
	}
	if run.State != string(retention.RunDone) {
		err = fmt.Errorf("run %s is %s: the server's log says why", run.ID, harmless(run.State, ""))
	}
	return q.end(out, run.Report, err)
}

// waitForGC waits until a run is over, and tells how far it is.
func waitForGC(ctx context.Context, env *environment, service admin.Service, run admin.GCRun) (admin.GCRun, error) {
	told := time.Now()
	err := waitFurther(ctx, func() (bool, string, error) {
		now, err := service.GCRun(ctx, run.ID)
		if err != nil {
			return false, "", err
		}
		if run = now; !run.Over() && time.Since(told) >= tellEvery {
			told = time.Now()
			fmt.Fprintf(env.Stderr, "%d entries with %d bytes went so far.\n", run.Report.Entries, run.Report.Bytes)
		}
		return run.Over(), run.Changed.String(), nil
	})
	return run, err
}

func newGCRunsCmd(env *environment) *cobra.Command {
	var form outputForm
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List the last times that entries were removed",
		Long: fmt.Sprintf(`List the last %d times that a server or a command looked for entries to remove, newest first, also those that found none.

`+serverHelp+`

With --output json an array of objects goes to standard output, [] if there are none:

  id         12 hexadecimal digits that stand for the run
  state      "running", "done", "failed", or "broken off": the server or the command ended without a word
  by         who asked for it; "": a server did it by itself
  replica    the server or the machine that did it
  workspace  the only one that it looked at, or null
  began, changed
             times (RFC 3339, UTC): when it began, when it ended or was last noted
  report     what went so far, with the fields of 'bezoar gc'; removed has at most %d lines`, retention.MaxRuns, retention.MaxRunLines),
		Example: "  bezoar gc runs",
		Args:    noArgs,
	}
	form.add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := form.check(); err != nil {
			return usageError(cmd, err)
		}
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		return t.withRecords(cmd.Context(), func(service admin.Service) error { return listGCRuns(cmd.Context(), env, service, form.asJSON) })
	}
	return cmd
}

func listGCRuns(ctx context.Context, env *environment, service admin.Service, asJSON bool) error {
	out := newListWriter(env.Stdout, asJSON, "ID\tBEGAN\tSTATE\tWORKSPACE\tENTRIES\tBYTES\tBY", func(r *admin.GCRun) []string {
		workspace, by := "(all)", r.By
		if r.Workspace != nil {
			workspace = string(*r.Workspace)
		}
		if by == "" {
			by = "server " + r.Replica
		}
		return []string{r.ID, timeOr(r.Began, ""), r.State, workspace, fmt.Sprint(r.Report.Entries), fmt.Sprint(r.Report.Bytes), by}
	})
	err := admin.All(ctx, service.GCRuns, func(p admin.GCRuns) string { return p.Next }, func(p admin.GCRuns) error { return out.write(p.Runs) })
	if err != nil {
		return err
	}
	if out.written == 0 {
		fmt.Fprintf(env.Stderr, "No run is known in %s.\n", service.Place())
	}
	return out.close()
}
