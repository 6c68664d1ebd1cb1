package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/retention"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// gcQuery is what was asked for, as text.
type gcQuery struct {
	dryRun, verbose bool
	workspace       string
	form            outputForm
}

func newGCCmd(env *environment) *cobra.Command {
	var q gcQuery
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove the entries that are beyond the bounds of policy and configuration, or tell which",
		Long: `Remove the entries that are beyond the bounds of the policy (retention, quota) and of the configuration (max-store-size, min-free).

Servers do so by themselves every ten minutes. The command does the same once, by the same settings, and waits for nobody: if a server is at it, it says so and
ends with status 1. It may be broken off and run again at any time. With --dry-run it tells what would go and why, and leaves it.

With --workspace it looks at one workspace, and not at the bounds of the configuration, which are for all together.

` + serverHelp + ` Then the bounds are those of the server, which does the work; the command waits for it.
'bezoar gc runs' lists the last runs.

The reasons: age (older than max_age), unused (not read for longer than max_unused), quota (its scope holds too much), untrusted (the untrusted scopes of its
workspace hold too much together), disk (max-store-size or min-free).

With --output json one object goes to standard output: removed, an array with workspace, scope, reason, entries and bytes; the sums entries and bytes; other
and failed, which count entries that stayed; lacking, the bytes by which the bound for the disk is not kept; with --verbose also list, an array of
workspace, scope, hash, size, created, used and reason of each entry.`,
		Example: "  bezoar gc --dry-run --config /etc/bezoar.yaml\n  bezoar gc --workspace web --output json",
		Args:    noArgs,
	}
	addLedgerFlags(cmd)
	addServerFlags(cmd.PersistentFlags())
	addStoreFlags(cmd, "policy", "max-store-size", "min-free")
	flags := cmd.Flags()
	flags.BoolVar(&q.dryRun, "dry-run", false, "tell what would go, and leave it")
	flags.BoolVar(&q.verbose, "verbose", false, "list each entry")
	flags.StringVar(&q.workspace, "workspace", "", "the only workspace to look at")
	q.form.add(flags)
	cmd.AddCommand(newGCRunsCmd(env))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := q.form.check(); err != nil {
			return usageError(cmd, err)
		}
		var workspace cache.Workspace
		if q.workspace != "" {
			var err error
			if workspace, err = cache.ParseWorkspace(q.workspace); err != nil {
				return usageError(cmd, fmt.Errorf("--workspace: %w", err))
			}
		}
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		if t.client != nil {
			defer t.end()
			if q.verbose && !q.dryRun {
				return usageError(cmd, errors.New("--verbose goes with --dry-run where a server removes the entries: it counts them, and keeps no list"))
			}
			return q.runThere(cmd.Context(), env, t.client, workspace)
		}
		cfg := t.cfg
		limits, err := limitsOf(cfg)
		if err != nil {
			return err
		}
		return withRemoval(cmd.Context(), env, cfg, func(r *removal) error { return q.run(cmd.Context(), env, cfg, r, limits, workspace) })
	}
	return cmd
}

// limitsOf reads the policy that the configuration names; without one there are no limits of workspaces.
func limitsOf(cfg *config.Config) (func(cache.Workspace) retention.Limits, error) {
	if cfg.Policy == "" {
		return nil, nil
	}
	data, err := os.ReadFile(string(cfg.Policy))
	if err != nil {
		return nil, fmt.Errorf("the policy cannot be read: %w", err)
	}
	p, err := policy.Parse(string(cfg.Policy), data)
	if err != nil {
		return nil, &statusError{exitUsage, err}
	}
	return func(workspace cache.Workspace) retention.Limits { return policyLimits(p, workspace) }, nil
}

func (q *gcQuery) run(ctx context.Context, env *environment, cfg *config.Config, r *removal, limits func(cache.Workspace) retention.Limits, workspace cache.Workspace) error {
	runner := retention.New(retention.Options{
		Ledger: r.records, Store: r.store, Limits: limits, Disk: diskBounds(cfg, r.dir), Now: time.Now, Replica: hostname(),
		Done: func(ctx context.Context, report retention.Report) {
			notOnRecord(env, r.records.Note(context.WithoutCancel(ctx), admin.CollectedEvent(&report, workspace)))
		},
	})
	out := newGCWriter(env.Stdout, q)
	request := retention.Request{DryRun: q.dryRun, Workspace: workspace, By: whoOrders()}
	if q.verbose {
		request.Each = func(e retention.Entry, reason retention.Reason) { out.each(admin.ShowRemoved(&e, reason)) }
	}
	report, err := runner.Look(ctx, request)
	return q.end(out, admin.ShowCollection(&report, q.dryRun), err)
}

// end says what came of it. Its error may carry the exit status alone.
func (q *gcQuery) end(out *gcWriter, report admin.Collection, err error) error {
	if err != nil && admin.CodeOf(err) == admin.Conflict {
		return fmt.Errorf("%w: try again in a while, or look with --dry-run", err)
	}
	if errWrite := out.close(report); errWrite != nil {
		return errors.Join(err, errWrite)
	}
	if err != nil {
		return err
	}
	if report.Failed > 0 || report.Lacking > 0 {
		return &statusError{status: exitFailure}
	}
	return nil
}
