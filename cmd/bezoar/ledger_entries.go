package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// entriesPage is how many are read at once.
const entriesPage = admin.MaxPage

// entriesQuery is what was asked for, as text.
type entriesQuery struct {
	workspace, scope, hash             string
	run, token, actor, repository, ref string
	since, until                       string
	limit                              int
	asJSON                             bool
}

func newLedgerEntriesCmd(env *environment) *cobra.Command {
	var q entriesQuery
	cmd := &cobra.Command{
		Use:   "entries",
		Short: "List the entries that a run, a token, a person or a repository made",
		Long: `List the entries that the ledger knows, newest first: those to which all flags apply that are given.

Run, token, actor and repository are ids, as in the server's log and in what 'bezoar inspect' shows, and as 'bezoar revoke' takes them; --repository
finds what was made by its pipelines or of its code. A name is not enough, since it can be taken over. If all that you have is a static token
itself, it may stand for its id.

--since and --until take a number of days (7d) or a duration (2h) before now, a date (2027-01-31, its first moment in UTC), or a time as in RFC 3339.

The list is what servers noted. They do so within a second, for what waits for a bucket when the bucket has it; if they could not, 'bezoar ledger check' tells and 'bezoar ledger rebuild' helps. Before the
list decides something, such as what to delete after a break-in, rebuild first.

` + serverHelp + `

With --json an array of objects goes to standard output, [] if there are none:

  workspace, scope, hash
  record   the record of the entry, with its producer, as 'bezoar inspect' shows it`,
		Example: `  bezoar ledger entries --run 17650000001
  bezoar ledger entries --workspace web --scope trusted --actor 583231 --since 7d --limit 0 --json`,
		Args: noArgs,
	}
	addServerFlags(cmd.Flags())
	flags := cmd.Flags()
	q.addSelectors(flags)
	flags.IntVar(&q.limit, "limit", 100, "how many are shown; 0 is all")
	flags.BoolVar(&q.asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		filter, err := q.filter(time.Now())
		if err != nil {
			return usageError(cmd, err)
		}
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		return t.withRecords(cmd.Context(), func(service admin.Service) error { return q.list(cmd.Context(), env, service, filter) })
	}
	return cmd
}

// addSelectors adds the flags that say which entries are meant.
func (q *entriesQuery) addSelectors(flags *pflag.FlagSet) {
	flags.StringVar(&q.workspace, "workspace", "", "the workspace that they are in")
	flags.StringVar(&q.scope, "scope", "", "the scope that they are in, such as trusted or pr/17")
	flags.StringVar(&q.hash, "hash", "", "the hash under which they are")
	flags.StringVar(&q.run, "run", "", "the id of the run (GitLab: pipeline) that made them")
	flags.StringVar(&q.token, "token", "", "the id of the static token that made them")
	flags.StringVar(&q.actor, "actor", "", "the id of the account that set the run off")
	flags.StringVar(&q.repository, "repository", "", "the id of the repository (GitLab: project) of the run, or of its code")
	flags.StringVar(&q.ref, "ref", "", "the full ref that the run was for, such as refs/heads/main")
	flags.StringVar(&q.since, "since", "", "made at that time or later: 7d, 2h, 2027-01-31")
	flags.StringVar(&q.until, "until", "", "made before that time")
}

// filter reads what was asked for.
func (q *entriesQuery) filter(now time.Time) (f ledger.Filter, err error) {
	if q.token, err = admin.TokenID(q.token); err != nil {
		return f, err
	}
	if slices.ContainsFunc([]string{q.workspace, q.scope, q.hash, q.run, q.token, q.actor, q.repository, q.ref, q.since, q.until}, trust.HoldsToken) {
		return f, errors.New("there is a token where an id or a name belongs (not shown)") // what is wrong is repeated below
	}
	f = ledger.Filter{Run: q.run, Token: q.token, Actor: q.actor, Repository: q.repository, Ref: q.ref}
	var errs []error
	check := func(flag, value string, parse func(string) error) {
		if value == "" {
			return
		}
		if err := parse(value); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	check("workspace", q.workspace, func(s string) (err error) { f.Workspace, err = cache.ParseWorkspace(s); return err })
	check("scope", q.scope, func(s string) (err error) { f.Scope, err = cache.ParseScope(s); return err })
	check("hash", q.hash, func(s string) (err error) { f.Hash, err = cache.ParseHash(s); return err })
	check("since", q.since, func(s string) (err error) { f.Since, err = pastTime(s, now); return err })
	check("until", q.until, func(s string) (err error) { f.Until, err = pastTime(s, now); return err })
	if q.limit < 0 {
		errs = append(errs, errors.New("--limit is 0 or more"))
	}
	return f, errors.Join(errs...)
}

// pastTime reads a time, or how long ago it was.
func pastTime(s string, now time.Time) (time.Time, error) {
	if digits, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.ParseUint(digits, 10, 15); err == nil {
			return now.AddDate(0, 0, -int(days)), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if at, err := time.Parse(time.DateOnly, s); err == nil {
		return at, nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("%q is none of 7d, 2h, 2027-01-31 or a time as in RFC 3339", s)
}

// list prints page by page, so that it holds one at a time however many there are.
func (q *entriesQuery) list(ctx context.Context, env *environment, service admin.Service, filter ledger.Filter) error {
	left := q.limit
	if left == 0 {
		left = math.MaxInt
	}
	out := newEntriesWriter(env.Stdout, q.asJSON)
	after := ""
	for {
		got, err := service.Entries(ctx, filter, admin.Page{After: after, Limit: min(left, entriesPage)})
		if err != nil {
			return err
		}
		if err := out.write(got.Entries); err != nil {
			return err
		}
		left -= len(got.Entries)
		after = got.Next
		if after == "" || left == 0 {
			break
		}
	}
	if err := out.close(); err != nil {
		return err
	}
	switch {
	case after != "":
		fmt.Fprintln(env.Stderr, "There are more: --limit shows them.")
	case out.written == 0:
		fmt.Fprintf(env.Stderr, "No such entry is known in %s. What was stored before servers noted it is known after 'bezoar ledger rebuild'.\n", service.Place())
	}
	return nil
}
