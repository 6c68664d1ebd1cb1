package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/purge"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// purgeRun is a purge at work, or the plan of one.
type purgeRun struct {
	*purgeOrder
	env     *environment
	target  *target
	service admin.Service
	records *ledger.Ledger // nil at a server
	shelf   *purgeStore    // nil without --scan
}

func (r *purgeRun) run(ctx context.Context, filter ledger.Filter) (err error) {
	if r.scan {
		if r.shelf, err = openPurgeStore(ctx, r.target.cfg); err != nil {
			return err
		}
		defer r.shelf.close()
	}
	if !r.yes {
		plan, err := r.plan(ctx, filter)
		if err != nil {
			return flagError(err)
		}
		return showPlan(r.env, &plan, r.scan, r.form.asJSON)
	}
	revoked, err := r.revokeFirst(ctx, &filter)
	if err != nil {
		return err
	}
	var plan admin.PurgePlan
	// The report of JSON tells what there was while it is still known: a server moves it at once.
	if r.form.asJSON && r.records == nil {
		if plan, err = r.plan(ctx, filter); err != nil {
			return fmt.Errorf("nothing is purged yet: %w", flagError(err))
		}
	}
	p, err := r.service.OrderPurge(ctx, admin.AskPurge(&filter, r.reason))
	if err != nil {
		return flagError(err)
	}
	fmt.Fprintf(r.env.Stderr, "Purge %s is in force: within a second no server serves what fits it.\n", p.ID)
	if r.form.asJSON && r.records != nil {
		if plan, err = r.plan(ctx, filter); err != nil {
			return err
		}
	}
	done, err := finishPurge(ctx, r.env, r.target, r.service, r.records, r.shelf, p)
	if err != nil {
		return fmt.Errorf("purge %s is in force, but not all entries are in quarantine yet; servers go on with it, and so does 'bezoar purge resume %s': %w", p.ID, p.ID, err)
	}
	return showPurged(r.env, &plan, &done, revoked, r.form.asJSON)
}

// plan counts what would go.
func (r *purgeRun) plan(ctx context.Context, filter ledger.Filter) (admin.PurgePlan, error) {
	if r.shelf == nil {
		return r.service.PlanPurge(ctx, admin.AskPurge(&filter, ""))
	}
	filter.Until = cmp.Or(filter.Until, time.Now())
	plan, err := purge.NewPlan(ctx, r.shelf.listing(ctx, filter.Workspace, r.env), filter, admin.MadeBy)
	return admin.ShowPlan(&plan, true), err
}

// revokeFirst revokes what the order names, if that was asked for, and says what.
func (r *purgeRun) revokeFirst(ctx context.Context, f *ledger.Filter) (string, error) {
	if !r.revoke {
		return "", nil
	}
	if f.Token != "" {
		change, err := r.service.RevokeToken(ctx, f.Token, f.Workspace)
		if err != nil {
			return "", fmt.Errorf("nothing is purged yet: %w", err)
		}
		return "token " + change.Token.Name + " (" + change.Token.ID + ")", nil
	}
	// What is narrower stops less.
	kind, value := trust.RevokeRepository, f.Repository
	switch {
	case f.Run != "":
		kind, value = trust.RevokeRun, f.Run
	case f.Actor != "":
		kind, value = trust.RevokeActor, f.Actor
	}
	change, err := r.service.Revoke(ctx, admin.NewRevocation{Kind: string(kind), Value: value, Workspace: string(f.Workspace), Reason: r.reason})
	if err != nil {
		return "", fmt.Errorf("nothing is purged yet: %w", err)
	}
	return describeHits(&change.Revocation), nil
}

// finishPurge brings a purge as far as its state says: by moving its entries, or by waiting for the server that does.
func finishPurge(ctx context.Context, env *environment, t *target, service admin.Service, records *ledger.Ledger, shelf *purgeStore, p admin.Purge) (admin.Purge, error) {
	if records == nil {
		return waitForPurge(ctx, env, service, p)
	}
	if err := workOnPurge(ctx, t.cfg, records, shelf, p.ID); err != nil {
		return p, err
	}
	return service.Purge(ctx, p.ID)
}

// workOnPurge moves the entries of a purge. A shelf that is open already is listed, too.
func workOnPurge(ctx context.Context, cfg *config.Config, records *ledger.Ledger, shelf *purgeStore, id string) error {
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
		p, err := records.FindPurge(ctx, id)
		if err != nil {
			return err
		}
		if _, err := engine.Take(ctx, &p, shelf.listing(ctx, p.Filter.Workspace, nil)); err != nil {
			return err
		}
	}
	return engine.Work(ctx, id)
}

const (
	// pollEvery is how often a server is asked how far it is, and tellEvery how often that is told.
	pollEvery = 500 * time.Millisecond
	tellEvery = 5 * time.Second
	// stalled is how long a server may get no further, or not answer, until the command gives up waiting for it. The work goes on.
	stalled = 3 * time.Minute
)

// errStalled says that waiting was given up.
var errStalled = errors.New("the server got no further for three minutes; it goes on trying, and its log says what is in its way")

// waitForPurge waits until a server has done what was begun, and tells how far it is.
func waitForPurge(ctx context.Context, env *environment, service admin.Service, p admin.Purge) (admin.Purge, error) {
	told := time.Now()
	err := waitFurther(ctx, func() (done bool, far string, err error) {
		if p.Settled() {
			return true, "", nil
		}
		now, err := service.Purge(ctx, p.ID)
		if err != nil {
			return false, "", err
		}
		if p = now; !p.Settled() && time.Since(told) >= tellEvery {
			told = time.Now()
			fmt.Fprintf(env.Stderr, "Purge %s is %s: %s.\n", p.ID, p.State, countStates(p.Entries))
		}
		return p.Settled(), p.State + countStates(p.Entries), nil
	})
	return p, err
}

// waitFurther asks how far something at a server is until it is done. An answer that fails is asked for again, unless it is a refusal.
func waitFurther(ctx context.Context, ask func() (done bool, far string, err error)) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	last, moved := "", time.Now()
	for {
		done, far, err := ask()
		switch {
		case done:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && admin.CodeOf(err) != admin.Unavailable && admin.CodeOf(err) != "busy":
			return err
		case err == nil && far != last:
			last, moved = far, time.Now()
		case time.Since(moved) >= stalled:
			return errors.Join(errStalled, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
