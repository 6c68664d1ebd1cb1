package seal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// ErrRolledBack is for an entry with a good seal that was deleted before, and is back.
var ErrRolledBack = errors.New("it was deleted before")

// deletionGrace is how long an entry may lie there after it was buried without an alarm: its deletion may be under way, perhaps by another
// server. It is a miss all the same.
const deletionGrace = 5 * time.Minute

// Graves know which sealed entries were deleted, so that none of them comes back. A [Graveyard] is one.
//
// An entry's id comes from its seal, which nobody else can make: 127 bits of its SHA-256 after one bit that is set if the entry is
// in the trusted scope. So those who fill other scopes push no trusted grave out of memory.
type Graves interface {
	// Buried tells whether the entry was buried, and when. It waits for nothing.
	Buried(id [16]byte) (since time.Time, buried bool)
	// Bury is called before entries are deleted, or set aside by who uses the store. After an error they are buried all the same, but perhaps not
	// for other servers yet, nor beyond the end of this one. It waits for a few seconds at most, ctx notwithstanding.
	Bury(ctx context.Context, ids ...[16]byte) error
}

// GraveID names a sealed entry to [Graves]. Its seal must be known to be good: anybody can copy one.
func GraveID(key cache.Key, record cache.Record) [16]byte {
	sum := sha256.Sum256([]byte(record.Seal))
	sum[0] &= 0x7f
	if key.Scope == cache.Trusted {
		sum[0] |= 0x80
	}
	return [16]byte(sum[:16])
}

// verify is [Verify], and [ErrPurged], or [ErrRolledBack] with the time of the deletion.
func (s *store) verify(key cache.Key, record cache.Record) (deleted time.Time, flaw error) {
	if flaw := Verify(s.keys, key, record); flaw != nil {
		return time.Time{}, flaw
	}
	if s.purges != nil && s.purges.Purged(&cache.Entry{Key: key, Record: record}) {
		return time.Time{}, ErrPurged
	}
	if s.graves == nil {
		return time.Time{}, nil
	}
	if since, buried := s.graves.Buried(GraveID(key, record)); buried {
		return since, fmt.Errorf("%w, at %s", ErrRolledBack, since.UTC().Format(time.RFC3339))
	}
	return time.Time{}, nil
}

// isGoing reports whether a flaw is that of an entry that is purged, or whose deletion may be under way.
func (s *store) isGoing(deleted time.Time, flaw error) bool {
	return errors.Is(flaw, ErrPurged) || errors.Is(flaw, ErrRolledBack) && s.now().Sub(deleted) < deletionGrace
}

// open opens an entry and looks at its seal. A copy that this machine has kept of what was deleted elsewhere goes without ado, and what the
// storage itself has is opened in its place.
func (s *store) open(ctx context.Context, key cache.Key) (obj *cache.Object, deleted time.Time, flaw, err error) {
	for looks := 0; ; looks++ {
		if obj, err = s.inner.Open(ctx, key); err != nil {
			return nil, time.Time{}, nil, err
		}
		deleted, flaw = s.verify(key, obj.Record)
		if looks == 0 && obj.Copy && errors.Is(flaw, ErrPurged) && s.forget(ctx, obj) {
			obj.Close()
			continue
		}
		if looks > 0 || !obj.Copy || obj.SetAside == nil || !errors.Is(flaw, ErrRolledBack) {
			return obj, deleted, flaw, nil
		}
		if err := obj.SetAside(flaw.Error()); err != nil {
			return obj, deleted, flaw, nil // it is refused like any other
		}
		obj.Close()
	}
}

// bury is asked for good seals alone: one that somebody copied to another place would bury the entry that it is of.
func (s *store) bury(ctx context.Context, entry cache.Entry) {
	if err := s.graves.Bury(ctx, GraveID(entry.Key, entry.Record)); err != nil {
		s.warn("unburied", "an entry is deleted, and this could not be recorded yet: until it is, it could be put back after a restart of this server", entry.Key, err)
	}
}

// buryFirst has whoever sets an entry aside bury it before.
func (s *store) buryFirst(ctx context.Context, obj *cache.Object) {
	inner := obj.SetAside
	if s.graves == nil || inner == nil {
		return
	}
	entry := obj.Entry
	obj.SetAside = func(reason string) error {
		s.bury(ctx, entry)
		return inner(reason)
	}
}

// Delete implements [cache.Store]. The entry is buried before it is deleted: what a crash in between leaves behind is not served.
//
// Whatever fails on the way to its grave, it is deleted: somebody may be in the middle of an incident.
//
// What is purged is deleted by who purges.
func (s *store) Delete(ctx context.Context, key cache.Key) error {
	if s.graves == nil && s.purges == nil {
		return s.inner.Delete(ctx, key)
	}
	obj, _, flaw, errOpen := s.open(ctx, key)
	switch {
	case errors.Is(errOpen, cache.ErrNotExist):
		return errOpen
	case errOpen == nil:
		obj.Close()
		if errors.Is(flaw, ErrPurged) {
			return cache.ErrNotExist
		}
		if flaw == nil && s.graves != nil {
			s.bury(ctx, cache.Entry{Key: key, Record: obj.Record})
		}
	}
	err := s.inner.Delete(ctx, key)
	switch {
	case errOpen == nil || err != nil && !errors.Is(err, cache.ErrNotExist):
		return err
	case errors.Is(errOpen, cache.ErrDamaged):
		return nil // it was there, and went when it was opened or now
	case err == nil:
		s.warn("unburied", "an entry was deleted without being read: if it was whole, it could be put back", key, errOpen)
	}
	return err
}
