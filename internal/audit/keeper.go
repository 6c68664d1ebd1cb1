package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Chain is where the rows lie.
type Chain interface {
	Sink
	// AuditChain returns at most limit rows behind the one with that number, in their order, and their seals; see [Read].
	AuditChain(ctx context.Context, after int64, limit int) ([]Row, []Seal, error)
	// AddAuditSeal records a seal, in the place of one of its kind for the same row.
	AddAuditSeal(ctx context.Context, s Seal) error
	// LastAuditSeal returns the seal of that kind that is the farthest in the chain, and whether there is one.
	LastAuditSeal(ctx context.Context, kind SealKind) (Seal, bool, error)
	// TrimAudit removes at most limit rows that are older than before from the beginning, and leaves the anchor that sign makes.
	TrimAudit(ctx context.Context, before time.Time, limit int, sign func(Head) Seal) (anchor Head, trimmed int64, err error)
}

const (
	// DefaultSealEvery is how often a chain is sealed to which something came.
	DefaultSealEvery = 10 * time.Minute
	// trimEvery is how often old rows are removed.
	trimEvery = time.Hour
	trimStep  = 2000
	page      = 1000
	// lookAgain is the pause after a look that failed.
	lookAgain = 30 * time.Second
	// roundTimeout bounds one look at the chain: what a server wrote since the last one.
	roundTimeout = 5 * time.Minute
)

// KeeperOptions configure a [Keeper].
type KeeperOptions struct {
	// Keys seal: the first makes, all verify. There must be one.
	Keys []Key
	// Keep is how long rows are kept. Zero: for good.
	Keep time.Duration
	// Every is how often the chain is looked at and sealed. Zero: [DefaultSealEvery].
	Every   time.Duration
	Replica string
	// Logger is told of each seal, so that the head of the chain is also where logs are kept, and of a chain that is broken. Nil: nobody is.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// Keeper verifies what was appended, seals it, and removes what is old. It remembers up to where it verified: whoever cuts the chain off or makes it anew
// while a server runs is found out also if he removes the seals.
type Keeper struct {
	chain Chain
	opts  KeeperOptions
	log   *slog.Logger
	keys  Keys

	head    Head // up to where the chain was verified; zero before the first look
	sealed  Head
	trimmed time.Time // when was looked for old rows

	sealedAt atomic.Int64 // milliseconds since the Unix epoch
	trouble  atomic.Pointer[error]
	broken   atomic.Pointer[error] // for good
}

// NewKeeper makes a keeper; call [Keeper.Run].
func NewKeeper(chain Chain, opts KeeperOptions) *Keeper {
	opts.Every = cmp.Or(opts.Every, DefaultSealEvery)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	k := &Keeper{chain: chain, opts: opts, log: opts.Logger, keys: PublicKeys(opts.Keys)}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if opts.Registerer != nil {
		opts.Registerer.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: SealedName, Help: "When the audit log was sealed last, as far as this server knows; 0 if it was not.",
			}, func() float64 { return float64(k.sealedAt.Load()) / 1000 }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: BrokenName, Help: "1 if this server found that rows of the audit log were changed, removed or put in.",
			}, func() float64 {
				if k.broken.Load() != nil {
					return 1
				}
				return 0
			}),
		)
	}
	return k
}

// Run looks after the chain until ctx ends. What comes after that, [Keeper.Seal] seals.
func (k *Keeper) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for first := true; ; first = false {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		k.round(ctx, first)
		next := k.opts.Every
		if k.trouble.Load() != nil { // of the ledger, most likely, which may be over soon
			next = min(next, lookAgain)
		}
		timer.Reset(next)
	}
}

// Seal verifies and seals what is there now. It is not called while Run runs.
func (k *Keeper) Seal(ctx context.Context) error {
	k.round(ctx, true)
	return k.Degraded()
}

// Degraded tells that the chain is broken, or why it cannot be looked after; nil if all is well.
func (k *Keeper) Degraded() error {
	for _, p := range []*atomic.Pointer[error]{&k.broken, &k.trouble} {
		if err := p.Load(); err != nil {
			return *err
		}
	}
	return nil
}

func (k *Keeper) round(ctx context.Context, always bool) {
	if k.broken.Load() != nil {
		return // what was found stays as it is, for those who look into it
	}
	inTime, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	err := k.look(inTime, always)
	if b, ok := errors.AsType[*Break](err); ok {
		err = fmt.Errorf("the audit log is broken: somebody changed it in the ledger, or it was restored while this server ran: %w", b)
		k.broken.Store(&err)
		k.log.Error("the audit log is broken, and is not sealed any more: see 'bezoar audit verify'", "row", b.Seq, "kind", string(b.Kind), "error", b.Text)
		return
	}
	if err != nil && ctx.Err() == nil { // else the end of the server was the trouble
		err = fmt.Errorf("the audit log cannot be sealed: %w", err)
		k.trouble.Store(&err)
		return
	}
	k.trouble.Store(nil)
}

