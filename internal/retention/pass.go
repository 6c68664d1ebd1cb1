package retention

import (
	"context"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// scopesPage is how many scopes are read from the ledger at once.
const scopesPage = 100

// pass is one look at the store, and what is done about it.
type pass struct {
	remover
	limits    func(cache.Workspace) Limits
	disk      Disk
	workspace cache.Workspace // the only one that is looked at; empty: all, and the disk
	now       time.Time
	since     time.Time // nothing counts as unused for longer than since then
	ages      bool      // whether ages are believed
	waited    bool      // an age would have been looked at, if it were believed
	lacking   int64
}

// holding is a scope and what is left of it.
type holding struct {
	Scope
	trusted bool
}

// run goes through the bounds, those of a scope alone first. What one of them took, the next one does not count.
func (p *pass) run(ctx context.Context) error {
	held, err := p.held(ctx)
	if err != nil {
		return err
	}
	byWorkspace := make(map[cache.Workspace][]*holding)
	var trusted, others []*holding
	for _, h := range held {
		if err := p.scope(ctx, h); err != nil {
			return err
		}
		if h.trusted {
			trusted = append(trusted, h)
			continue
		}
		others = append(others, h)
		byWorkspace[h.Workspace] = append(byWorkspace[h.Workspace], h)
	}
	for workspace, others := range byWorkspace {
		if most := p.limits(workspace).UntrustedTotal; most > 0 {
			if err := p.pay(ctx, others, total(others)-most, Untrusted); err != nil {
				return err
			}
		}
	}
	if p.workspace != "" {
		return nil
	}
	return p.makeRoom(ctx, trusted, others)
}

// held reads what scopes hold.
func (p *pass) held(ctx context.Context) (all []*holding, err error) {
	for after := int64(0); ; {
		page, err := p.ledger.Held(ctx, after, scopesPage)
		if err != nil {
			return nil, fmt.Errorf("read what scopes hold: %w", err)
		}
		for _, s := range page {
			if p.workspace == "" || s.Workspace == p.workspace {
				all = append(all, &holding{s, s.Scope == cache.Trusted})
			}
		}
		if len(page) < scopesPage {
			return all, nil
		}
		after = page[len(page)-1].ID
		if err := p.turn(ctx); err != nil {
			return nil, err
		}
	}
}

// scope keeps the bounds of one scope.
func (p *pass) scope(ctx context.Context, h *holding) error {
	limits := p.limits(h.Workspace)
	ages, most := limits.Others, limits.PerScope
	if h.trusted {
		ages, most = limits.Trusted, limits.TrustedBytes
	}
	if ages.MaxAge > 0 && !p.ages {
		p.waited = true
	} else if ages.MaxAge > 0 {
		if err := p.remove(ctx, h, Query{Order: ByAge, Before: p.now.Add(-ages.MaxAge)}, everything, Age); err != nil {
			return err
		}
	}
	if ages.MaxUnused > 0 {
		if err := p.removeUnused(ctx, h, ages.MaxUnused, everything, Unused); err != nil {
			return err
		}
	}
	if most > 0 && h.Bytes > most {
		return p.removeUnused(ctx, h, Spare, h.Bytes-most, Quota)
	}
	return nil
}

// pay takes need bytes from several scopes.
func (p *pass) pay(ctx context.Context, from []*holding, need int64, reason Reason) error {
	if need <= 0 {
		return nil
	}
	bytes := make([]int64, len(from))
	for i, h := range from {
		bytes[i] = h.Bytes
	}
	for i, share := range shares(bytes, need) {
		if share > 0 {
			if err := p.removeUnused(ctx, from[i], Spare, share, reason); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeRoom keeps the bound of the disk. Trusted scopes pay what would be too much if all others were empty, and not what could not be taken from those.
// Nor do they pay for uploads to others that are under way: whoever begins uploads and does not end them could have any of their entries go.
func (p *pass) makeRoom(ctx context.Context, trusted, others []*holding) error {
	excess, unpaid, err := p.excess(total(trusted) + total(others))
	if err != nil || excess <= 0 {
		return err
	}
	untrusted := total(others)
	if err := p.pay(ctx, others, min(excess, untrusted), DiskFull); err != nil {
		return err
	}
	if err := p.pay(ctx, trusted, excess-unpaid-untrusted, DiskFull); err != nil {
		return err
	}
	p.lacking, _, err = p.excess(total(trusted) + total(others))
	return err
}

// excess is how many bytes are too many, and how many of them only because of uploads to untrusted scopes that are under way.
func (p *pass) excess(bytes int64) (excess, unfinished int64, err error) {
	if p.disk.MaxBytes > 0 {
		excess = max(0, bytes-p.disk.MaxBytes)
	}
	if p.disk.MinFree <= 0 || p.disk.Free == nil {
		return excess, 0, nil
	}
	// Uploads begin and end meanwhile. Those count that were there before or after.
	before, err := p.unfinished()
	if err != nil {
		return 0, 0, err
	}
	free, err := p.disk.Free()
	if err != nil {
		return 0, 0, fmt.Errorf("ask how much room the disk has: %w", err)
	}
	after, err := p.unfinished()
	if err != nil {
		return 0, 0, err
	}
	if p.dryRun {
		free += p.bytes
	}
	lacking := p.disk.MinFree - free
	without := max(excess, lacking-max(before, after))
	excess = max(excess, lacking)
	return excess, excess - without, nil
}

func (p *pass) unfinished() (int64, error) {
	if p.disk.Unfinished == nil {
		return 0, nil
	}
	n, err := p.disk.Unfinished()
	if err != nil {
		return 0, fmt.Errorf("ask how much room uploads under way take: %w", err)
	}
	return n, nil
}

func total(all []*holding) (bytes int64) {
	for _, h := range all {
		bytes += h.Bytes
	}
	return bytes
}

// removeUnused takes the least recently used entries of a scope, as far as they are unused for so long for sure.
func (p *pass) removeUnused(ctx context.Context, h *holding, unused time.Duration, need int64, reason Reason) error {
	before := p.now.Add(-unused - Granularity)
	if !before.After(p.since) {
		return nil // nobody knows that any is
	}
	return p.remove(ctx, h, Query{Order: ByUse, Before: before}, need, reason)
}
