package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// revocationHelp says of each kind what its argument is called, what the command does in a line, and what it hits in words.
var revocationHelp = map[trust.RevocationKind]struct{ argument, short, hits string }{
	trust.RevokeSession: {"ID", "Refuse one session", "It hits the session alone: its job can exchange another identity token for another session. If all that you have is the\n" +
		"session's token, it may stand for the ID."},
	trust.RevokeRun: {"ID", "Refuse all jobs of a run", "It hits all sessions and identity tokens of the run (GitLab: pipeline) with that id, in all of its attempts."},
	trust.RevokeActor: {"ID", "Refuse all runs that somebody set off", "It hits all sessions and identity tokens of runs that the account with that id set off. The id counts, not the name: a\n" +
		"name can be changed."},
	trust.RevokeRepository: {"ID", "Refuse all runs of a repository", "It hits all sessions and identity tokens of runs in the repository (GitLab: project) with that id, and of those that run\n" +
		"its code elsewhere, as a fork's does. The id counts, not the name: a name can be taken over."},
	trust.RevokeSubject: {"SUB", "Refuse all identities with one subject", "It hits all sessions and identity tokens whose claim sub is that text, byte by byte."},
}

func newRevokeCmd(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke",
		Short: "Refuse sessions and identities of CIs",
		Long: `Refuse what CIs present: sessions, and the identity tokens that sessions are exchanged for.

A revocation is recorded in the ledger, in the data directory or in the database that --ledger names. A running server heeds it within a
second, for new requests, exchanges and uploads that are under way; builds that it hits fail with the reason. It holds until it is lifted,
also for what is issued later. Entries that were stored before stay, until 'bezoar purge' takes them away.

Static tokens are revoked with 'bezoar token revoke'.

` + serverHelp,
		Args: commandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addLedgerFlags(cmd)
	addServerFlags(cmd.PersistentFlags())
	for _, kind := range trust.RevocationKinds {
		cmd.AddCommand(newRevokeKindCmd(env, kind))
	}
	cmd.AddCommand(newRevokeListCmd(env), newRevokeLiftCmd(env))
	return cmd
}

func newRevokeKindCmd(env *environment, kind trust.RevocationKind) *cobra.Command {
	var workspace, reason string
	var asJSON bool
	help := revocationHelp[kind]
	cmd := &cobra.Command{
		Use:   string(kind) + " " + help.argument,
		Short: help.short,
		Long: help.short + `, within a second and until the revocation is lifted.

` + help.hits + `

What has the same id at another CI is hit as well, unless --workspace says where. The server's log has the ids.

Revoking what is revoked already succeeds and changes nothing. With --json the revocation goes to standard output as an object with the
fields of 'bezoar revoke list'.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(cmd, fmt.Errorf("give the %s of one %s", help.argument, kind))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&workspace, "workspace", "", "the only workspace that it holds for; without it, all")
	cmd.Flags().StringVar(&reason, "reason", "", "a remark for those who read the list")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asked := admin.NewRevocation{Kind: string(kind), Value: args[0], Workspace: workspace, Reason: reason}
		described, err := admin.DescribeRevocation(asked, time.Now())
		if err != nil {
			return &statusError{exitUsage, flagError(err)}
		}
		asked.Value = described.Value // the id of a session, where its token was given: that goes nowhere
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		return revoke(cmd.Context(), env, t, asked, asJSON)
	}
	return cmd
}

func revoke(ctx context.Context, env *environment, t *target, asked admin.NewRevocation, asJSON bool) error {
	return t.withRecords(ctx, func(service admin.Service) error {
		change, err := service.Revoke(ctx, asked)
		if err != nil {
			return flagError(err)
		}
		if r := &change.Revocation; (asked.Kind == string(trust.RevokeActor) || asked.Kind == string(trust.RevokeRepository)) && !isNumber(r.Value) {
			fmt.Fprintf(env.Stderr, "bezoar: warning: ids are compared, not names, and those of GitHub and GitLab are numbers: is %q an id?\n", r.Value)
		}
		return showRevocation(env.Stdout, change, asJSON)
	})
}

func newRevokeListCmd(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the revocations",
		Long: `List all revocations that ever were, oldest first, lifted ones included.

With --json an array of objects goes to standard output, [] if there are none:

  id         12 hexadecimal digits that stand for the revocation in logs and answers
  kind       "session", "run", "actor", "repository" or "subject"
  value      the id or text that is compared
  workspace  the only one that it holds for, or null: all
  reason     a remark, or ""
  state      "in force" or "lifted"
  created    time (RFC 3339, UTC)
  lifted     time, or null`,
		Example: "  bezoar revoke list\n  bezoar revoke list --json",
		Args:    noArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		return t.withRecords(cmd.Context(), func(service admin.Service) error {
			all := []admin.Revocation{} // [] and not null
			err := admin.All(cmd.Context(), service.Revocations, func(got admin.Revocations) string { return got.Next },
				func(got admin.Revocations) error { all = append(all, got.Revocations...); return nil })
			if err != nil {
				return err
			}
			if len(all) == 0 {
				fmt.Fprintf(env.Stderr, "There are no revocations in %s.\n", service.Place())
			}
			return showRevocations(env.Stdout, all, asJSON)
		})
	}
	return cmd
}

func newRevokeLiftCmd(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "lift ID",
		Short: "Take a revocation back",
		Long: `Take a revocation back. What it refused is judged by the policy again, within a second; sessions that have not expired are good again.

Lifting a revocation that was lifted already succeeds and changes nothing. With --json it goes to standard output as an object with the
fields of 'bezoar revoke list'.`,
		Example: "  bezoar revoke lift 3f9a1c22b07e",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(cmd, errors.New("give the ID of one revocation, as 'bezoar revoke list' shows it"))
			}
			if trust.HoldsToken(args[0]) {
				return usageError(cmd, errors.New("there is a token where the ID of a revocation belongs (not shown)"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		return t.withRecords(cmd.Context(), func(service admin.Service) error {
			change, err := service.LiftRevocation(cmd.Context(), args[0])
			if err != nil && admin.CodeOf(err) == admin.NotFound {
				return fmt.Errorf("%w\n'bezoar revoke list' shows the revocations in %s", err, service.Place())
			}
			if err != nil {
				return err
			}
			return showLifted(env.Stdout, change, asJSON)
		})
	}
	return cmd
}

// withRecords works with the ledger of a server. There must be one: a revocation in the wrong directory would be heeded by nobody.
func withRecords(ctx context.Context, cfg *config.Config, do func(*ledger.Ledger) error) (err error) {
	records, err := openExistingLedger(ctx, cfg)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no ledger: is it the server's data directory (--data)?", cfg.Data)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	return do(records)
}

func isNumber(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}
