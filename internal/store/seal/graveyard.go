package seal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// GraveRecords keep what was buried for other servers, and beyond the end of this one. *ledger.Ledger does.
type GraveRecords interface {
	// Bury records ids as deleted at a time, and forgets some of those that are older than forget says, for untrusted ones and for trusted
	// ones. It may be called again with the same ids.
	Bury(ctx context.Context, ids [][16]byte, at time.Time, forget [2]time.Time) error
	// Buried calls each with at most limit of what was recorded after number after, 0 being before all, and returns the number of the last one, or
	// after itself. Nothing may become visible later with a lower number than what was seen.
	Buried(ctx context.Context, after int64, limit int, each func(id [16]byte, at time.Time)) (last int64, err error)
}

// Defaults of [GraveyardOptions].
const (
	// DefaultKeepGraves is a year and a bit: with a new key each year, and the old one removed, nothing that is forgotten could be put back.
	DefaultKeepGraves = 400 * 24 * time.Hour
	// DefaultMaxGraves is for each of two kinds, trusted and not. A million of them take some 42 MB.
	DefaultMaxGraves = 2_000_000
)

// GraveyardOptions of a [Graveyard]. The zero value will do.
type GraveyardOptions struct {
	// Keep is how long graves are kept: they would become ever more otherwise, and each is a row on the disk and some bytes in memory. Zero: [DefaultKeepGraves].
	Keep time.Duration
	// Max bounds the graves of trusted entries, and on their own those of all others. Beyond it the oldest of the kind are
	// forgotten early, but for those of today. Zero: [DefaultMaxGraves].
	Max int
	// Logger is told when records fail and when they work again. Nil: nobody is.
	Logger *slog.Logger
	// Registerer takes the gauge of how many graves there are. Nil: nothing is counted.
	Registerer prometheus.Registerer
	// Now is the clock. Nil: [time.Now].
	Now func() time.Time
}

// GraveCount is the gauge of graves that a server holds in memory.
const GraveCount = "bezoar_graves"

// The pace of a [Graveyard].
const (
	graveInterval = time.Second
	graveTimeout  = 2 * time.Second
	sweepInterval = time.Hour
	// graveStep is how many graves are read at once, burialStep how many are written at once.
	graveStep  = 10_000
	burialStep = 1000
	// maxUnrecorded bounds what waits for records that fail: 16 MB.
	maxUnrecorded = 1 << 20
)

// ErrUnrecorded says that something is buried for this server, and not recorded yet.
var ErrUnrecorded = errors.New("the deletion is not recorded yet")

// Graveyard is [Graves] in memory, recorded elsewhere. It is safe for concurrent use; [Graveyard.Run] keeps it up to date.
type Graveyard struct {
	records GraveRecords
	opts    GraveyardOptions
	log     *slog.Logger
	graves  graveSet
	running atomic.Bool
	trouble atomic.Pointer[error]
	forget  atomic.Pointer[[2]time.Time] // what is older is forgotten, by kind

	// Only New's and Run's goroutine touches these.
	last  int64     // number of the last grave that was read
	swept time.Time // when old graves were last forgotten
	short bool      // said that Max is reached

	mu         sync.Mutex
	unrecorded [][16]byte
	lost       int // those beyond maxUnrecorded
}

var _ Graves = (*Graveyard)(nil)

// NewGraveyard reads all graves. A million take about a second: a server that began without them would serve, for that
// long, what somebody put back. Its error says that they cannot be read.
func NewGraveyard(ctx context.Context, records GraveRecords, options GraveyardOptions) (*Graveyard, error) {
	if options.Keep <= 0 {
		options.Keep = DefaultKeepGraves
	}
	if options.Max <= 0 {
		options.Max = DefaultMaxGraves
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	g := &Graveyard{records: records, opts: options, log: options.Logger}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	before := options.Now().Add(-options.Keep)
	g.forget.Store(&[2]time.Time{before, before})
	if err := g.read(ctx); err != nil {
		return nil, fmt.Errorf("read which entries were deleted: %w", err)
	}
	g.sweep()
	if options.Registerer != nil {
		options.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: GraveCount,
			Help: "Deleted entries that this server remembers, so that nobody can put one back.",
		}, func() float64 { return float64(g.graves.count.Load()) }))
	}
	return g, nil
}

// Buried implements [Graves].
func (g *Graveyard) Buried(id [16]byte) (since time.Time, buried bool) { return g.graves.find(id) }

// Bury implements [Graves]. While records fail, it does not wait for them: Run tries again, and [ErrUnrecorded] says so.
func (g *Graveyard) Bury(ctx context.Context, ids ...[16]byte) error {
	now := g.opts.Now()
	fresh := make([][16]byte, 0, len(ids))
	for _, id := range ids {
		if g.graves.add(id, now) {
			fresh = append(fresh, id)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if trouble := g.trouble.Load(); trouble != nil {
		g.postpone(fresh)
		return fmt.Errorf("%w: %w", ErrUnrecorded, *trouble)
	}
	// Whoever wants the deletion may go away; it goes on.
	err := g.record(context.WithoutCancel(ctx), fresh, now)
	if err != nil {
		g.postpone(fresh)
		g.report(err)
		return fmt.Errorf("%w: %w", ErrUnrecorded, err)
	}
	return nil
}

func (g *Graveyard) record(ctx context.Context, ids [][16]byte, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, graveTimeout)
	defer cancel()
	return g.records.Bury(ctx, ids, at, *g.forget.Load())
}

// postpone leaves ids to Run. What is beyond the bound stays buried for this server until it ends.
func (g *Graveyard) postpone(ids [][16]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	room := min(len(ids), maxUnrecorded-len(g.unrecorded))
	g.unrecorded = append(g.unrecorded, ids[:room]...)
	g.lost += len(ids) - room
}

// Degraded says why deletions are not recorded or those of other servers not known, or nil.
func (g *Graveyard) Degraded() error {
	if err := g.trouble.Load(); err != nil {
		return fmt.Errorf("deletions are not recorded: %w", *err)
	}
	return nil
}
