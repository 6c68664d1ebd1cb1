package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// auditQuery is what was asked for, as text.
type auditQuery struct {
	action, workspace, actor string
	since, until             string
	limit                    int
	asJSON                   bool
}

func newAuditListCmd(env *environment) *cobra.Command {
	var q auditQuery
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List events, newest first",
		Long: `List events, newest first: those to which all flags apply that are given. Nothing is verified here; 'bezoar audit verify' does that.

--action is one of upload, denied, session.granted, session.refused, token.created, token.revoked, revocation.made, revocation.lifted, purge, gc,
policy.changed, keys.changed, server.started, server.stopped, audit.lost and audit.trimmed. --actor is any id or name of who did it, whole: of a token,
a session, a run, an account, a repository, a person. --since and --until take a number of days (7d) or a duration (2h) before now, a date (2027-01-31,
its first moment in UTC), or a time as in RFC 3339.

Servers write an event within a second, and denials of one kind together, a minute later.

` + serverHelp + `

With --json an array of objects goes to standard output, [] if there are none:

  seq        the number of the event in the chain
  time       (RFC 3339, UTC)
  action     as above
  actor      who did it: kind ("token", "ci", "anonymous", "operator", "server" or "unknown") and what is known of it
  subject    what it was done to: a hash, the id of a token, session or revocation, a cause, a fingerprint
  workspace, scope, replica
  details    what else there is to say
  hash       the head of the chain behind it`,
		Example: `  bezoar audit list --action upload --actor 17650000001
  bezoar audit list --workspace web --since 7d --limit 0 --json`,
		Args: noArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&q.action, "action", "", "what happened, such as upload or token.created")
	flags.StringVar(&q.workspace, "workspace", "", "the workspace that it was in")
	flags.StringVar(&q.actor, "actor", "", "an id or a name of who did it")
	flags.StringVar(&q.since, "since", "", "at that time or later: 7d, 2h, 2027-01-31")
	flags.StringVar(&q.until, "until", "", "before that time")
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

// filter reads what was asked for.
func (q *auditQuery) filter(now time.Time) (f ledger.AuditFilter, err error) {
	if strings.Contains(q.actor, trust.TokenPrefix) { // the token itself may stand for its id
		hash, err := trust.ParseToken(q.actor)
		if err != nil {
			return f, err
		}
		q.actor = hash.ID()
	}
	if slices.ContainsFunc([]string{q.action, q.workspace, q.actor, q.since, q.until}, trust.HoldsToken) {
		return f, errors.New("there is a token where an id or a name belongs (not shown)") // what is wrong is repeated below
	}
	f.Actor = q.actor
	var errs []error
	check := func(flag, value string, parse func(string) error) {
		if value == "" {
			return
		}
		if err := parse(value); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	check("action", q.action, func(s string) (err error) { f.Action, err = parseAction(s); return err })
	check("workspace", q.workspace, func(s string) (err error) { f.Workspace, err = cache.ParseWorkspace(s); return err })
	check("since", q.since, func(s string) (err error) { f.Since, err = pastTime(s, now); return err })
	check("until", q.until, func(s string) (err error) { f.Until, err = pastTime(s, now); return err })
	if q.limit < 0 {
		errs = append(errs, errors.New("--limit is 0 or more"))
	}
	return f, errors.Join(errs...)
}

// list prints page by page, so that it holds one at a time however many there are.
func (q *auditQuery) list(ctx context.Context, env *environment, service admin.Service, filter ledger.AuditFilter) error {
	left := q.limit
	if left == 0 {
		left = math.MaxInt
	}
	out := newEventsWriter(env.Stdout, q.asJSON)
	after := ""
	for {
		page, err := service.AuditEvents(ctx, filter, admin.Page{After: after, Limit: min(left, entriesPage)})
		if err != nil {
			return err
		}
		if err := out.write(page.Events); err != nil {
			return err
		}
		left -= len(page.Events)
		after = page.Next
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
		fmt.Fprintf(env.Stderr, "There is no such event in %s.\n", service.Place())
	}
	return nil
}
