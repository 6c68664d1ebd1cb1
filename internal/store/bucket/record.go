package bucket

import (
	"context"
	"errors"
	"fmt"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

var _ cache.RecordReader = (*Store)(nil)

// ReadRecord implements [cache.RecordReader]: it asks for what the bucket keeps beside the object. What is damaged is [cache.ErrDamaged] and stays for [Store.Open].
func (s *Store) ReadRecord(ctx context.Context, key cache.Key) (cache.Record, error) {
	doing := fmt.Sprintf("look at the entry %q", key)
	info, err := s.bucket.Head(ctx, s.name(key))
	if errors.Is(err, ErrNotExist) {
		return cache.Record{}, cache.ErrNotExist
	}
	if err != nil {
		return cache.Record{}, s.trouble(doing, err)
	}
	entry, err := s.inspect(info, key)
	if _, damaged := errors.AsType[damageError](err); damaged {
		return cache.Record{}, fmt.Errorf("%w: %s: %w", cache.ErrDamaged, doing, err)
	}
	if err != nil {
		return cache.Record{}, s.trouble(doing, err)
	}
	return entry.Record, nil
}
