package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

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

The reasons: age (older than max_age), unused (not read for longer than max_unused), quota (its scope holds too much), untrusted (the untrusted scopes of its
workspace hold too much together), disk (max-store-size or min-free).

With --output json one object goes to standard output: removed, an array with workspace, scope, reason, entries and bytes; the sums entries and bytes; other
and failed, which count entries that stayed; lacking, the bytes by which the bound for the disk is not kept; with --verbose also list, an array of
workspace, scope, hash, size, created, used and reason of each entry.`,
		Example: "  bezoar gc --dry-run --config /etc/bezoar.yaml\n  bezoar gc --workspace web --output json",
		Args:    noArgs,
	}
	addLedgerFlags(cmd)
	addStoreFlags(cmd, "policy", "max-store-size", "min-free")
	flags := cmd.Flags()
	flags.BoolVar(&q.dryRun, "dry-run", false, "tell what would go, and leave it")
	flags.BoolVar(&q.verbose, "verbose", false, "list each entry")
	flags.StringVar(&q.workspace, "workspace", "", "the only workspace to look at")
	q.form.add(flags)
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
		cfg, err := tokenConfig(cmd, env)
		if err != nil {
			return err
		}
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
		Ledger: r.records, Store: r.store, Limits: limits, Disk: diskBounds(cfg, r.dir), Now: time.Now,
		Done: func(ctx context.Context, report retention.Report) {
			notOnRecord(env, r.records.Note(context.WithoutCancel(ctx), collectedEvent(&report)))
		},
	})
	out := newGCWriter(env.Stdout, q)
	request := retention.Request{DryRun: q.dryRun, Workspace: workspace}
	if q.verbose {
		request.Each = out.each
	}
	report, err := runner.Look(ctx, request)
	if errors.Is(err, retention.ErrBusy) {
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
