package tier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// asideWait bounds how long it may take to set an entry aside.
const asideWait = 30 * time.Second

// guarded lets SetAside take an object out of both stores.
func (s *Store) guarded(object *cache.Object) *cache.Object {
	object.SetAside = func(reason string) error { return s.setAside(object.Entry, reason) }
	return object
}

// guardedInner does it for an object of inner's own.
func (s *Store) guardedInner(object *cache.Object) *cache.Object {
	entry, inner := object.Entry, *object
	object.SetAside = func(reason string) error {
		defer s.deleting(entry.Key)()
		ctx, cancel := context.WithTimeout(s.lifetime(), asideWait)
		defer cancel()
		return errors.Join(s.setAsideLocal(ctx, entry, reason), s.takeFromInner(&inner, reason))
	}
	return object
}

// setAside takes this very entry out of both stores; a newer one stays where it is.
func (s *Store) setAside(entry cache.Entry, reason string) error {
	defer s.deleting(entry.Key)()
	ctx, cancel := context.WithTimeout(s.lifetime(), asideWait)
	defer cancel()
	errLocal := s.setAsideLocal(ctx, entry, reason)
	object, err := s.inner.Open(ctx, entry.Key)
	switch {
	case errors.Is(err, cache.ErrNotExist), errors.Is(err, cache.ErrDamaged):
		return errLocal
	case err != nil:
		return errors.Join(errLocal, fmt.Errorf("set the entry %q aside: %w", entry.Key, err))
	}
	defer object.Close()
	if !sameRecord(object.Record, entry.Record) {
		return errLocal
	}
	return errors.Join(errLocal, s.takeFromInner(object, reason))
}

// takeFromInner sets inner's object aside, or deletes it where inner has no place for that: then one that has come in its place in
// this very moment goes, too.
func (s *Store) takeFromInner(object *cache.Object, reason string) error {
	if object.SetAside != nil {
		return object.SetAside(reason)
	}
	ctx, cancel := context.WithTimeout(s.lifetime(), asideWait)
	defer cancel()
	if err := s.inner.Delete(ctx, object.Key); !errors.Is(err, cache.ErrNotExist) {
		return err
	}
	return nil
}

// setAsideLocal takes the local copy of an entry away, and keeps a download of it from being kept or joined.
func (s *Store) setAsideLocal(ctx context.Context, entry cache.Entry, reason string) error {
	id := idOf(entry.Key)
	sh := s.shard(id)
	if err := sh.forget(ctx, id); err != nil || s.local == nil {
		return err
	}
	sh.mu.Lock()
	seen := sh.look(id)
	sh.mu.Unlock()
	object, err := s.local.Open(ctx, entry.Key)
	switch {
	case errors.Is(err, cache.ErrNotExist), errors.Is(err, cache.ErrDamaged):
		s.dropIf(id, seen)
		return nil
	case err == nil:
		defer object.Close()
		if !sameRecord(object.Record, entry.Record) {
			return nil
		}
		if err = s.takeFromLocal(ctx, object, reason); err == nil {
			s.dropIf(id, seen)
			return nil
		}
	}
	if ctx.Err() == nil {
		s.writing.failed(err)
	}
	if s.seize(sh, id, entry.Key) {
		s.seized(sh, id, false)
	}
	s.wake() // it is removed, if that is possible
	return fmt.Errorf("set the entry %q of the tier aside: %w", entry.Key, err)
}

func (s *Store) takeFromLocal(ctx context.Context, object *cache.Object, reason string) error {
	if object.SetAside != nil {
		return object.SetAside(reason)
	}
	if err := s.local.Delete(ctx, object.Key); !errors.Is(err, cache.ErrNotExist) {
		return err
	}
	return nil
}

// sameRecord reports whether two records are of one entry: two uploads under one key differ at least in the time.
func sameRecord(a, b cache.Record) bool {
	if !a.Created.Equal(b.Created) {
		return false
	}
	a.Created = b.Created
	return a == b
}
