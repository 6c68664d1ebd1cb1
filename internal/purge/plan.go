package purge

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

const (
	// maxSample is how many entries a plan shows.
	maxSample = 10
	// planPage is how many entries are read at once to be counted.
	planPage = 1000
)

// Plan is what a purge would take.
type Plan struct {
	Entries, Bytes int64
	// Scopes and Producers say where the entries are and who made them, those with most first.
	Scopes, Producers []Share
	// Sample are some of them.
	Sample []cache.Entry
}

// Share is a part of a plan.
type Share struct {
	Name           string
	Entries, Bytes int64
}

// NewPlan counts the entries of a listing that fit. Producers are told apart by what name says of them. An error of the listing does not end it and is returned
// in the end.
func NewPlan(ctx context.Context, listing iter.Seq2[cache.Entry, error], filter ledger.Filter, name func(*cache.Producer) string) (Plan, error) {
	var p Plan
	var failed error
	scopes, producers := make(map[string]*Share), make(map[string]*Share)
	add := func(to map[string]*Share, name string, bytes int64) {
		s := to[name]
		if s == nil {
			s = &Share{Name: name}
			to[name] = s
		}
		s.Entries++
		s.Bytes += bytes
	}
	for entry, err := range listing {
		if ctx.Err() != nil {
			return p, ctx.Err()
		}
		if err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		if !filter.Match(&entry) {
			continue
		}
		size := entry.Record.Size
		p.Entries++
		p.Bytes += size
		add(scopes, string(entry.Key.Workspace)+" "+string(entry.Key.Scope), size)
		add(producers, name(&entry.Record.Producer), size)
		if len(p.Sample) < maxSample {
			p.Sample = append(p.Sample, entry)
		}
	}
	p.Scopes, p.Producers = sorted(scopes), sorted(producers)
	return p, cmp.Or(failed, ctx.Err()) // a listing may end early without a word
}

func sorted(shares map[string]*Share) []Share {
	all := make([]Share, 0, len(shares))
	for _, name := range slices.Sorted(maps.Keys(shares)) {
		all = append(all, *shares[name])
	}
	slices.SortStableFunc(all, func(a, b Share) int { return cmp.Compare(b.Entries, a.Entries) })
	return all
}

// Known lists what the ledger knows of entries that fit, newest first.
func Known(ctx context.Context, records Records, filter ledger.Filter) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		for after := ledger.Cursor(""); ; {
			entries, next, err := records.Entries(ctx, filter, after, planPage)
			if err != nil {
				yield(cache.Entry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			after = next
		}
	}
}
