package breaker

import (
	"context"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// ReadRecord implements [cache.RecordReader]. It is one of the looks at an entry.
func (s *store) ReadRecord(ctx context.Context, key cache.Key) (cache.Record, error) {
	call, err := s.breaker.allow(ctx, opOpen)
	if err != nil {
		return cache.Record{}, err
	}
	record, _, err := abandon(call.ctx, s.breaker, func() (cache.Record, error) { return cache.ReadRecord(call.ctx, s.inner, key) }, func(cache.Record) {})
	call.end(err)
	return record, err
}

// ReadRecord implements [cache.RecordReader].
func (r *remote) ReadRecord(ctx context.Context, key cache.Key) (cache.Record, error) {
	call, err := r.breaker.allow(ctx, opOpen)
	if err != nil {
		return cache.Record{}, err
	}
	record, err := cache.ReadRecord(call.ctx, r.Remote, key)
	call.end(err)
	return record, err
}