func (k *Keeper) look(ctx context.Context, always bool) error {
	last, has, err := k.chain.LastAuditSeal(ctx, SealHead)
	if err != nil {
		return err
	}
	if k.head == (Head{}) && has {
		switch k.keys.verify(&last) {
		case good:
			k.head = last.Head
		case forged:
			return &Break{Forged, last.Seq, "the signature of its seal is not good"}
		case unknownKey: // of a server with another key file: from the beginning
		}
	}
	if err := k.verify(ctx); err != nil {
		return err
	}
	now := k.opts.Now()
	young := has && k.keys.verify(&last) == good && now.Sub(last.Time) < k.opts.Every
	if young {
		k.sealedAt.Store(last.Time.UnixMilli())
	}
	if k.head.Seq > max(k.sealed.Seq, last.Seq) && (always || !young) {
		s := k.opts.Keys[0].Sign(SealHead, k.head, now)
		if err := k.chain.AddAuditSeal(ctx, s); err != nil {
			return err
		}
		k.sealed = k.head
		k.sealedAt.Store(s.Time.UnixMilli())
		k.log.Info("sealed the audit log", "row", s.Seq, "head", s.Hash.String())
	}
	if k.opts.Keep > 0 && now.Sub(k.trimmed) >= trimEvery {
		k.trimmed = now
		return k.trim(ctx, now.Add(-k.opts.Keep))
	}
	return nil
}

// verify goes on from where it was, and looks whether that is still there.
func (k *Keeper) verify(ctx context.Context) error {
	if k.head.Seq == 0 {
		if err := k.renewAnchor(ctx); err != nil {
			return err
		}
		v := NewVerifier(k.keys, nil)
		if err := Read(ctx, k.chain, 0, v); err != nil {
			return err
		}
		k.head = v.Head()
		_, err := v.End()
		if b, ok := errors.AsType[*Break](err); ok && b.Kind == Unsealed {
			err = nil // this server is about to make the first seal, or the first one with these keys
		}
		return err
	}
	rows, _, err := k.chain.AuditChain(ctx, k.head.Seq-1, 1)
	switch {
	case err != nil:
		return err
	case len(rows) == 0:
		return &Break{Truncated, k.head.Seq, "this server saw it, and it is not there any more"}
	case rows[0].Seq != k.head.Seq:
		anchor, has, err := k.chain.LastAuditSeal(ctx, SealAnchor)
		if err != nil {
			return err
		}
		if !has || anchor.Seq < k.head.Seq || k.keys.verify(&anchor) != good {
			return &Break{Missing, k.head.Seq, "this server saw it, and it is not there any more"}
		}
		k.head = anchor.Head // another server removed what was old
	case rows[0].Hash != k.head.Hash:
		return &Break{Rewritten, k.head.Seq, "this server saw another row there"}
	}
	v := Resume(k.keys, k.head)
	if err := Read(ctx, k.chain, k.head.Seq, v); err != nil {
		return err
	}
	k.head = v.Head()
	_, err = v.End()
	return err
}

// renewAnchor signs an anchor anew whose key is good and not the active one, so that it is good also without that key.
func (k *Keeper) renewAnchor(ctx context.Context) error {
	anchor, has, err := k.chain.LastAuditSeal(ctx, SealAnchor)
	if err != nil || !has || anchor.Key == k.opts.Keys[0].ID || k.keys.verify(&anchor) != good {
		return err
	}
	return k.chain.AddAuditSeal(ctx, k.opts.Keys[0].Sign(SealAnchor, anchor.Head, k.opts.Now()))
}

// trim removes rows from before that time, in steps, and puts on record that it did.
func (k *Keeper) trim(ctx context.Context, before time.Time) error {
	var total int64
	var end Head
	for {
		anchor, n, err := k.chain.TrimAudit(ctx, before, trimStep, func(h Head) Seal { return k.opts.Keys[0].Sign(SealAnchor, h, k.opts.Now()) })
		if n > 0 {
			total, end = total+n, anchor
		}
		if n == trimStep && err == nil {
			continue
		}
		if total == 0 {
			return err
		}
		_, errNote := k.chain.AppendAudit(ctx, []Event{{
			Time: k.opts.Now(), Action: Trimmed, Actor: Actor{Kind: KindServer}, Subject: strconv.FormatInt(end.Seq, 10), Replica: k.opts.Replica,
			Details: Details{"rows": total, "before": before.UTC().Format(timeLayout)},
		}})
		return errors.Join(err, errNote)
	}
}

// Reading is what [Read] reads.
type Reading interface {
	AuditChain(ctx context.Context, after int64, limit int) ([]Row, []Seal, error)
}

// Taker takes rows and seals in their order. A [*Verifier] is one.
type Taker interface {
	Row(row *Row)
	Seal(seal *Seal)
}

// Read gives a verifier the rows behind the one with that number, each with its seals behind it, to the end of the chain.
func Read(ctx context.Context, chain Reading, after int64, v Taker) error {
	for more := true; more; {
		var err error
		if after, more, err = ReadPage(ctx, chain, after, page, v); err != nil {
			return err
		}
	}
	return nil
}

// ReadPage is Read for at most limit rows. It returns the number of the last row, behind which the next page begins, and whether there may be one.
func ReadPage(ctx context.Context, chain Reading, after int64, limit int, v Taker) (last int64, more bool, err error) {
	rows, seals, err := chain.AuditChain(ctx, after, limit)
	if err != nil {
		return after, false, err
	}
	for i := range rows {
		for len(seals) > 0 && seals[0].Seq < rows[i].Seq {
			v.Seal(&seals[0])
			seals = seals[1:]
		}
		v.Row(&rows[i])
	}
	for i := range seals {
		v.Seal(&seals[i])
	}
	if len(rows) < limit {
		return after, false, nil
	}
	return rows[len(rows)-1].Seq, true, nil
}
