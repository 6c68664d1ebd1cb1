package seal

import (
	"context"
	"errors"
	"fmt"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// ErrPurged is for an entry with a good seal whose maker was not to be trusted, as it turned out.
var ErrPurged = errors.New("it is purged")

// Purges know what must not be served because of who made it.
type Purges interface {
	// Purged reports whether an entry, whose seal is good, is purged. It waits for nothing.
	Purged(entry *cache.Entry) bool
	// Clear takes a purged entry out of the storage that all share, so that its key can be written anew.
	Clear(ctx context.Context, entry *cache.Entry) error
}

// forgetter is a store that can drop this machine's copy of an entry and leave the entry itself where it is, as a tier can.
type forgetter interface {
	Forget(ctx context.Context, key cache.Key) error
}

// forget drops a copy of what is purged, which must not take the entry itself out of the storage: it belongs into quarantine. It reports whether it did.
func (s *store) forget(ctx context.Context, obj *cache.Object) bool {
	inner, ok := s.inner.(forgetter)
	return ok && inner.Forget(ctx, obj.Key) == nil
}

// clear makes room for a new entry where a purged one lies. [cache.ErrExist] if that cannot be done now.
func (s *store) clear(ctx context.Context, key cache.Key) error {
	obj, _, flaw, err := s.open(ctx, key)
	if errors.Is(err, cache.ErrNotExist) || errors.Is(err, cache.ErrDamaged) {
		return nil // it has gone into quarantine
	}
	if err != nil {
		return err
	}
	obj.Close()
	if !errors.Is(flaw, ErrPurged) || obj.Pending { // what is pending goes into quarantine when it is sent
		return cache.ErrExist
	}
	entry := cache.Entry{Key: key, Record: obj.Record}
	if err := s.purges.Clear(ctx, &entry); err != nil {
		s.warn("purged", "an entry is purged and cannot be moved into quarantine: until it is, nothing can be stored in its place", key, err)
		return fmt.Errorf("%w, purged and not moved yet: %w", cache.ErrExist, err)
	}
	return nil
}
