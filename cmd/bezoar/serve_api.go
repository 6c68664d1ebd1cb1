package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/api"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/retention"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// openAPI makes the API of operators. It looks into the store beside the server's own way there, so that nothing that is looked at is set aside or put into
// the tier.
func (a *app) openAPI(ctx context.Context, ring *keyring.Ring) (http.Handler, error) {
	finder, closeFinder, err := openFinder(ctx, a.cfg)
	if err != nil {
		return nil, err
	}
	a.atEnd(closeFinder)
	keys := ring.Derive("seal")
	local := admin.New(admin.Options{
		Ledger: a.ledger, Finder: finder, Limits: artifactLimits(a.cfg), Now: time.Now, Replica: a.replica,
		EndScope: a.endScope, Collector: a.retention, AuditKeys: auditKeys(ring),
		PurgeKeep: a.cfg.PurgeQuarantine, PurgeChanged: a.purgeChanged,
		NotOnRecord: func(err error) {
			a.log.Warn("something was done by way of the API and could not be put into the audit log", "error", err)
		},
		Seal: func(key cache.Key, record cache.Record) (admin.Seal, error) {
			return admin.JudgeSeal(keys, key, record), nil
		},
	})
	return api.New(api.Options{
		Auth: a.auth, As: local.As, Status: a.status, Log: a.log, Registerer: a.registry,
		Policy: func() *policy.Policy {
			if a.policy == nil {
				return nil
			}
			return a.policy.current.Load()
		},
	}), nil
}

// purgeChanged puts a purge in force here before its order is answered, and has its entries worked on. Other servers hear of it from the ledger, as of any.
func (a *app) purgeChanged(ctx context.Context) {
	if err := a.purges.Refresh(ctx); err != nil {
		a.log.Warn("a purge was ordered here and holds here as soon as the ledger can be read again", "error", err)
	}
	a.purges.Kick()
}

// endGrace is the time that is left of a request when the deletion of a scope breaks off: its answer says that there is more to delete.
const endGrace = 10 * time.Second

// endScope deletes what the ledger knows of a scope, and nothing that is uploaded meanwhile in the place of it.
func (a *app) endScope(ctx context.Context, workspace cache.Workspace, scope cache.Scope) (admin.DeletedScope, error) {
	held, err := a.ledger.HeldBy(ctx, workspace, scope)
	if errors.Is(err, cache.ErrNotExist) {
		return admin.DeletedScope{Complete: true}, nil
	}
	if err != nil {
		return admin.DeletedScope{}, err
	}
	part, cancel := ctx, func() {}
	if end, ok := ctx.Deadline(); ok {
		part, cancel = context.WithDeadline(ctx, end.Add(-endGrace))
	}
	defer cancel()
	report, err := retention.EndScope(part, a.ledger, a.exact, held, nil)
	out := admin.DeletedScope{Entries: report.Entries, Bytes: report.Bytes}
	if part.Err() != nil && ctx.Err() == nil {
		return out, nil // there is more to delete
	}
	out.Complete = err == nil && report.Other+report.Failed == 0
	return out, err
}

// status is how the server is.
func (a *app) status() admin.Status {
	s := admin.Status{
		Version: version(), State: admin.Healthy, Causes: []admin.Cause{}, Workspaces: a.auth.Workspaces(), Store: a.place, Ledger: a.ledger.Place(),
	}
	for name, text := range a.causes.All() {
		s.Causes = append(s.Causes, admin.Cause{Name: name, Degraded: text != "", Detail: text})
		if text != "" {
			s.State = admin.Degraded
		}
	}
	return s
}
