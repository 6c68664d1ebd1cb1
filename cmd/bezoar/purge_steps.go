package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// purgeStep is a command about one purge that was ordered.
type purgeStep struct {
	name, short, long string
	begin             func(service admin.Service, ctx context.Context, id string) (admin.Purge, error)
}

var purgeSteps = []purgeStep{
	{"undo", "Bring back what a purge took", `Bring back what a purge took. What is still in its place is served again within a second, and the rest is moved back.

An entry whose key was written anew meanwhile stays in quarantine, since entries are written once: the newer one counts. The command says how many these
are; once their keys are free, it brings them back when it is run again. They go for good when their time in quarantine is over.`, admin.Service.UndoPurge},
	{"discard", "Delete for good what a purge took", `Delete for good what a purge took, before its time in quarantine is over. Nothing brings it back then, and the purge stays in force: what fits it
is not served either if somebody puts it back.`, admin.Service.DiscardPurge},
	{"resume", "Go on with what was broken off", `Go on with a purge, an undoing or a discarding that was broken off, and take what the ledger has heard of since. Servers do so by themselves,
within half a minute; this does it now.`, admin.Service.ResumePurge},
}

func newPurgeStepCmd(env *environment, step purgeStep) *cobra.Command {
	var form outputForm
	cmd := &cobra.Command{
		Use:   step.name + " ID",
		Short: step.short,
		Long: step.long + `

It may be broken off and run again. ` + serverHelp + `

With --output json the purge goes to standard output as an object with the fields of 'bezoar purge list'.`,
		Example: "  bezoar purge " + step.name + " 9c01d2e3f4a5",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(cmd, errors.New("give the ID of one purge, as 'bezoar purge list' shows it"))
			}
			if trust.HoldsToken(args[0]) {
				return usageError(cmd, errors.New("there is a token where the ID of a purge belongs (not shown)"))
			}
			return nil
		},
	}
	form.add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := form.check(); err != nil {
			return usageError(cmd, err)
		}
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		return t.withExisting(cmd.Context(), func(service admin.Service, records *ledger.Ledger) error {
			return step.run(cmd.Context(), env, t, service, records, args[0], form.asJSON)
		})
	}
	return cmd
}

func (s *purgeStep) run(ctx context.Context, env *environment, t *target, service admin.Service, records *ledger.Ledger, id string, asJSON bool) error {
	p, err := s.begin(service, ctx, id)
	if code := admin.CodeOf(err); err != nil && (code == admin.NotFound || code == admin.Conflict) {
		return fmt.Errorf("%w\n'bezoar purge list' shows the purges in %s", err, service.Place())
	}
	if err != nil {
		return err
	}
	done, err := finishPurge(ctx, env, t, service, records, nil, p)
	if err != nil {
		return fmt.Errorf("purge %s is %s and not done yet; servers go on with it, and so does 'bezoar purge resume %s': %w", id, p.State, id, err)
	}
	return showStep(env, &done, asJSON)
}

func newPurgeListCmd(env *environment) *cobra.Command {
	var form outputForm
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the purges",
		Long: `List the purges of the last 400 days, newest first. So long each stays in force, unless it is undone.

With --output json an array of objects goes to standard output, [] if there are none:

  id         12 hexadecimal digits that stand for the purge
  state      "running", "quarantined", "undoing", "undone", "discarding" or "discarded"
  in_force   whether what fits it is not served
  by, reason
  selector   what it takes: an object with those of workspace, scope, hash, run, token, actor, repository, ref, since and until that are set
  created, changed, discard
             times (RFC 3339, UTC): when it was ordered, when its state changed, when what it took is deleted for good
  entries    how many it took, by what has become of them: found (not moved yet), held (in quarantine), absent (not in the store any more), restored, occupied
             (in quarantine after an undoing, since the key was written anew) and discarded
  bytes      of all of them
  held_bytes of those in quarantine

` + serverHelp,
		Example: "  bezoar purge list\n  bezoar purge list --output json",
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
		return t.withRecords(cmd.Context(), func(service admin.Service) error {
			var all []admin.Purge
			err := admin.All(cmd.Context(), service.Purges, func(p admin.Purges) string { return p.Next }, func(p admin.Purges) error {
				all = append(all, p.Purges...)
				return nil
			})
			if err != nil {
				return err
			}
			if len(all) == 0 {
				fmt.Fprintf(env.Stderr, "There are no purges in %s.\n", service.Place())
			}
			return showPurges(env.Stdout, all, form.asJSON)
		})
	}
	return cmd
}
