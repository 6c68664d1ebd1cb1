package purge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
)

const (
	// keeperInterval is how often a server looks for work.
	keeperInterval = 30 * time.Second
	// For an hour what came late is looked for each time, and then each hour: a spool may have been without its bucket, or off.
	lateSoon = time.Hour
	lateEach = time.Hour
)

// Keeper is a server's part: it hides what is purged, and works on purges in the background, one server at a time.
type Keeper struct {
	*Rules
	engine  *Engine
	log     *slog.Logger
	kick    chan struct{}
	trouble atomic.Pointer[error]
	late    map[string]time.Time // when it was last looked for what came late; only Run's goroutine touches it
}

var _ seal.Purges = (*Keeper)(nil)

// NewKeeper makes one. [Keeper.Run] does the work.
func NewKeeper(rules *Rules, engine *Engine, log *slog.Logger) *Keeper {
	return &Keeper{Rules: rules, engine: engine, log: log, kick: make(chan struct{}, 1), late: make(map[string]time.Time)}
}

// Engine returns what moves entries.
func (k *Keeper) Engine() *Engine { return k.engine }

// Kick has purges looked at now: after one was begun, undone or discarded by way of this server. It waits for nothing.
func (k *Keeper) Kick() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// Purged implements [seal.Purges].
func (k *Keeper) Purged(entry *cache.Entry) bool {
	_, found := k.Find(entry)
	return found
}

// Clear implements [seal.Purges]: the entry goes into quarantine before its turn, because its key is wanted.
func (k *Keeper) Clear(ctx context.Context, entry *cache.Entry) error {
	purge, found := k.Find(entry)
	if !found {
		return nil
	}
	taken := purgedEntry(*entry, ledger.PurgedFound)
	if err := k.records.TakePurged(ctx, purge, []ledger.PurgedEntry{taken}); err != nil {
		return err
	}
	to, err := k.engine.quarantine(ctx, &taken)
	if err != nil {
		return err
	}
	taken.State = to
	return k.records.MarkPurged(ctx, purge, []ledger.PurgedEntry{taken})
}

// Degraded says why later purges do not hold here, or those that do are not worked on, or nil.
func (k *Keeper) Degraded() error {
	err := k.Rules.Degraded()
	if trouble := k.trouble.Load(); trouble != nil {
		err = errors.Join(err, fmt.Errorf("a purge holds, but its entries cannot be moved: %w", *trouble))
	}
	return err
}

// Run keeps the rules up to date and works on purges until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	var rules sync.WaitGroup
	rules.Go(func() { k.Rules.Run(ctx) })
	defer rules.Wait()
	ticker := time.NewTicker(keeperInterval)
	defer ticker.Stop()
	for kicked := true; ; { // after a crash there is work
		k.look(ctx, kicked)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			kicked = false
		case <-k.kick:
			kicked = true
		}
	}
}

// look works on all purges. Of several servers one does; a kick is for this one.
func (k *Keeper) look(ctx context.Context, kicked bool) {
	mine, err := k.records.Lease(ctx, "purges", k.engine.holder, 2*keeperInterval)
	if err == nil && (mine || kicked) {
		err = k.workOnAll(ctx)
	}
	if ctx.Err() != nil {
		return // the end of the server was the trouble
	}
	if err == nil {
		k.trouble.Store(nil)
		return
	}
	k.trouble.Store(&err)
}

func (k *Keeper) workOnAll(ctx context.Context) error {
	if err := k.records.ForgetPurges(ctx, k.now()); err != nil {
		return err
	}
	all, err := k.records.Purges(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for i := range all {
		err := k.engine.hold(ctx, all[i].ID, false, func(ctx context.Context) error { return k.workOn(ctx, all[i].ID) })
		if err != nil && !errors.Is(err, errBusy) && !errors.Is(err, ledger.ErrNoPurge) {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(errs...)
}

// workOn does what a purge needs. Its lease is held, so that its state is that of now.
func (k *Keeper) workOn(ctx context.Context, id string) error {
	p, err := k.records.FindPurge(ctx, id)
	if err != nil {
		return err
	}
	now := k.now()
	due := !now.Before(p.Discard)
	switch p.State {
	case ledger.PurgeQuarantined:
		if due {
			if p, err = BeginDiscard(ctx, k.records, id, now); err != nil {
				return err
			}
			k.log.Info("the time in quarantine is over: what a purge took is deleted for good", "purge", id)
		}
		if p.State == ledger.PurgeQuarantined && !k.isLate(&p, now) {
			return k.ifAny(ctx, &p, ledger.PurgedFound)
		}
	case ledger.PurgeUndone:
		if due {
			if err := k.engine.empty(ctx, &p, ledger.PurgedOccupied); err != nil {
				return err
			}
		}
		return k.ifAny(ctx, &p, ledger.PurgedFound, ledger.PurgedHeld)
	case ledger.PurgeDiscarded:
		if !k.isLate(&p, now) {
			return k.ifAny(ctx, &p, ledger.PurgedFound, ledger.PurgedHeld)
		}
	}
	if err := k.engine.work(ctx, id); err != nil {
		return err
	}
	if p.State == ledger.PurgeRunning || p.State == ledger.PurgeUndoing || p.State == ledger.PurgeDiscarding {
		k.log.Info("this server has gone on with a purge", "purge", id, "it_was", string(p.State))
	}
	return nil
}

// ifAny works on a purge if one of its entries is in one of the states, as after a crash or a spool that was late.
func (k *Keeper) ifAny(ctx context.Context, p *ledger.Purge, states ...ledger.PurgedState) error {
	for _, state := range states {
		some, err := k.records.Purged(ctx, p.ID, state, [16]byte{}, 1)
		if err != nil {
			return err
		}
		if len(some) > 0 {
			return k.engine.work(ctx, p.ID)
		}
	}
	return nil
}

// isLate says whether it is time to look for entries that the ledger heard of late.
func (k *Keeper) isLate(p *ledger.Purge, now time.Time) bool {
	if since := now.Sub(k.late[p.ID]); now.Sub(p.Created) >= lateSoon && since >= 0 && since < lateEach {
		return false
	}
	k.late[p.ID] = now
	return true
}
