package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// divergencesPage is how many divergences are read at once.
const divergencesPage = 500

// divergencesQuery is what was asked for.
type divergencesQuery struct {
	scope, since string
	firstOnly    bool
	limit        int
	form         outputForm
}

func newDivergencesCmd(env *environment) *cobra.Command {
	var q divergencesQuery
	cmd := &cobra.Command{
		Use:   "divergences [WORKSPACE]",
		Short: "List the hashes under which main and somebody else made different things",
		Long: `List the divergences of a workspace, or of all, newest first: hashes under which the trusted scope and another one hold entries that unpack to different
things. To Nx both are the same task with the same inputs. So either the task is not deterministic, or somebody tried to poison the cache. What
trusted builds get is main's in either case.

A server that runs finds them within seconds of the second upload, compares the archives, and says so in its log and its metrics.

  first      nothing of the kind was seen before, or not often enough: look at it
  recurring  the same members differed before, in what others made: most likely a task that is not deterministic
  pending    the archives are not compared yet

` + serverHelp + `

--since takes a number of days (7d) or a duration (2h) before now, a date (2027-01-31, its first moment in UTC), or a time as in RFC 3339.

With --json an array of objects goes to standard output, [] if there are none:

  id, workspace, hash
  scope       of the other entry
  found       when it was noticed (RFC 3339, UTC)
  level       "first", "recurring" or "pending"
  times       how many hashes had it at the same members up to then, or 0: the members are not known
  since       when that was first found
  trusted     the record of the trusted entry, with its producer, as 'bezoar inspect' shows it; the entry may be gone
  other       that of the other one
  comparison  {"state", "note", "members", "differing", "trusted_only", "other_only"}; state is "compared", "gone", "opaque", "too large",
              "unreadable" or "" for not yet, and note says why; members has the first that differ, each with path, trusted and other, which
              have type, mode, size, sha256 and target, or are null where there is no such member; the last three are counts of all`,
		Example: "  bezoar divergences web --first-only --since 7d\n  bezoar divergences show 17",
	}
	addLedgerFlags(cmd)
	addServerFlags(cmd.PersistentFlags())
	flags := cmd.Flags()
	flags.StringVar(&q.scope, "scope", "", "those of one scope, such as pr/17")
	flags.StringVar(&q.since, "since", "", "found at that time or later: 7d, 2h, 2027-01-31")
	flags.BoolVar(&q.firstOnly, "first-only", false, "leave out what recurs")
	flags.IntVar(&q.limit, "limit", 100, "how many are shown; 0 is all")
	q.form.add(flags)
	var filter ledger.DivergenceFilter
	cmd.Args = func(cmd *cobra.Command, args []string) (err error) {
		if filter, err = q.filter(args, time.Now()); err != nil {
			return usageError(cmd, err)
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		return t.withRecords(cmd.Context(), func(service admin.Service) error { return q.list(cmd.Context(), env, service, filter) })
	}
	cmd.AddCommand(newDivergencesShowCmd(env))
	return cmd
}

// filter reads what was asked for, but for firstOnly: what is pending may be a first one.
func (q *divergencesQuery) filter(args []string, now time.Time) (f ledger.DivergenceFilter, err error) {
	if slices.ContainsFunc(append([]string{q.scope, q.since}, args...), trust.HoldsToken) {
		return f, errors.New("there is a token where a name belongs (not shown)")
	}
	var errs [5]error
	switch len(args) {
	case 0:
	case 1:
		if f.Workspace, err = cache.ParseWorkspace(args[0]); err != nil {
			errs[0] = fmt.Errorf("WORKSPACE %q: %w", args[0], err)
		}
	default:
		errs[0] = errors.New("give one workspace, or none for all")
	}
	if q.scope != "" {
		if f.Scope, err = cache.ParseScope(q.scope); err != nil {
			errs[1] = fmt.Errorf("--scope: %w", err)
		}
	}
	if q.since != "" {
		if f.Since, err = pastTime(q.since, now); err != nil {
			errs[2] = fmt.Errorf("--since: %w", err)
		}
	}
	if q.limit < 0 {
		errs[3] = errors.New("--limit is 0 or more")
	}
	errs[4] = q.form.check()
	return f, errors.Join(errs[:]...)
}

// list prints page by page.
func (q *divergencesQuery) list(ctx context.Context, env *environment, service admin.Service, filter ledger.DivergenceFilter) error {
	left := q.limit
	if left == 0 {
		left = math.MaxInt
	}
	out := newDivergencesWriter(env.Stdout, q.form.asJSON)
	var floods []admin.Flood
	after := ""
	var more bool
	for {
		page, err := service.Divergences(ctx, filter, admin.Page{After: after, Limit: divergencesPage})
		if err != nil {
			return err
		}
		shown := page.Divergences
		if q.firstOnly {
			shown = slices.DeleteFunc(shown, func(d admin.Divergence) bool { return d.Level == divergence.Recurring })
		}
		more, shown = len(shown) > left, shown[:min(left, len(shown))]
		if err := out.write(shown); err != nil {
			return err
		}
		left -= len(shown)
		floods, after = page.Floods, page.Next
		if after == "" || more {
			break
		}
	}
	if err := out.close(); err != nil {
		return err
	}
	switch {
	case more:
		fmt.Fprintln(env.Stderr, "There are more: --limit shows them.")
	case out.written == 0:
		fmt.Fprintf(env.Stderr, "No such divergence is known in %s.\n", service.Place())
	}
	for _, f := range floods { // what was counted and is not in the list
		fmt.Fprintf(env.Stderr, "%d more of scope %s in workspace %s, from %s to %s, were counted and not kept: there were too many.\n",
			f.Count, harmless(f.Scope, ""), f.Workspace, timeOr(f.Since, ""), timeOr(f.Last, ""))
	}
	return nil
}

func newDivergencesShowCmd(env *environment) *cobra.Command {
	var form outputForm
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a divergence: what differs, who made both, and what to do",
		Long: `Show a divergence: which members of the archives differ and how, who made both entries, and what can be done about it.

What is shown was noted when the divergence was found; the entries may have gone since. Names and paths come from whoever made the archives: what could
control a terminal is shown as an escape such as \x1b. What a task printed to its terminal is not compared.

With --json one object goes to standard output, with the fields of 'bezoar divergences'.`,
		Example: "  bezoar divergences show 17",
	}
	form.add(cmd.Flags())
	var id int64
	cmd.Args = func(cmd *cobra.Command, args []string) (err error) {
		if len(args) != 1 {
			return usageError(cmd, errors.New("give the ID of one divergence, as 'bezoar divergences' shows it"))
		}
		if id, err = strconv.ParseInt(args[0], 10, 64); err != nil || id < 1 {
			return usageError(cmd, errors.New("the ID of a divergence is a number, as 'bezoar divergences' shows it"))
		}
		if err := form.check(); err != nil {
			return usageError(cmd, err)
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		return t.withRecords(cmd.Context(), func(service admin.Service) error {
			d, err := service.Divergence(cmd.Context(), id)
			if err != nil {
				return err
			}
			if form.asJSON {
				return writeHarmlessJSON(env.Stdout, d)
			}
			return showDivergence(env.Stdout, &d)
		})
	}
	return cmd
}
