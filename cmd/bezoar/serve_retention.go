package main

import (
	"context"
	"errors"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/retention"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/used"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// keepBounds puts what sees a full disk on top of a store, and makes what removes entries from it: exact, the part of the store that can delete what is
// meant and nothing else.
func (a *app) keepBounds(store cache.Store, exact retention.Store) cache.Store {
	a.exact = exact
	a.retention = retention.New(retention.Options{
		Ledger: a.ledger, Store: exact, Limits: a.limits, Disk: diskBounds(a.cfg, a.dir),
		Replica: a.replica, Logger: a.log, Registerer: a.registry, Now: time.Now,
		Done: func(_ context.Context, report retention.Report) {
			event := admin.CollectedEvent(&report, "")
			event.Actor, event.Replica = a.serverActor(), a.replica
			a.audit.Note(event)
		},
	})
	a.causes.Add("retention", a.retention.Degraded)
	if a.dir == nil {
		return store
	}
	return a.retention.Over(store)
}

// noteUses belongs on top of all else, so that what comes from memory or a tier counts.
func (a *app) noteUses(store cache.Store) cache.Store {
	uses := used.Start(a.ledger, used.Options{Granularity: retention.Granularity, Logger: a.log, Registerer: a.registry, Now: time.Now})
	a.atEnd(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), recordingEnd)
		defer cancel()
		if err := uses.Close(ctx); err != nil {
			a.log.Warn("the last uses of entries are not noted", "error", err)
		}
		return nil
	})
	a.causes.Add("uses", uses.Degraded)
	return uses.Over(store)
}

// limits are those that the policy in force has for a workspace. Without a policy there are none.
func (a *app) limits(workspace cache.Workspace) retention.Limits {
	if a.policy == nil {
		return retention.Limits{}
	}
	return policyLimits(a.policy.current.Load(), workspace)
}

func policyLimits(p *policy.Policy, workspace cache.Workspace) retention.Limits {
	s, ok := p.Settings(workspace)
	if !ok {
		return retention.Limits{}
	}
	return retention.Limits{
		Trusted:      retention.Ages(s.Trusted),
		Others:       retention.Ages(s.Others),
		TrustedBytes: s.Quota.Trusted, PerScope: s.Quota.PerScope, UntrustedTotal: s.Quota.UntrustedTotal,
	}
}

// diskBounds are those of the configuration.
func diskBounds(cfg *config.Config, dir *fs.Store) retention.Disk {
	d := retention.Disk{MaxBytes: int64(cfg.MaxStoreSize)}
	if dir == nil {
		return d
	}
	if _, err := dir.Room(); errors.Is(err, errors.ErrUnsupported) {
		return d
	}
	d.MinFree, d.Free, d.Unfinished = int64(cfg.MinFree), dir.Room, dir.Unfinished
	return d
}
