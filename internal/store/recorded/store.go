package recorded

import (
	"context"
	"errors"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// store is a [cache.Store] that tells of what happens to another one.
type store struct {
	cache.Store
	recorder *Recorder
}

// Over returns a store that is inner and notes what happens to its entries: those that are committed, deleted, set aside, or found damaged. Records are
// noted as inner takes them, so that a store that seals them belongs outside. Objects come from inner, with their bodies as they are.
//
// What happens to one key in the same moment through several hands may be noted in another order.
func (r *Recorder) Over(inner cache.Store) cache.Store {
	s := &store{Store: inner, recorder: r}
	if marker, ok := inner.(cache.Marker); ok {
		return struct {
			*store
			cache.Marker
		}{s, marker}
	}
	return s
}

// Open implements [cache.Store].
func (s *store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := s.Store.Open(ctx, key)
	if errors.Is(err, cache.ErrDamaged) {
		s.gone(key)
	}
	if err != nil || obj.SetAside == nil {
		return obj, err
	}
	setAside := obj.SetAside
	obj.SetAside = func(reason string) error {
		err := setAside(reason)
		if err == nil {
			s.gone(key)
		}
		return err
	}
	return obj, nil
}

// Create implements [cache.Store].
func (s *store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	inner, err := s.Store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &draft{Draft: inner, store: s, key: key}, nil
}

// Delete implements [cache.Store].
func (s *store) Delete(ctx context.Context, key cache.Key) error {
	err := s.Store.Delete(ctx, key)
	if err == nil || errors.Is(err, cache.ErrNotExist) {
		s.gone(key)
	}
	return err
}

func (s *store) gone(key cache.Key) {
	s.recorder.note(&change{entry: cache.Entry{Key: key}, gone: true})
}

type draft struct {
	cache.Draft
	store *store
	key   cache.Key
}

// Commit implements [cache.Draft].
func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	err := d.Draft.Commit(ctx, record)
	if err == nil {
		d.store.recorder.note(&change{entry: cache.Entry{Key: d.key, Record: record}})
	}
	return err
}
