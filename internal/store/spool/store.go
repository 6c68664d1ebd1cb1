package spool

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// asideTimeout bounds the work of setting a pending entry aside, as that has no context.
const asideTimeout = 30 * time.Second

// errTakenBack ends a send whose entry is not wanted any more.
var errTakenBack = errors.New("the entry was taken back")

// Open implements [cache.Store]. A pending entry comes from the local store.
func (s *Store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, errLocal := s.openPending(ctx, key)
	if obj != nil || errLocal != nil && !errors.Is(errLocal, cache.ErrDamaged) {
		return obj, errLocal
	}
	obj, err := s.remote.Open(ctx, key)
	if errLocal != nil && errors.Is(err, cache.ErrNotExist) {
		err = errLocal
	}
	return obj, err
}

// openPending returns nil if there is no pending entry under key, and [cache.ErrDamaged] if there was one.
func (s *Store) openPending(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open the entry %q: %w", key, err)
	}
	for !s.idle.Load() {
		it, err := s.find(ctx, key)
		if it == nil || err != nil {
			return nil, err
		}
		obj, err := s.local.Open(ctx, key)
		if errors.Is(err, cache.ErrDamaged) {
			s.lose(it, err)
		}
		if errors.Is(err, cache.ErrNotExist) {
			return nil, nil // it was sent or deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		// What was opened might be a newer one, which is not acknowledged.
		if s.isPending(it) {
			obj.Pending = true
			obj.SetAside = s.setAside(it, obj)
			return obj, nil
		}
		obj.Close()
	}
	return nil, nil
}

func (s *Store) isPending(it *item) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return it.state == pending && !it.gone
}

// Delete implements [cache.Store]. A send under way is ended first. An upload that is not acknowledged yet is not touched: it counts as later.
func (s *Store) Delete(ctx context.Context, key cache.Key) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete the entry %q: %w", key, err)
	}
	had, err := s.deletePending(ctx, key)
	if err != nil {
		return err
	}
	err = s.remote.Delete(ctx, key)
	if err == nil || errors.Is(err, cache.ErrNotExist) {
		s.mu.Lock()
		if d := s.drafts[key]; d != nil {
			d.late = false
		}
		s.mu.Unlock()
	}
	if had && errors.Is(err, cache.ErrNotExist) {
		return nil
	}
	return err
}

// deletePending reports whether there was a pending entry.
func (s *Store) deletePending(ctx context.Context, key cache.Key) (had bool, err error) {
	if s.idle.Load() {
		return false, nil
	}
	if _, err := s.find(ctx, key); err != nil && !errors.Is(err, cache.ErrDamaged) {
		return false, err
	}
	var mine *item
	err = s.when(ctx, key, func(it *item) bool {
		if it == nil || it.state == waiting {
			return true
		}
		if it.state == pending {
			mine = it
			s.seize(it)
			return true
		}
		return false
	})
	if mine == nil || err != nil {
		return false, err
	}
	if err := s.await(ctx, mine); err != nil {
		return false, fmt.Errorf("delete the entry %q: end its sending: %w", key, err)
	}
	return true, s.drop(mine)
}

// seize takes a pending item out of the queue, for a call that decides about it.
func (s *Store) seize(it *item) {
	s.hide(it)
	it.state = held
	if it.cancel != nil {
		it.cancel(errTakenBack)
	}
}

// await returns when no send of a held item is under way. If ctx ends before, the item is dropped when the send ends.
func (s *Store) await(ctx context.Context, it *item) error {
	for {
		s.mu.Lock()
		sending := it.sending
		changed := it.watch()
		s.mu.Unlock()
		if !sending {
			return nil
		}
		err := s.watch(ctx, it, changed)
		if err == nil {
			continue
		}
		s.mu.Lock()
		sending = it.sending
		if sending {
			it.state = doomed
		}
		s.mu.Unlock()
		if sending {
			return err
		}
	}
}

// setAside returns what takes a pending entry out of the way: here, and at the remote store if it is there by now.
func (s *Store) setAside(it *item, obj *cache.Object) func(string) error {
	inner, entry := obj.SetAside, obj.Entry
	return func(reason string) error {
		ctx, cancel := context.WithTimeout(context.Background(), asideTimeout)
		defer cancel()
		if tried, err := s.setAsidePending(ctx, it, inner, reason); err != nil || !tried {
			return err
		}
		obj, err := s.remote.Open(ctx, entry.Key)
		if errors.Is(err, cache.ErrNotExist) || errors.Is(err, cache.ErrDamaged) {
			return nil
		}
		if err != nil {
			return err
		}
		defer obj.Close()
		switch {
		case !isSame(obj.Record, entry.Record):
			return nil
		case obj.SetAside != nil:
			return obj.SetAside(reason)
		}
		if err := s.remote.Delete(ctx, entry.Key); !errors.Is(err, cache.ErrNotExist) {
			return err
		}
		return nil
	}
}

// setAsidePending reports whether it was ever tried to send the entry.
func (s *Store) setAsidePending(ctx context.Context, it *item, inner func(string) error, reason string) (tried bool, err error) {
	s.mu.Lock()
	mine := it.state == pending && !it.gone
	if mine {
		s.seize(it)
	}
	tried = it.attempts > 0
	s.mu.Unlock()
	if !mine {
		// It was sent, or another call takes it away right now.
		return true, s.when(ctx, it.key, func(now *item) bool { return now != it || it.state == pending })
	}
	if err := s.await(ctx, it); err != nil {
		return tried, fmt.Errorf("set the entry %q aside: end its sending: %w", it.key, err)
	}
	if inner != nil {
		if err := inner(reason); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.show(it)
			s.schedule(it, time.Now())
			s.dispatch()
			return tried, err
		}
	}
	return tried, s.drop(it)
}

// isSame reports whether two records are of one upload.
func isSame(a, b cache.Record) bool {
	return a.SHA256 == b.SHA256 && a.Seal == b.Seal && a.Created.Equal(b.Created)
}

// List implements [cache.Store]. The local store comes first: an entry that is sent meanwhile is then listed by the remote store.
func (s *Store) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		seen := make(map[cache.Key]struct{})
		if !s.idle.Load() {
			for entry, err := range s.local.List(ctx, workspace) {
				if err == nil {
					if !s.found(entry) {
						continue
					}
					seen[entry.Key] = struct{}{}
				}
				if !yield(entry, err) {
					return
				}
			}
		}
		for entry, err := range s.remote.List(ctx, workspace) {
			if _, ok := seen[entry.Key]; ok {
				continue
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}
