package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/purge"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// revokedUntil is how much later than now what a revoked maker made still counts: an upload may be under way, and clocks differ.
const revokedUntil = time.Minute

// purgeOrder is what was asked for.
type purgeOrder struct {
	query             entriesQuery
	yes, scan, revoke bool
	reason            string
	form              outputForm
}

func newPurgeCmd(env *environment) *cobra.Command {
	var o purgeOrder
	cmd := &cobra.Command{
		Use:   "purge",
		Short: "Take away what a stolen token or a tampered run stored, and bring it back",
		Long: `Take away what somebody stored: the entries to which all flags apply that are given, of which there must be one beside --workspace and --until.
They are those of 'bezoar ledger entries'.

Without --yes nothing is changed, and what would go is shown: how much, from which scopes, made by whom.

With --yes it is a miss on every server within a second, wherever a server has it: in the storage, in its tier, in its spool. Requests that run may
end. That needs only the ledger. Then each entry is moved into quarantine, where nobody reads it, so that builds can make it anew. What comes late, from a
spool or into the ledger, is taken as well. 'bezoar purge undo' brings all back; when purge-quarantine is over, 7 days by default, it is deleted for good.
Servers go on where this command was broken off.

A purge takes what was made before it was ordered. Whoever can still write goes on writing: revoke that first, or with --revoke, which revokes the
token, run, actor or repository that is named, and takes what it stores in the next minute, too.

The ledger may not know all: entries that a server noted late are found later by the servers. If it was lost or is in doubt, --scan lists the store itself,
where each entry says who made it. It takes a request for each entry of an S3 bucket, and the key file, without which records could be forged.

` + serverHelp + ` There the server moves the entries, and the command shows how far it is; --scan is for the data of this machine alone.

With --output json one object goes to standard output:

  dry_run    whether nothing was done
  complete   whether all that is known was counted; a server has a minute for it
  entries, bytes, scopes, producers, sample
             what is or was there that fits; scopes and producers with name, entries and bytes
  revoked    what was revoked, or ""
  purge      the purge with the fields of 'bezoar purge list', or null`,
		Example: `  bezoar purge --token 3f9a1c22b07e
  bezoar purge --token 3f9a1c22b07e --revoke --yes --reason 'laptop was stolen'
  bezoar purge --workspace web --scope trusted --ref refs/heads/main --since 2h --yes
  bezoar purge undo 9c01d2e3f4a5`,
		Args: commandsOnly,
	}
	addLedgerFlags(cmd)
	addServerFlags(cmd.PersistentFlags())
	addSettings(cmd.PersistentFlags(), "store", "spool-dir", "seal", "seal-key-file", "purge-quarantine")
	flags := cmd.Flags()
	o.query.addSelectors(flags)
	flags.BoolVar(&o.yes, "yes", false, "do it; without it, show what would be done")
	flags.BoolVar(&o.yes, "execute", false, "the same as --yes")
	flags.BoolVar(&o.scan, "scan", false, "list the store itself, beside the ledger")
	flags.BoolVar(&o.revoke, "revoke", false, "revoke the token, run, actor or repository first")
	flags.StringVar(&o.reason, "reason", "", "a remark for those who read the list")
	o.form.add(flags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		filter, err := o.filter(time.Now())
		if err != nil {
			return usageError(cmd, err)
		}
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		if t.client != nil && o.scan {
			return usageError(cmd, errors.New("--scan lists the store itself, which takes as long as it takes: run the command beside the server's data"))
		}
		return t.withExisting(cmd.Context(), func(service admin.Service, records *ledger.Ledger) error {
			r := &purgeRun{purgeOrder: &o, env: env, target: t, service: service, records: records}
			return r.run(cmd.Context(), filter)
		})
	}
	cmd.AddCommand(newPurgeListCmd(env))
	for _, step := range purgeSteps {
		cmd.AddCommand(newPurgeStepCmd(env, step))
	}
	return cmd
}

// addSettings adds settings of a server to a command.
func addSettings(flags *pflag.FlagSet, names ...string) {
	var all pflag.FlagSet
	config.Flags(&all)
	for _, name := range names {
		flags.AddFlag(all.Lookup(name))
	}
}

// filter reads what was asked for.
func (o *purgeOrder) filter(now time.Time) (f ledger.Filter, err error) {
	if err := o.form.check(); err != nil {
		return f, err
	}
	if trust.HoldsToken(o.reason) || strings.ContainsFunc(o.reason, func(r rune) bool { return r < ' ' }) || len(o.reason) > trust.MaxRevocationReason {
		return f, fmt.Errorf("--reason is at most %d bytes of text without control characters, and no token", trust.MaxRevocationReason)
	}
	if f, err = o.query.filter(now); err != nil {
		return f, err
	}
	order := purge.Order{Filter: f}
	if err := errors.Join(order.Check(), f.Check()); err != nil {
		return f, err
	}
	if o.revoke && f.Token == "" && f.Run == "" && f.Actor == "" && f.Repository == "" {
		return f, errors.New("--revoke goes with --token, --run, --actor or --repository: nothing else can be revoked")
	}
	if o.revoke && f.Until.IsZero() {
		f.Until = now.Add(revokedUntil)
	}
	return f, nil
}

// whoOrders names the person for those who read the list.
func whoOrders() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
