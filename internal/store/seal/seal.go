// Package seal binds what a store keeps to the key under which it lies, by a secret that the server has and the storage has not. Who can
// write to the disk or bucket can then remove entries, but neither change one, nor move one to another key, nor
// make one: what is not as it was sealed is a miss and an alarm.
//
// What a seal alone cannot see is an entry that is put back under its own key as it was before it was deleted. That is what [Graves] are for.
package seal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
)

// BrokenSeals is the counter of entries that were asked for and whose seal was not good, by "reason": missing, broken, unknown_key,
// rolled_back, and later_release, which is no attack but an older server beside a newer one.
const BrokenSeals = "bezoar_broken_seals_total"

// Options of a sealed store. The zero value will do.
type Options struct {
	// Logger is told of each seal that is not good, within bounds. Nil: nobody is.
	Logger *slog.Logger
	// Registerer takes the counter. Nil: nothing is counted. Several stores may share one.
	Registerer prometheus.Registerer
	// Now is the clock of the bounds on the log, and of the time that deletions may take. Nil: [time.Now].
	Now func() time.Time
	// Graves keep entries from coming back after they were deleted. Nil: nothing does.
	Graves Graves
	// Purges hide what was purged. Nil: nothing is.
	Purges Purges
}

// store is a [cache.Store] that seals what goes into another and verifies what comes out.
type store struct {
	inner  cache.Store
	marker cache.Marker // nil if inner keeps no notes
	keys   keyring.Keys
	graves Graves // nil: none
	purges Purges // nil: none
	now    func() time.Time
	log    *slog.Logger
	quiet  *quiet
	broken *prometheus.CounterVec
	later  atomic.Bool // said once
}

// New returns a store that is inner with sealed entries: the first of keys seals, all verify. There must be a key. They are those of one
// purpose, ring.Derive("seal").
//
// An entry whose seal is not good is never given out. It is set aside, or deleted where the store has no place for that, and is
// [cache.ErrDamaged]; one that another, newer server seems to have sealed is left alone and is [cache.ErrNotExist]. One that was deleted
// and is back is treated like one with a broken seal, but for the few minutes that a deletion may take, in which it is
// [cache.ErrNotExist]. One that is purged is left where it is, and is [cache.ErrNotExist]. Objects come from inner as they are, so that the kernel can still move their bytes; their SetAside buries first.
func New(inner cache.Store, keys keyring.Keys, options Options) Store {
	if len(keys) == 0 {
		panic("seal: no keys") // every entry would be taken for forged: a bug
	}
	s := &store{inner: inner, keys: keys, graves: options.Graves, purges: options.Purges, log: options.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	s.now, s.quiet = options.Now, &quiet{now: options.Now}
	s.broken = newCounter(options.Registerer)
	if marker, ok := inner.(cache.Marker); ok {
		s.marker = marker
		return struct {
			*store
			cache.Marker
		}{s, marker}
	}
	return s
}

func newCounter(reg prometheus.Registerer) *prometheus.CounterVec {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: BrokenSeals,
		Help: "Entries that were asked for and whose seal was not good, by reason. All but later_release are worth a page: somebody changed what is stored, or servers have different keys.",
	}, []string{"reason"})
	for _, reason := range []string{"missing", "broken", "unknown_key", "rolled_back", "later_release"} {
		counter.WithLabelValues(reason) // so that the first one is an increase
	}
	if reg == nil {
		return counter
	}
	if err := reg.Register(counter); err != nil {
		registered, ok := errors.AsType[prometheus.AlreadyRegisteredError](err)
		if !ok {
			panic(err) // another metric has taken the name: a bug
		}
		return registered.ExistingCollector.(*prometheus.CounterVec)
	}
	return counter
}

// Open implements [cache.Store].
func (s *store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, deleted, flaw, err := s.open(ctx, key)
	if err != nil {
		return nil, err
	}
	if flaw == nil {
		s.buryFirst(ctx, obj)
		return obj, nil
	}
	defer obj.Close()
	if s.isGoing(deleted, flaw) {
		return nil, fmt.Errorf("%w: %q: %w", cache.ErrNotExist, key, flaw)
	}
	return nil, s.refuse(ctx, key, obj, flaw)
}

