package admin

import (
	"context"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// MaxFloods bounds the floods that a page of divergences tells of.
const MaxFloods = 100

// Divergence is a hash under which main and somebody else made different things.
type Divergence struct {
	ID         int64                 `json:"id"`
	Workspace  cache.Workspace       `json:"workspace"`
	Hash       cache.Hash            `json:"hash"`
	Scope      string                `json:"scope"`
	Found      time.Time             `json:"found"`
	Level      divergence.Level      `json:"level"`
	Times      int                   `json:"times"`
	Since      time.Time             `json:"since"`
	Trusted    cache.Record          `json:"trusted"`
	Other      cache.Record          `json:"other"`
	Comparison divergence.Comparison `json:"comparison"`
}

// ShowDivergence makes a divergence fit to be shown.
func ShowDivergence(d *divergence.Divergence) Divergence {
	out := Divergence{
		ID: d.ID, Workspace: d.Workspace, Hash: d.Hash, Scope: string(d.Scope), Found: d.Found, Level: d.Level, Times: d.Times, Since: d.Since,
		Trusted: d.Trusted, Other: d.Other, Comparison: d.Comparison,
	}
	if out.Comparison.Members == nil {
		out.Comparison.Members = []divergence.Member{} // and not null
	}
	return out
}

// Flood says that a scope had more divergences than are kept.
type Flood struct {
	Workspace cache.Workspace `json:"workspace"`
	Scope     string          `json:"scope"`
	Count     int64           `json:"count"`
	Since     time.Time       `json:"since"`
	Last      time.Time       `json:"last"`
}

// Divergences is a page of divergences, with the scopes that had more than are kept: the last [MaxFloods] of them.
type Divergences struct {
	Divergences []Divergence `json:"divergences"`
	Floods      []Flood      `json:"floods"`
	Next        string       `json:"next"`
}

// Divergences implements [Service].
func (a *acting) Divergences(ctx context.Context, filter ledger.DivergenceFilter, page Page) (Divergences, error) {
	if err := a.need(trust.Viewer); err != nil {
		return Divergences{}, err
	}
	var err error
	if filter.Workspace, err = a.within(filter.Workspace); err != nil {
		return Divergences{}, err
	}
	found, next, err := a.opts.Ledger.Divergences(ctx, filter, ledger.Cursor(page.After), page.limit())
	if err != nil {
		return Divergences{}, err
	}
	floods, err := a.opts.Ledger.DivergenceFloods(ctx, filter.Workspace)
	if err != nil {
		return Divergences{}, err
	}
	out := Divergences{Divergences: make([]Divergence, 0, len(found)), Floods: []Flood{}, Next: string(next)}
	for i := range found {
		out.Divergences = append(out.Divergences, ShowDivergence(&found[i]))
	}
	for _, f := range floods {
		if (filter.Scope == "" || filter.Scope == f.Scope) && !f.Last.Before(filter.Since) && len(out.Floods) < MaxFloods {
			out.Floods = append(out.Floods, Flood{f.Workspace, string(f.Scope), int64(f.Count), f.Since, f.Last})
		}
	}
	return out, nil
}

// Divergence implements [Service].
func (a *acting) Divergence(ctx context.Context, id int64) (Divergence, error) {
	if err := a.need(trust.Viewer); err != nil {
		return Divergence{}, err
	}
	d, err := a.opts.Ledger.Divergence(ctx, id)
	if err != nil {
		return Divergence{}, err
	}
	if a.actor.Workspace != "" && d.Workspace != a.actor.Workspace {
		return Divergence{}, fail(NotFound, "%v: %d; they are kept for a time and in a number that are bounded", ledger.ErrNoDivergence, id)
	}
	return ShowDivergence(&d), nil
}
