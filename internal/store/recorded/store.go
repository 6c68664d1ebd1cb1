package recorded

import (
	"context"
	"errors"
	"time"

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
	before := s.recorder.opts.Now()
	obj, err := s.Store.Open(ctx, key)
	return s.recorder.opened(key, before, obj, err)
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
	before := s.recorder.opts.Now()
	return s.recorder.deleted(key, before, s.Store.Delete(ctx, key))
}

// ReadRecord implements [cache.RecordReader].
func (s *store) ReadRecord(ctx context.Context, key cache.Key) (cache.Record, error) {
	return cache.ReadRecord(ctx, s.Store, key)
}

// opened notes what was found damaged, and what whoever opened it will set aside.
func (r *Recorder) opened(key cache.Key, before time.Time, obj *cache.Object, err error) (*cache.Object, error) {
	if errors.Is(err, cache.ErrDamaged) {
		r.note(&change{entry: cache.Entry{Key: key}, gone: true, before: before})
	}
	if err != nil || obj.SetAside == nil {
		return obj, err
	}
	setAside, entry := obj.SetAside, cache.Entry{Key: key, Record: obj.Record}
	obj.SetAside = func(reason string) error {
		err := setAside(reason)
		if err == nil {
			r.note(&change{entry: entry, gone: true, only: true})
		}
		return err
	}
	return obj, nil
}

func (r *Recorder) deleted(key cache.Key, before time.Time, err error) error {
	if err == nil || errors.Is(err, cache.ErrNotExist) {
		r.note(&change{entry: cache.Entry{Key: key}, gone: true, before: before})
	}
	return err
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
