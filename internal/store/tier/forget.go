package tier

import (
	"context"
	"errors"
	"fmt"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Delete implements [cache.Store]. The copy on this machine goes first, so that none is served of what is deleted. If it cannot be removed,
// it is not served by this process any more, the entry is deleted from the storage all the same, and the error says so.
func (s *Store) Delete(ctx context.Context, key cache.Key) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete the entry %q: %w", key, err)
	}
	defer s.deleting(key)()
	errLocal := s.Forget(ctx, key)
	err := s.inner.Delete(ctx, key)
	if errLocal != nil {
		return errors.Join(errLocal, err)
	}
	return err
}

// deleting says that the entry is about to go, from this machine first: a download that begins meanwhile is not kept. The caller calls
// done when it is gone: then nobody joins such a download any more.
func (s *Store) deleting(key cache.Key) (done func()) {
	id := idOf(key)
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.deletes[id]++
	return func() {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if sh.deletes[id]--; sh.deletes[id] == 0 {
			delete(sh.deletes, id)
		}
		if f := sh.flights[id]; f != nil {
			f.forgotten = true
			sh.detach(f)
		}
	}
}

// Forget removes this machine's copy of an entry that was deleted from the storage by somebody else, and keeps a download of it
// that is under way from being kept or joined. That there is none is no error. One that cannot be removed is not served any more by
// this process.
func (s *Store) Forget(ctx context.Context, key cache.Key) error {
	id := idOf(key)
	sh := s.shard(id)
	if err := sh.forget(ctx, id); err != nil {
		return fmt.Errorf("remove the entry %q from the tier: %w", key, err)
	}
	if s.local == nil {
		return nil
	}
	own := s.seize(sh, id, key)
	err := s.local.Delete(ctx, key)
	if errors.Is(err, cache.ErrNotExist) {
		err = nil
	}
	if own {
		s.seized(sh, id, err == nil)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() == nil {
		s.writing.failed(err)
	}
	s.wake() // tries again
	return fmt.Errorf("remove the entry %q from the tier: %w", key, err)
}

// seize keeps a copy from being served, for good. It reports whether the caller is the one who tells with seized what became of it;
// else somebody is at it already. One that is not known may be there all the same, before the scan has seen it.
func (s *Store) seize(sh *shard, id id, key cache.Key) (own bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n, _ := sh.index.find(id)
	if n == nil {
		n, _ = sh.index.add(id, key, 0, banned)
		s.grow(0)
	}
	if n.state == pending {
		return false // its download was told, and there is no file
	}
	n.doomed = true
	if n.state == leaving {
		return false
	}
	sh.index.seize(n)
	return true
}

func (s *Store) seized(sh *shard, id id, gone bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if gone {
		s.remove(sh, id)
		return
	}
	n, i := sh.index.find(id)
	sh.index.giveBack(n, i)
}

// forget keeps a download that is under way from being joined and kept. It waits for one that is being committed.
func (sh *shard) forget(ctx context.Context, id id) error {
	sh.mu.Lock()
	f := sh.flights[id]
	if f == nil {
		sh.mu.Unlock()
		return nil
	}
	f.forgotten = true
	sh.detach(f)
	committing := f.committing
	sh.mu.Unlock()
	if committing == nil {
		return nil
	}
	select {
	case <-committing:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ForgetScope does what [Store.Forget] does for all entries of a scope, or of all scopes of the workspace if it is empty. It looks
// at the whole index, and while the scan at the start goes on also at the local store itself.
func (s *Store) ForgetScope(ctx context.Context, workspace cache.Workspace, scope cache.Scope) error {
	hit := func(p place) bool { return p.workspace == workspace && (scope == "" || p.scope == scope) }
	var failed []error
	if s.local != nil && !s.scanned.Load() {
		for entry, err := range s.local.List(ctx, workspace) {
			switch {
			case err != nil && !errors.Is(err, cache.ErrDamaged):
				failed = append(failed, err)
			case err == nil && hit(place{entry.Key.Workspace, entry.Key.Scope}):
				failed = append(failed, s.Forget(ctx, entry.Key))
			}
		}
	}
	for i := range s.shards {
		for _, key := range s.shards[i].keys(hit) {
			failed = append(failed, s.Forget(ctx, key))
		}
	}
	return errors.Join(failed...)
}

// keys returns the keys of entries and of downloads whose place hit picks. It holds the lock for one page of the index at a time.
func (sh *shard) keys(hit func(place) bool) []cache.Key {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var keys []cache.Key
	for _, f := range sh.flights {
		if hit(place{f.key.Workspace, f.key.Scope}) {
			keys = append(keys, f.key)
		}
	}
	for i := uint32(1); i < sh.index.count; i++ {
		n := sh.index.node(i)
		if n.state != absent && n.state != pending && hit(sh.index.names.spaces[n.scope].place) {
			keys = append(keys, sh.index.key(n, i))
		}
		if i%pageSize == 0 {
			sh.mu.Unlock()
			sh.mu.Lock() // others go first
		}
	}
	return keys
}
