// Package divergence raises an alarm when the trusted scope and another one of the same workspace hold different content under one hash. Both were made
// of the same inputs, as far as Nx knows: so a task is not deterministic, or somebody tried to poison it. Nothing of it is on the way of a request.
package divergence

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Level says how much a divergence tells.
type Level string

// The levels of a divergence.
const (
	// Pending is one whose members have not been compared yet.
	Pending Level = "pending"
	// First is one whose like others have not made before: worth a page.
	First Level = "first"
	// Recurring is one whose like others made before, often enough: a task that is not deterministic, most likely.
	Recurring Level = "recurring"
)

// A divergence is recurring if the same members differed before, in divergences that somebody else than the present one's maker made, under at least
// RecurringHashes other hashes and against at least RecurringRuns trusted runs. So nobody makes a cover for himself.
const (
	RecurringHashes = 3
	RecurringRuns   = 2
)

// Divergence is a pair of entries under one hash, of which one is trusted, that unpack to different things.
type Divergence struct {
	// ID is given once.
	ID        int64
	Workspace cache.Workspace
	Hash      cache.Hash
	// Scope is where the other entry is.
	Scope cache.Scope
	// Trusted and Other are the records of both as they were when this was found; the entries may be gone.
	Trusted, Other cache.Record
	// Found is when it was noticed, in UTC.
	Found time.Time
	Level Level
	// Times counts the hashes under which the same members differed, this one included, and Since is when that was first found. 0 if the
	// members are not known.
	Times int
	Since time.Time
	// Comparison says what differs. Its zero value: nobody has looked yet.
	Comparison Comparison
}

// Key is the key of the other entry, or of the trusted one.
func (d *Divergence) Key(trusted bool) cache.Key {
	if trusted {
		return cache.Key{Workspace: d.Workspace, Scope: cache.Trusted, Hash: d.Hash}
	}
	return cache.Key{Workspace: d.Workspace, Scope: d.Scope, Hash: d.Hash}
}

// Pair identifies the two entries: an entry that was deleted and made again is another one, and its divergence, too.
func (d *Divergence) Pair() (digest artifact.Digest) {
	var text []byte
	for _, part := range []string{string(d.Workspace), string(d.Scope), string(d.Hash)} {
		text = append(binary.BigEndian.AppendUint32(text, uint32(len(part))), part...)
	}
	for _, r := range []*cache.Record{&d.Trusted, &d.Other} {
		text = append(text, r.SHA256[:]...)
		text = binary.BigEndian.AppendUint64(text, uint64(r.Created.UnixNano()))
	}
	return sha256.Sum256(text)
}

// Differ reports whether two records are of different content. What is opaque has no content that could be told from its bytes.
func Differ(a, b *cache.Record) bool {
	return a.SHA256 != b.SHA256 && (a.Opaque || b.Opaque || a.Content != b.Content)
}

// Flood says how many divergences of a scope were counted and not kept, because there are too many of it.
type Flood struct {
	Workspace cache.Workspace
	Scope     cache.Scope
	Count     int
	Since     time.Time
	Last      time.Time
}

// Found is what one step over the ledger's entries came to.
type Found struct {
	// New counts the divergences that were recorded.
	New int
	// Beyond has the scopes that have too many, with how many were counted in this step and not kept.
	Beyond []Flood
	// More says that there are entries left to look at.
	More bool
}

// Ledger is where divergences are found and kept. internal/ledger has one.
type Ledger interface {
	// Lease makes holder the one of several servers who does a work, and EndLease ends that.
	Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error)
	EndLease(ctx context.Context, name, holder string) error
	// DivergencesDue says whether there is anything to do. It writes nothing.
	DivergencesDue(ctx context.Context) (bool, error)
	// FindDivergences looks at the entries that were recorded since it was last called, at most so many, and records divergences: each once.
	FindDivergences(ctx context.Context, entries int) (Found, error)
	// PendingDivergences returns at most limit of those whose members are not compared yet. Scopes take turns.
	PendingDivergences(ctx context.Context, limit int) ([]Divergence, error)
	// SettleDivergence notes a comparison, and decides on the level. It says whether it did: it did not if somebody else was faster. One of
	// [Same] is no divergence and is forgotten.
	SettleDivergence(ctx context.Context, id int64, c Comparison) (Divergence, bool, error)
}
