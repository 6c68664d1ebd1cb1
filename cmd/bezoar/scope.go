package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/retention"
)

func newScopeCmd(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scope",
		Short: "List the scopes of a workspace, and end one that nobody needs any more",
		Long: `List the scopes of a workspace with what they hold, and delete all entries of one, such as those of a pull request that was closed.

What is known of scopes is what servers noted in the ledger; 'bezoar ledger rebuild' brings that up to date with the store.`,
		Args: commandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addLedgerFlags(cmd)
	cmd.AddCommand(newScopeListCmd(env), newScopeDeleteCmd(env))
	return cmd
}

// scopeJSON is what --output json prints of a scope. Scripts depend on it: fields are added, never changed.
type scopeJSON struct {
	Workspace string `json:"workspace"`
	Scope     string `json:"scope"`
	Entries   int64  `json:"entries"`
	Bytes     int64  `json:"bytes"`
	Used      string `json:"used,omitempty"`
}

func newScopeListCmd(env *environment) *cobra.Command {
	var form outputForm
	cmd := &cobra.Command{
		Use:   "list WORKSPACE",
		Short: "List the scopes of a workspace with their entries, bytes and last use",
		Long: `List the scopes of a workspace that hold entries, with their number, their bytes, and when one of them was last read or came in, to about an hour.

` + serverHelp + `

With --output json an array of objects goes to standard output, [] if there are none: workspace, scope, entries, bytes and used.`,
		Example: "  bezoar scope list web",
		Args:    exactly(1, "the name of one workspace"),
	}
	addServerFlags(cmd.Flags())
	form.add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := form.check(); err != nil {
			return usageError(cmd, err)
		}
		workspace, err := cache.ParseWorkspace(args[0])
		if err != nil {
			return usageError(cmd, err)
		}
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		return t.withRecords(cmd.Context(), func(service admin.Service) error {
			return listScopes(cmd.Context(), env, service, workspace, form.asJSON)
		})
	}
	return cmd
}

func listScopes(ctx context.Context, env *environment, service admin.Service, workspace cache.Workspace, asJSON bool) error {
	out := newListWriter(env.Stdout, asJSON, "SCOPE\tENTRIES\tBYTES\tLAST USED", func(s *scopeJSON) []string {
		return []string{s.Scope, fmt.Sprint(s.Entries), fmt.Sprint(s.Bytes), cmp.Or(s.Used, "not known")}
	})
	list := func(ctx context.Context, page admin.Page) (admin.Scopes, error) {
		return service.Scopes(ctx, workspace, page)
	}
	err := admin.All(ctx, list, func(p admin.Scopes) string { return p.Next }, func(p admin.Scopes) error {
		page := make([]scopeJSON, 0, len(p.Scopes))
		for _, s := range p.Scopes {
			page = append(page, scopeJSON{string(s.Workspace), s.Scope, s.Entries, s.Bytes, timeOrNull(s.Used, "")})
		}
		return out.write(page)
	})
	if err != nil {
		return err
	}
	if out.written == 0 && !asJSON {
		fmt.Fprintf(env.Stderr, "No scope of %s holds anything that is known in %s.\n", workspace, service.Place())
	}
	return out.close()
}

func newScopeDeleteCmd(env *environment) *cobra.Command {
	var trusted bool
	cmd := &cobra.Command{
		Use:   "delete WORKSPACE SCOPE",
		Short: "Delete all entries of a scope",
		Long: `Delete all entries of a scope, however new, while servers run. They become misses. The command may be broken off and run again at any time. Who may write to the
scope still may: what is uploaded meanwhile may stay.

The trusted scope holds what all builds read: to delete it, say --yes-trusted.

` + serverHelp + `
A job may use its session, or a token of its CI that may be the bearer itself, to delete the scope that it writes.`,
		Example: "  bezoar scope delete web pr/17 --config /etc/bezoar.yaml",
		Args:    exactly(2, "the names of one workspace and one scope"),
	}
	addStoreFlags(cmd)
	addServerFlags(cmd.Flags())
	cmd.Flags().BoolVar(&trusted, "yes-trusted", false, "delete the trusted scope, if that is the one")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		workspace, errWorkspace := cache.ParseWorkspace(args[0])
		scope, errScope := cache.ParseScope(args[1])
		if err := errors.Join(errWorkspace, errScope); err != nil {
			return usageError(cmd, err)
		}
		if scope == cache.Trusted && !trusted {
			return usageError(cmd, errors.New("all builds read the trusted scope: say --yes-trusted if all of its entries are to go"))
		}
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		if t.client != nil {
			defer t.end()
			return deleteScopeThere(cmd.Context(), env, t.client, workspace, scope)
		}
		return withRemoval(cmd.Context(), env, t.cfg, func(r *removal) error { return deleteScope(cmd.Context(), env, r, workspace, scope) })
	}
	return cmd
}

func deleteScope(ctx context.Context, env *environment, r *removal, workspace cache.Workspace, scope cache.Scope) error {
	held, err := r.records.HeldBy(ctx, workspace, scope)
	if errors.Is(err, cache.ErrNotExist) {
		fmt.Fprintf(env.Stderr, "The scope holds nothing that is known in %s.\n", r.records.Place())
		return nil
	}
	if err != nil {
		return err
	}
	report, err := retention.EndScope(ctx, r.records, r.store, held, nil)
	if report.Entries > 0 {
		event := admin.CollectedEvent(&report, workspace)
		event.Subject, event.Scope = "scope", scope
		notOnRecord(env, r.records.Note(context.WithoutCancel(ctx), event))
	}
	fmt.Fprintf(env.Stdout, "%d entries with %d bytes went.\n", report.Entries, report.Bytes)
	if left := report.Other + report.Failed; err == nil && left > 0 {
		return fmt.Errorf("%d entries stayed: run 'bezoar ledger rebuild', and try again", left)
	}
	return err
}

// deleteScopeThere is deleteScope at a server.
func deleteScopeThere(ctx context.Context, env *environment, service admin.Service, workspace cache.Workspace, scope cache.Scope) error {
	went, err := service.DeleteScope(ctx, workspace, scope)
	if err == nil && went.Complete && went.Entries == 0 {
		fmt.Fprintf(env.Stderr, "The scope holds nothing that is known in %s.\n", service.Place())
		return nil
	}
	if err == nil || went.Entries > 0 {
		fmt.Fprintf(env.Stdout, "%d entries with %d bytes went.\n", went.Entries, went.Bytes)
	}
	if err == nil && !went.Complete {
		return errors.New("entries stayed: run 'bezoar ledger rebuild' beside the server's data, and try again")
	}
	return err
}

// exactly takes n arguments, and says what they are if there are more or less.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError(cmd, fmt.Errorf("'%s' takes %s", cmd.CommandPath(), what))
		}
		return nil
	}
}
