package tier

import (
	"context"
	"errors"
	"fmt"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// rounds bounds how often Open looks again because an entry came or went between two looks.
const rounds = 4

// Open implements [cache.Store]. What the local store has comes as that store opens it; anything else through a download that is
// shared. A download that cannot begin, because too many wait, is trouble.
func (s *Store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open the entry %q: %w", key, err)
	}
	object, seat, err := s.find(ctx, idOf(key), key)
	if object != nil || err != nil {
		return object, err
	}
	return s.follow(ctx, seat)
}

// seat is a reader's place in a download, which it has to leave.
type seat struct {
	*flight
	since int // how often inner had been asked when the reader came
}

// find returns the local store's object, or a seat in the download that brings one.
func (s *Store) find(ctx context.Context, id id, key cache.Key) (*cache.Object, seat, error) {
	sh := s.shard(id)
	for round := 0; ; round++ {
		sh.mu.Lock()
		before := sh.look(id)
		place := s.join(sh, id)
		sh.mu.Unlock()
		if place.flight != nil {
			return nil, place, nil
		}
		if s.local != nil && before.state != leaving && before.state != banned {
			object, err := s.openLocal(ctx, id, key, before)
			if object != nil || err != nil {
				return object, seat{}, err
			}
		}
		sh.mu.Lock()
		closed := sh.closed
		place = s.join(sh, id)
		now := sh.look(id)
		if place.flight == nil && !closed && (now == before || now.state != held || round >= rounds) {
			place = seat{flight: s.begin(sh, id, key)}
		}
		sh.mu.Unlock()
		switch {
		case place.flight != nil:
			return nil, place, nil
		case closed:
			return nil, seat{}, errClosed
		}
	}
}

// join takes a seat in the download of a key that is under way, if there is one. The shard is locked.
func (s *Store) join(sh *shard, id id) seat {
	f := sh.flights[id]
	if f == nil {
		return seat{}
	}
	f.refs++
	f.latest = f.asks
	s.metrics.joined.Inc()
	return seat{f, f.asks}
}

// openLocal returns nothing at all if the local store has none that is whole, or is in trouble.
func (s *Store) openLocal(ctx context.Context, id id, key cache.Key, seen stamp) (*cache.Object, error) {
	object, err := s.local.Open(ctx, key)
	switch {
	case err == nil:
		s.reading.well()
		s.metrics.hits.Inc()
		s.touch(id, object.Entry)
		object.Copy = true
		return s.guarded(object), nil
	case errors.Is(err, cache.ErrNotExist):
		s.dropIf(id, seen)
	case errors.Is(err, cache.ErrDamaged):
		s.metrics.damaged.WithLabelValues("local").Inc()
		s.dropIf(id, seen)
	case ctx.Err() != nil:
		return nil, err
	default:
		s.reading.failed(err)
		cache.Progress(ctx) // the disk may have taken its time, and the storage has not been asked yet
	}
	return nil, nil
}

// follow waits for what a download has for its reader.
func (s *Store) follow(ctx context.Context, f seat) (*cache.Object, error) {
	err := f.await(ctx, func() bool { return f.misses > f.since || f.opened && (f.settled || !f.ahead) })
	if err != nil {
		f.leave()
		return nil, fmt.Errorf("open the entry %q: %w", f.key, err)
	}
	err = f.failure()
	_, isLocal := errors.AsType[localError](err)
	switch {
	case err == nil && !f.isApart():
		// Of one who came later, too, the storage was not asked since.
		return s.guarded(&cache.Object{Entry: f.entry, Body: s.newBody(ctx, f.flight), Copy: f.since > 0}), nil
	case err == nil, isLocal:
		defer f.leave()
		return s.apart(ctx, f)
	default:
		f.leave()
		return nil, err
	}
}

func (f *flight) isApart() bool {
	sh := f.store.shard(f.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return f.apart
}

// failure returns why there is nothing to read. What fails later, the body tells.
func (f seat) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.misses > f.since:
		return cache.ErrNotExist
	case f.visible == 0:
		return f.err
	default:
		return nil
	}
}

// apart returns an object of inner's for one reader alone.
func (s *Store) apart(ctx context.Context, f seat) (*cache.Object, error) {
	s.metrics.apart.Inc()
	object := f.take(ctx)
	if object != nil {
		object.Copy = f.since > 0 // as for those who share
	} else {
		var err error
		if object, err = s.inner.Open(ctx, f.key); err != nil {
			return nil, err
		}
	}
	cache.Progress(ctx)
	return s.guardedInner(object), nil
}
