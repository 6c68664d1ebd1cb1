package ledger

import (
	"context"
	"database/sql"
	"errors"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
)

// beyond counts a divergence that is not kept.
func (f *divergenceFinder) beyond(ctx context.Context, workspace cache.Workspace, scope cache.Scope) error {
	if _, err := f.tx.ExecContext(ctx, `
		INSERT INTO divergence_floods (workspace, scope, count, since, last) VALUES ($1, $2, 1, $3, $3)
		ON CONFLICT (workspace, scope) DO UPDATE SET count = divergence_floods.count + 1, last = excluded.last`,
		string(workspace), f.statements().scope(scope), f.now.UnixMilli()); err != nil {
		return err
	}
	for i := range f.found.Beyond {
		if b := &f.found.Beyond[i]; b.Workspace == workspace && b.Scope == scope {
			b.Count++
			return nil
		}
	}
	f.found.Beyond = append(f.found.Beyond, divergence.Flood{Workspace: workspace, Scope: scope, Count: 1, Since: f.now, Last: f.now})
	_, err := f.tx.ExecContext(ctx, `
		DELETE FROM divergence_floods WHERE (workspace, scope) IN (
			SELECT workspace, scope FROM divergence_floods ORDER BY last DESC, workspace, scope LIMIT 100 OFFSET $1)`, f.bounds.floods)
	return err
}

// makeRoom has the scope that has most of a workspace's divergences give up its oldest, those that recur before others, if there are too many: who fills many of
// them pushes out his own. One that nobody has compared yet is counted.
func (f *divergenceFinder) makeRoom(ctx context.Context, workspace cache.Workspace) error {
	var all int
	err := f.tx.QueryRowContext(ctx, `SELECT count(*) FROM divergences WHERE workspace = $1`, string(workspace)).Scan(&all)
	if err != nil || all < f.bounds.workspace {
		return err
	}
	var (
		scope cache.Scope
		level string
	)
	err = f.tx.QueryRowContext(ctx, `
		DELETE FROM divergences WHERE id = (
			SELECT id FROM divergences WHERE workspace = $1 AND scope = (
				SELECT scope FROM divergences WHERE workspace = $1 GROUP BY scope ORDER BY count(*) DESC, min(id) LIMIT 1)
			ORDER BY CASE level WHEN 'recurring' THEN 0 WHEN 'first' THEN 1 ELSE 2 END, id LIMIT 1)
		RETURNING scope, level`, string(workspace)).Scan(&scope, &level)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil || level != string(divergence.Pending):
		return err
	}
	return f.beyond(ctx, workspace, scope)
}

// forgetOld forgets a few that are too old. Ids grow with time.
func (f *divergenceFinder) forgetOld(ctx context.Context) error {
	_, err := f.tx.ExecContext(ctx, `
		DELETE FROM divergences WHERE found < $1 AND id IN (SELECT id FROM divergences ORDER BY id LIMIT $2)`,
		f.now.Add(-f.bounds.age).UnixMilli(), f.found.New+pruneStep)
	return err
}
