package spool

import (
	"context"
	"errors"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

var _ cache.RecordReader = (*Store)(nil)

// ReadRecord implements [cache.RecordReader]. What is pending comes first, as with [Store.Open].
func (s *Store) ReadRecord(ctx context.Context, key cache.Key) (cache.Record, error) {
	obj, err := s.openPending(ctx, key)
	if obj != nil {
		return obj.Record, obj.Close()
	}
	if err != nil && !errors.Is(err, cache.ErrDamaged) {
		return cache.Record{}, err
	}
	return cache.ReadRecord(ctx, s.remote, key)
}
