package purge

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

// The pace of [Rules]: a purge is in force at the latest after one interval and the reading, well within a second.
const (
	rulesInterval = 250 * time.Millisecond
	rulesTimeout  = 2 * time.Second
	// rulesReload is when they are read anew although none has changed: time alone ends some.
	rulesReload = time.Hour
)

// RulesGauge is the gauge of purges that are in force.
const RulesGauge = "bezoar_purges_in_force"

// Rules are the purges that are in force, in memory. They are safe for concurrent use; [Rules.Run] keeps them up to date.
type Rules struct {
	records Records
	log     *slog.Logger
	now     func() time.Time
	current atomic.Pointer[[]ledger.Purge]
	trouble atomic.Pointer[error]

	mu      sync.Mutex // one reading at a time
	version int64
	read    time.Time
}

// LoadRules reads the purges that are in force: a server that began without them would serve what was purged. The registerer may be nil.
func LoadRules(ctx context.Context, records Records, log *slog.Logger, reg prometheus.Registerer, now func() time.Time) (*Rules, error) {
	r := &Rules{records: records, log: log, now: now}
	r.current.Store(new([]ledger.Purge))
	if err := r.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("read which purges are in force: %w", err)
	}
	if reg != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: RulesGauge, Help: "Purges that are in force: what fits them is not served.",
		}, func() float64 { return float64(len(*r.current.Load())) }))
	}
	return r, nil
}

// Find returns the purge that takes an entry, if one does. It waits for nothing. The entry's seal must be known to be good.
func (r *Rules) Find(e *cache.Entry) (purge string, found bool) {
	all := *r.current.Load()
	for i := range all {
		if all[i].Filter.Match(e) {
			return all[i].ID, true
		}
	}
	return "", false
}

// Refresh looks whether anything changed, and returns when what has is in force here.
func (r *Rules) Refresh(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, rulesTimeout)
	defer cancel()
	version, err := r.records.PurgesVersion(ctx)
	if err != nil {
		return err
	}
	now := r.now()
	if age := now.Sub(r.read); version == r.version && age >= 0 && age < rulesReload {
		return nil
	}
	all, err := r.records.PurgesInForce(ctx)
	if err != nil {
		return err
	}
	r.current.Store(&all)
	r.version, r.read = version, now
	return nil
}

// Run keeps the rules up to date until ctx ends. While the records fail, the last known ones stay in force.
func (r *Rules) Run(ctx context.Context) {
	ticker := time.NewTicker(rulesInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := r.Refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return // the end of the server was the trouble
		case err == nil:
			if r.trouble.Swap(nil) != nil {
				r.log.Info("purges can be read again")
			}
		case r.trouble.Swap(&err) == nil:
			r.log.Warn("purges cannot be read: those that are known stay in force, later ones do not hold here yet", "error", err)
		}
	}
}

// Degraded says why later purges do not hold here, or nil.
func (r *Rules) Degraded() error {
	if err := r.trouble.Load(); err != nil {
		return fmt.Errorf("later purges do not hold here yet: %w", *err)
	}
	return nil
}
