package main

import (
	"context"
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

With --output json one object goes to standard output:

  dry_run    whether nothing was done
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
		order, err := o.order(time.Now())
		if err != nil {
			return usageError(cmd, err)
		}
		cfg, err := tokenConfig(cmd, env)
		if err != nil {
			return err
		}
		order.Keep = cfg.PurgeQuarantine
		return withRecords(cmd.Context(), cfg, func(records *ledger.Ledger) error { return o.run(cmd.Context(), env, cfg, records, order) })
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

// order reads what was asked for.
func (o *purgeOrder) order(now time.Time) (order purge.Order, err error) {
	if err := o.form.check(); err != nil {
		return order, err
	}
	if trust.HoldsToken(o.reason) || strings.ContainsFunc(o.reason, func(r rune) bool { return r < ' ' }) || len(o.reason) > trust.MaxRevocationReason {
		return order, fmt.Errorf("--reason is at most %d bytes of text without control characters, and no token", trust.MaxRevocationReason)
	}
	order = purge.Order{By: whoOrders(), Reason: o.reason}
	if order.Filter, err = o.query.filter(now); err != nil {
		return order, err
	}
	if err := order.Check(); err != nil {
		return order, err
	}
	f := &order.Filter
	if o.revoke && f.Token == "" && f.Run == "" && f.Actor == "" && f.Repository == "" {
		return order, errors.New("--revoke goes with --token, --run, --actor or --repository: nothing else can be revoked")
	}
	if f.Until.IsZero() {
		f.Until = now
		if o.revoke {
			f.Until = now.Add(revokedUntil)
		}
	}
	return order, nil
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

func (o *purgeOrder) run(ctx context.Context, env *environment, cfg *config.Config, records *ledger.Ledger, order purge.Order) error {
	var shelf *purgeStore
	if o.scan {
		var err error
		if shelf, err = openPurgeStore(ctx, cfg); err != nil {
			return err
		}
		defer shelf.close()
	}
	if !o.yes {
		plan, err := o.plan(ctx, env, records, shelf, order.Filter)
		if err != nil {
			return err
		}
		return showPlan(env, &plan, o.scan, o.form.asJSON)
	}
	revoked, err := o.revokeFirst(ctx, records, order)
	if err != nil {
		return err
	}
	p, err := purge.Begin(ctx, records, order, time.Now())
	if err != nil {
		return err
	}
	notOnRecord(env, records.Note(ctx, purgeEvent(&p)))
	fmt.Fprintf(env.Stderr, "Purge %s is in force: within a second no server serves what fits it.\n", p.ID)
	plan, err := o.plan(ctx, env, records, shelf, p.Filter) // for the report, while they are still known
	if err != nil {
		return err
	}
	if errWork := workOnPurge(ctx, cfg, records, shelf, &p); errWork != nil {
		return fmt.Errorf("purge %s is in force, but not all entries are in quarantine yet; servers go on with it, and so does 'bezoar purge resume %s': %w", p.ID, p.ID, errWork)
	}
	done, err := purge.Summarize(ctx, records, p.ID)
	if err != nil {
		return err
	}
	return showPurged(env, &plan, &done, revoked, o.form.asJSON)
}

// plan counts what would go.
func (o *purgeOrder) plan(ctx context.Context, env *environment, records *ledger.Ledger, shelf *purgeStore, filter ledger.Filter) (purge.Plan, error) {
	listing := purge.Known(ctx, records, filter)
	if shelf != nil {
		listing = shelf.listing(ctx, filter.Workspace, env)
	}
	return purge.NewPlan(ctx, listing, filter, madeBy)
}

// revokeFirst revokes what the order names, if that was asked for, and says what.
func (o *purgeOrder) revokeFirst(ctx context.Context, records *ledger.Ledger, order purge.Order) (string, error) {
	if !o.revoke {
		return "", nil
	}
	f, now := &order.Filter, time.Now().UTC().Truncate(time.Millisecond)
	if f.Token != "" {
		t, err := records.RevokeToken(ctx, f.Token, f.Workspace, now)
		if err != nil {
			return "", fmt.Errorf("nothing is purged yet: %w", err)
		}
		return "token " + t.Name + " (" + t.ID + ")", nil
	}
	// What is narrower stops less.
	kind, value := trust.RevokeRepository, f.Repository
	switch {
	case f.Run != "":
		kind, value = trust.RevokeRun, f.Run
	case f.Actor != "":
		kind, value = trust.RevokeActor, f.Actor
	}
	r, err := trust.NewRevocation(kind, value, f.Workspace, o.reason, now)
	if err == nil {
		r, err = records.CreateRevocation(ctx, r)
	}
	if err != nil {
		return "", fmt.Errorf("nothing is purged yet: %w", err)
	}
	shown := admin.ShowRevocation(&r)
	return describeHits(&shown), nil
}

// workOnPurge moves the entries of a purge. A shelf that is open already is listed, too.
func workOnPurge(ctx context.Context, cfg *config.Config, records *ledger.Ledger, shelf *purgeStore, p *ledger.Purge) error {
	scan := shelf != nil
	if !scan {
		var err error
		if shelf, err = openPurgeStore(ctx, cfg); err != nil {
			return err
		}
		defer shelf.close()
	}
	engine := purge.NewEngine(records, shelf.place, newHolder(), purge.NewMetrics(nil), time.Now)
	if scan {
		if _, err := engine.Take(ctx, p, shelf.listing(ctx, p.Filter.Workspace, nil)); err != nil {
			return err
		}
	}
	return engine.Work(ctx, p.ID)
}
