package tier

import (
	"context"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

var _ cache.RecordReader = (*Store)(nil)

// ReadRecord implements [cache.RecordReader]. The storage that all share is asked, whatever this machine has: nothing is downloaded.
func (s *Store) ReadRecord(ctx context.Context, key cache.Key) (cache.Record, error) {
	return cache.ReadRecord(ctx, s.inner, key)
}