// refuse deals with an entry whose seal has a flaw, and returns what Open says of it.
func (s *store) refuse(ctx context.Context, key cache.Key, obj *cache.Object, flaw error) error {
	reason := reasonOf(flaw)
	s.broken.WithLabelValues(reason).Inc()
	if errors.Is(flaw, ErrLater) {
		if !s.later.Swap(true) {
			s.log.Warn("there are entries that a later release sealed: to this server they are misses; update it (said once)", "key", key.String())
		}
		return fmt.Errorf("%w: %q: %w", cache.ErrNotExist, key, flaw)
	}
	if errors.Is(flaw, ErrUnknownKey) {
		foreign, err := s.isForeign(ctx)
		if err != nil {
			return fmt.Errorf("open the entry %q: %w; whose key that is cannot be told: %w", key, flaw, err)
		}
		if foreign {
			s.alarm(reason, "an entry is sealed with a key that this server lacks but others use: it is left alone and a miss; copy their key file and restart this server", key, flaw)
			return fmt.Errorf("%w: %q: %w", cache.ErrNotExist, key, flaw)
		}
	}
	if err := s.takeAway(ctx, key, obj, flaw); err != nil {
		s.alarm(reason, "an entry's seal is not good, and it cannot be set aside: it is a miss until somebody removes it", key, flaw)
		return fmt.Errorf("set the entry %q aside: %w: %w", key, flaw, err)
	}
	what := "an entry's seal is not good: it is set aside and was not served; somebody changed what is stored"
	switch {
	case errors.Is(flaw, ErrUnknownKey):
		what = "an entry's seal is of a key that this server does not have: it is set aside and was not served; the key was removed, or somebody put the entry there"
	case errors.Is(flaw, ErrRolledBack):
		what = "an entry that was deleted is there again: it is set aside and was not served; somebody put it back, or its deletion was broken off"
	case errors.Is(flaw, ErrMissing):
		what = "an entry has no seal: it is set aside and was not served; it is from a time before seals, or somebody put it there"
	}
	s.alarm(reason, what, key, flaw)
	return fmt.Errorf("%w: %q: %w", cache.ErrDamaged, key, flaw)
}

func (s *store) takeAway(ctx context.Context, key cache.Key, obj *cache.Object, flaw error) error {
	if obj.SetAside != nil {
		return obj.SetAside(flaw.Error())
	}
	if err := s.inner.Delete(ctx, key); !errors.Is(err, cache.ErrNotExist) {
		return err
	}
	return nil
}

// isForeign reports whether the store is now sealed with a key that this server lacks. It was not when this server started, so
// another one has moved on to a new key too early, and its entries must not be destroyed.
func (s *store) isForeign(ctx context.Context) (bool, error) {
	if s.marker == nil {
		return false, nil
	}
	id, _, err := readMark(ctx, s.marker)
	if errors.Is(err, cache.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, known := s.keys.Find(id)
	return !known, nil
}

func reasonOf(flaw error) string {
	switch {
	case errors.Is(flaw, ErrMissing):
		return "missing"
	case errors.Is(flaw, ErrUnknownKey):
		return "unknown_key"
	case errors.Is(flaw, ErrLater):
		return "later_release"
	case errors.Is(flaw, ErrRolledBack):
		return "rolled_back"
	default:
		return "broken"
	}
}

// lookTimeout bounds the look at what is in the way of an upload. A bucket that is slow must not make a build wait for a whole body, which progress alone
// would allow: what cannot be seen in time counts as an entry.
const lookTimeout = 2 * time.Second

// Create implements [cache.Store]. What lies under the key without a good seal is no entry and gives way.
func (s *store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	inner, err := s.inner.Create(ctx, key)
	if errors.Is(err, cache.ErrExist) {
		look, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		obj, errOpen := s.Open(look, key)
		if errOpen != nil && look.Err() != nil && ctx.Err() == nil {
			return nil, err
		}
		if errors.Is(errOpen, ErrPurged) {
			if errClear := s.clear(ctx, key); errClear != nil {
				return nil, errClear
			}
		}
		switch {
		case errOpen == nil:
			obj.Close()
			return nil, err
		case errors.Is(errOpen, cache.ErrDamaged), errors.Is(errOpen, cache.ErrNotExist):
			inner, err = s.inner.Create(ctx, key)
		default:
			return nil, errOpen
		}
	}
	if err != nil {
		return nil, err
	}
	return &draft{Draft: inner, by: s.keys.Active(), key: key}, nil
}

// List implements [cache.Store]. An entry whose seal is not good comes with an error that says why: it is there, and can be deleted.
// One that a later release sealed comes without. One that is purged or
// whose deletion may be under way does not come.
func (s *store) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		for entry, err := range s.inner.List(ctx, workspace) {
			if err == nil {
				deleted, flaw := s.verify(entry.Key, entry.Record)
				if s.isGoing(deleted, flaw) {
					continue
				}
				if flaw != nil && !errors.Is(flaw, ErrLater) {
					err = fmt.Errorf("the entry %q is not fit to be served: %w", entry.Key, flaw)
				}
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}

type draft struct {
	cache.Draft
	by  keyring.Key
	key cache.Key
}

// Commit implements [cache.Draft]. The record is sealed as it is; a seal that it has already is replaced.
func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	record.Seal = seal(d.by, d.key, record)
	return d.Draft.Commit(ctx, record)
}
