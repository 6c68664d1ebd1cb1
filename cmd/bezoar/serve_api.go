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
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// openAPI makes the API of operators. It looks into the store beside the server's own way there, so that nothing that is looked at is set aside or put into
// the tier.
func (a *app) openAPI(ctx context.Context, ring *keyring.Ring, store cache.Store) (http.Handler, error) {
	finder, closeFinder, err := openFinder(ctx, a.cfg)
	if err != nil {
		return nil, err
	}
	a.atEnd(closeFinder)
	keys := ring.Derive("seal")
	local := admin.New(admin.Options{
		Ledger: a.ledger, Finder: finder, Limits: artifactLimits(a.cfg), Now: time.Now, Replica: a.replica,
		EndScope: a.endScope(store),
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

// endGrace is the time that is left of a request when the deletion of a scope breaks off: its answer says that there is more to delete.
const endGrace = 10 * time.Second

// endScope deletes what the ledger knows of a scope.
func (a *app) endScope(store cache.Store) func(context.Context, cache.Workspace, cache.Scope) (admin.DeletedScope, error) {
	return func(ctx context.Context, workspace cache.Workspace, scope cache.Scope) (out admin.DeletedScope, err error) {
		after := ledger.Cursor("")
		for {
			entries, next, err := a.ledger.Entries(ctx, ledger.Filter{Workspace: workspace, Scope: scope}, after, admin.DefaultPage)
			if err != nil {
				return out, err
			}
			for i := range entries {
				if end, ok := ctx.Deadline(); ok && time.Until(end) < endGrace {
					return out, nil
				}
				switch err := store.Delete(ctx, entries[i].Key); {
				case err == nil:
					out.Entries, out.Bytes = out.Entries+1, out.Bytes+entries[i].Record.Size
				case !errors.Is(err, cache.ErrNotExist):
					return out, err
				}
			}
			if after = next; after == "" {
				out.Complete = true
				return out, nil
			}
		}
	}
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
