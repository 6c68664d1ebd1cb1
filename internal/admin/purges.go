package admin

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/purge"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// planGrace is the time that is left of a request when the counting of a plan ends: its answer says that there is more.
const planGrace = 10 * time.Second

// PlanPurge implements [Service].
func (a *acting) PlanPurge(ctx context.Context, asked NewPurge) (PurgePlan, error) {
	if err := a.need(trust.Viewer); err != nil {
		return PurgePlan{}, err
	}
	order, err := a.order(asked)
	if err != nil {
		return PurgePlan{}, err
	}
	part, cancel := ctx, func() {}
	if end, ok := ctx.Deadline(); ok {
		part, cancel = context.WithDeadline(ctx, end.Add(-planGrace))
	}
	defer cancel()
	plan, err := purge.NewPlan(part, purge.Known(part, a.opts.Ledger, order.Filter), order.Filter, MadeBy)
	complete := err == nil
	if err != nil && ctx.Err() == nil && part.Err() != nil {
		err = nil // what was counted until then is so
	}
	return ShowPlan(&plan, complete), err
}

// OrderPurge implements [Service]. An operator may: it can be undone, and who is on duty at night has to.
func (a *acting) OrderPurge(ctx context.Context, asked NewPurge) (Purge, error) {
	if err := a.need(trust.Operator); err != nil {
		return Purge{}, err
	}
	order, err := a.order(asked)
	if err != nil {
		return Purge{}, err
	}
	order.By, order.Keep = a.name(), a.opts.PurgeKeep
	p, err := purge.Begin(ctx, a.opts.Ledger, order, a.opts.Now())
	if err != nil {
		return Purge{}, err
	}
	return a.changed(ctx, &p, true)
}

// order reads what was asked for, within what the actor may see.
func (a *acting) order(asked NewPurge) (purge.Order, error) {
	if asked.Workspace == "" {
		asked.Workspace = string(a.actor.Workspace)
	}
	order, err := describePurge(&asked, a.opts.Now())
	if err == nil {
		_, err = a.within(order.Filter.Workspace)
	}
	return order, err
}

// name is the actor's, for people.
func (a *acting) name() string {
	p := &a.actor.Producer
	if p.TokenID != "" {
		return "token " + p.TokenName + " (" + p.TokenID + ")"
	}
	return cmp.Or(a.actor.Name, p.Subject, p.Kind, "somebody")
}

// changed puts on record that somebody changed a purge, and has it worked on.
func (a *acting) changed(ctx context.Context, p *ledger.Purge, decided bool) (Purge, error) {
	if a.opts.PurgeChanged != nil {
		a.opts.PurgeChanged(ctx)
	}
	if decided {
		if err := a.opts.Ledger.Note(context.WithoutCancel(ctx), purgeEvent(p)); err != nil {
			a.notOnRecord(err)
		}
	}
	s, err := purge.Summarize(ctx, a.opts.Ledger, p.ID)
	if err != nil {
		s = purge.Summary{Purge: *p} // it is done all the same
	}
	return ShowPurge(&s), nil
}

// notOnRecord says that something was done and the audit log does not have it: the actor gets what he asked for.
func (a *acting) notOnRecord(err error) {
	if err != nil && a.opts.NotOnRecord != nil {
		a.opts.NotOnRecord(err)
	}
}

// Purges implements [Service]. As with revocations, an actor of one workspace does not see those of all.
func (a *acting) Purges(ctx context.Context, page Page) (Purges, error) {
	if err := a.need(trust.Viewer); err != nil {
		return Purges{}, err
	}
	recorded, err := a.opts.Ledger.Purges(ctx)
	if err != nil {
		return Purges{}, err
	}
	all := make([]ledger.Purge, 0, len(recorded))
	for i := range recorded {
		if a.sees(&recorded[i]) {
			all = append(all, recorded[i])
		}
	}
	items, next, err := pageOf(all, func(p *ledger.Purge) string { return p.ID }, page)
	if err != nil {
		return Purges{}, err
	}
	out := Purges{Purges: make([]Purge, 0, len(items)), Next: next}
	for i := range items {
		counts, err := a.opts.Ledger.CountPurged(ctx, items[i].ID)
		if err != nil {
			return Purges{}, err
		}
		out.Purges = append(out.Purges, ShowPurge(&purge.Summary{Purge: items[i], Counts: counts}))
	}
	return out, nil
}

func (a *acting) sees(p *ledger.Purge) bool {
	return a.actor.Workspace == "" || p.Filter.Workspace == a.actor.Workspace
}

// Purge implements [Service].
func (a *acting) Purge(ctx context.Context, id string) (Purge, error) {
	if err := a.need(trust.Viewer); err != nil {
		return Purge{}, err
	}
	if err := a.find(ctx, id); err != nil {
		return Purge{}, err
	}
	s, err := purge.Summarize(ctx, a.opts.Ledger, id)
	return ShowPurge(&s), err
}

// find fails if there is no such purge to the actor.
func (a *acting) find(ctx context.Context, id string) error {
	p, err := a.opts.Ledger.FindPurge(ctx, id)
	if err == nil && !a.sees(&p) || errors.Is(err, ledger.ErrNoPurge) {
		return fail(NotFound, "%v: %q", ledger.ErrNoPurge, id)
	}
	return err
}

// UndoPurge implements [Service]. It brings back what somebody found to be bad, which is for admins, as the lifting of a revocation is.
func (a *acting) UndoPurge(ctx context.Context, id string) (Purge, error) {
	return a.movePurge(ctx, id, trust.Admin, true, purge.BeginUndo)
}

// DiscardPurge implements [Service]. It cannot be undone.
func (a *acting) DiscardPurge(ctx context.Context, id string) (Purge, error) {
	return a.movePurge(ctx, id, trust.Admin, true, purge.BeginDiscard)
}

// ResumePurge implements [Service]. It decides nothing.
func (a *acting) ResumePurge(ctx context.Context, id string) (Purge, error) {
	return a.movePurge(ctx, id, trust.Operator, false, purge.BeginResume)
}

func (a *acting) movePurge(ctx context.Context, id string, role trust.Role, decides bool,
	begin func(context.Context, purge.Records, string, time.Time) (ledger.Purge, error),
) (Purge, error) {
	if err := a.need(role); err != nil {
		return Purge{}, err
	}
	if err := a.find(ctx, id); err != nil {
		return Purge{}, err
	}
	p, err := begin(ctx, a.opts.Ledger, id, a.opts.Now())
	if err != nil {
		return Purge{}, err
	}
	return a.changed(ctx, &p, decides)
}
