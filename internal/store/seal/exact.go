package seal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Store is a sealed store, as [New] makes it.
type Store interface {
	cache.Store
	// DeleteExactly deletes entries if they are those with these keys and seals, and returns for each, by its place, what became of it: nil; [cache.ErrNotExist];
	// [cache.ErrOther] for a key under which there is another entry by now, or one that is purged, which stays; or trouble. It reads no body of an entry that is whole. All are
	// buried together before the first of them is deleted, as by Delete: many at once cost little more than one.
	//
	// An entry that takes the place of the one that is meant in the very moment of its deletion goes with it, unburied, and can be uploaded anew.
	DeleteExactly(ctx context.Context, entries []cache.Entry) []error
}

// exactlyAtOnce bounds how many entries are looked at or deleted at the same time: enough for a bucket's delay, and few beside requests.
const exactlyAtOnce = 4

// DeleteExactly implements [Store].
func (s *store) DeleteExactly(ctx context.Context, entries []cache.Entry) []error {
	errs := make([]error, len(entries))
	inParallel(len(entries), func(i int) { errs[i] = s.isExactly(ctx, entries[i]) })
	ids := make([][16]byte, 0, len(entries))
	for i, e := range entries {
		if errs[i] == nil {
			ids = append(ids, GraveID(e.Key, e.Record))
		}
	}
	if s.graves != nil && len(ids) > 0 {
		if err := s.graves.Bury(ctx, ids...); err != nil {
			s.warn("unburied", "entries are deleted, and this could not be recorded yet: until it is, they could be put back after a restart of this server", entries[0].Key, err)
		}
	}
	inParallel(len(entries), func(i int) {
		if errs[i] == nil {
			errs[i] = s.inner.Delete(ctx, entries[i].Key)
		}
	})
	return errs
}

// inParallel calls do for 0 to n-1, a few at once.
func inParallel(n int, do func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, exactlyAtOnce) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}

// isExactly is nil if an entry lies there, with a good seal.
func (s *store) isExactly(ctx context.Context, e cache.Entry) error {
	record, err := cache.ReadRecord(ctx, s.inner, e.Key)
	switch {
	case errors.Is(err, cache.ErrDamaged):
		return s.openFlawed(ctx, e.Key)
	case err != nil:
		return err
	case record.Seal != e.Record.Seal:
		return fmt.Errorf("%w: %q", cache.ErrOther, e.Key)
	}
	if flaw := Verify(s.keys, e.Key, record); flaw != nil {
		return s.openFlawed(ctx, e.Key)
	}
	if s.purges != nil && s.purges.Purged(&cache.Entry{Key: e.Key, Record: record}) {
		return fmt.Errorf("%w: %q: %w", cache.ErrOther, e.Key, ErrPurged) // it may be brought back, and is deleted by who purges
	}
	return nil
}

// openFlawed does with what is damaged or has no good seal what a request for it would do: it is set aside, with an alarm.
func (s *store) openFlawed(ctx context.Context, key cache.Key) error {
	obj, err := s.Open(ctx, key)
	switch {
	case err == nil:
		obj.Close()
		return fmt.Errorf("%w: %q", cache.ErrOther, key)
	case errors.Is(err, cache.ErrDamaged):
		return cache.ErrNotExist
	default:
		return err
	}
}
