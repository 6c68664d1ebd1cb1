package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

var _ cache.RecordReader = (*Store)(nil)

// ReadRecord implements [cache.RecordReader]: it reads the end of the file, where the record is. What is damaged is [cache.ErrDamaged] and stays for [Store.Open].
func (s *Store) ReadRecord(ctx context.Context, key cache.Key) (cache.Record, error) {
	doing := func() string { return fmt.Sprintf("look at the entry %q", key) }
	if err := ctx.Err(); err != nil {
		return cache.Record{}, trouble(doing(), err)
	}
	f, err := s.inspect(s.path(key))
	defer f.close()
	if err == nil && f.entry.Key != key {
		err = damageError("it is the entry of another key")
	}
	if _, damaged := errors.AsType[damageError](err); damaged {
		return cache.Record{}, fmt.Errorf("%w: %s: %w", cache.ErrDamaged, doing(), err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return cache.Record{}, cache.ErrNotExist
	}
	if err != nil {
		return cache.Record{}, trouble(doing(), err)
	}
	return f.entry.Record, nil
}
