// Package purge takes away what somebody should not have stored: at once on all servers, for a time into quarantine, and then for good.
//
// A purge is a filter over who made an entry, recorded in the ledger. [Rules] know those that are in force, and every server asks them of each entry that it
// would serve, wherever it comes from: storage, tier, spool or a download that is shared. So what fits is a miss everywhere within a second, however much it is
// and whether or not the ledger knows of it, and is there again as soon when the purge is undone. The [Engine] then moves the entries into quarantine, which
// frees their keys; a [Keeper] does in a server what was broken off, what came late and what is due. A [Guard] sees to it that what waits in a spool does not
// come to the bucket later.
package purge

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
)

// Records is where purges and entries are recorded. *ledger.Ledger does.
type Records interface {
	CreatePurge(ctx context.Context, p ledger.Purge) error
	FindPurge(ctx context.Context, id string) (ledger.Purge, error)
	Purges(ctx context.Context) ([]ledger.Purge, error)
	PurgesInForce(ctx context.Context) ([]ledger.Purge, error)
	PurgesVersion(ctx context.Context) (int64, error)
	MovePurge(ctx context.Context, id string, to ledger.PurgeState, now time.Time, from ...ledger.PurgeState) (ledger.Purge, error)
	ForgetPurges(ctx context.Context, now time.Time) error
	TakePurged(ctx context.Context, purge string, entries []ledger.PurgedEntry) error
	MarkPurged(ctx context.Context, purge string, entries []ledger.PurgedEntry) error
	Purged(ctx context.Context, purge string, state ledger.PurgedState, after [16]byte, limit int) ([]ledger.PurgedEntry, error)
	CountPurged(ctx context.Context, purge string) (map[ledger.PurgedState]ledger.PurgedCount, error)
	Entries(ctx context.Context, filter ledger.Filter, after ledger.Cursor, limit int) ([]cache.Entry, ledger.Cursor, error)
	Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error)
	EndLease(ctx context.Context, name, holder string) error
}

// ErrNoSelector is for an order that says nothing of what is to go: it would be all.
var ErrNoSelector = errors.New("say what is to be purged: a run, a token, an actor, a scope, a ref, a repository, a hash, or a time")

// DefaultKeep is how long entries stay in quarantine.
const DefaultKeep = 7 * 24 * time.Hour

// Order says what is to be purged.
type Order struct {
	// Filter says what goes. Without an end it takes what was made until now. The workspace alone is not enough.
	Filter ledger.Filter
	// By says who orders it, and Reason why.
	By, Reason string
	// Keep is how long entries stay in quarantine before they are deleted for good. Zero: [DefaultKeep].
	Keep time.Duration
}

// Check refuses an order that would take everything.
func (o *Order) Check() error {
	f := o.Filter
	f.Workspace, f.Until = "", time.Time{}
	if f == (ledger.Filter{}) {
		return ErrNoSelector
	}
	return nil
}

// Begin records a purge, which is in force from then on: nothing that fits it is served by any server after a second. [Engine.Work] does the rest.
func Begin(ctx context.Context, records Records, order Order, now time.Time) (ledger.Purge, error) {
	if err := order.Check(); err != nil {
		return ledger.Purge{}, err
	}
	var id [6]byte
	rand.Read(id[:]) // never fails: it ends the process instead
	now = now.UTC().Truncate(time.Millisecond)
	p := ledger.Purge{
		ID: hex.EncodeToString(id[:]), State: ledger.PurgeRunning, By: order.By, Reason: order.Reason, Filter: order.Filter,
		Created: now, Changed: now, Discard: now.Add(cmp.Or(order.Keep, DefaultKeep)),
	}
	if p.Filter.Until.IsZero() {
		p.Filter.Until = now
	}
	return p, records.CreatePurge(ctx, p)
}

// BeginUndo takes a purge back: what fits it is served again within a second, where it is still in its place, and [Engine.Work] brings the rest back.
// [ledger.ErrNoPurge]; [ledger.ErrPurgeState] if it is discarded. One that is undone already is tried again: keys that were taken may be free now.
func BeginUndo(ctx context.Context, records Records, id string, now time.Time) (ledger.Purge, error) {
	return records.MovePurge(ctx, id, ledger.PurgeUndoing, now, ledger.PurgeRunning, ledger.PurgeQuarantined, ledger.PurgeUndone)
}

// BeginDiscard lets [Engine.Work] delete for good what a purge took. [ledger.ErrNoPurge]; [ledger.ErrPurgeState] if it is undone.
func BeginDiscard(ctx context.Context, records Records, id string, now time.Time) (ledger.Purge, error) {
	return records.MovePurge(ctx, id, ledger.PurgeDiscarding, now, ledger.PurgeRunning, ledger.PurgeQuarantined)
}

// BeginResume lets [Engine.Work], here or at a server, go on with a purge, and look again for what the ledger has heard of since. [ledger.ErrNoPurge].
func BeginResume(ctx context.Context, records Records, id string, now time.Time) (ledger.Purge, error) {
	p, err := records.FindPurge(ctx, id)
	if err != nil {
		return p, err
	}
	again := map[ledger.PurgeState]ledger.PurgeState{ledger.PurgeQuarantined: ledger.PurgeRunning, ledger.PurgeDiscarded: ledger.PurgeDiscarding}
	to, over := again[p.State]
	if !over {
		return p, nil
	}
	moved, err := records.MovePurge(ctx, id, to, now, p.State)
	if errors.Is(err, ledger.ErrPurgeState) {
		return moved, nil // somebody else has begun something, which is gone on with as it is
	}
	return moved, err
}

// purgedEntry is an entry as purges note it.
func purgedEntry(e cache.Entry, state ledger.PurgedState) ledger.PurgedEntry {
	return ledger.PurgedEntry{ID: seal.GraveID(e.Key, e.Record), State: state, Entry: e}
}

// nameOf is what an entry is called in quarantine.
func nameOf(id [16]byte) string { return hex.EncodeToString(id[:]) }

// Metrics count what becomes of purged entries.
type Metrics struct{ entries *prometheus.CounterVec }

// EntriesCounter is the counter of entries by what was done with them: quarantined, restored, discarded, failed.
const EntriesCounter = "bezoar_purged_entries_total"

// NewMetrics makes them. Nil takes none.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: EntriesCounter, Help: "Entries of purges that this server worked on: quarantined, restored, discarded; failed, which is tried again.",
	}, []string{"result"})}
	for _, result := range []string{"quarantined", "restored", "discarded", "failed"} {
		m.entries.WithLabelValues(result)
	}
	if reg != nil {
		reg.MustRegister(m.entries)
	}
	return m
}

// Summary is a purge with what has become of its entries.
type Summary struct {
	ledger.Purge
	Counts map[ledger.PurgedState]ledger.PurgedCount
}

// Summarize returns a purge as it is. [ledger.ErrNoPurge].
func Summarize(ctx context.Context, records Records, id string) (Summary, error) {
	p, err := records.FindPurge(ctx, id)
	if err != nil {
		return Summary{}, err
	}
	counts, err := records.CountPurged(ctx, id)
	return Summary{p, counts}, err
}

// List returns all purges that are remembered, newest first.
func List(ctx context.Context, records Records) ([]Summary, error) {
	all, err := records.Purges(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Summary, len(all))
	for i := range all {
		counts, err := records.CountPurged(ctx, all[i].ID)
		if err != nil {
			return nil, err
		}
		out[i] = Summary{all[i], counts}
	}
	return out, nil
}
