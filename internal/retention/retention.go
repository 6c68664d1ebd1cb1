// Package retention keeps a store within its bounds: it removes entries that are too old, that nobody has read for long, and the least recently used of
// what is too much. It works by itself, in small steps beside the requests, by what the ledger knows of entries, and by one server at a time.
//
// What one scope holds never makes entries of another one go. Where a bound is for several scopes together, the largest of them pay (see [Limits] and
// [Disk]), and the trusted scope only for what it holds itself.
package retention

import (
	"context"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const (
	// Granularity is how far behind the time may be at which the ledger has an entry used: a hot entry then costs no write for each read. Whatever
	// depends on a use is later by as much.
	Granularity = time.Hour
	// Spare is how long an entry is safe from every bound but that of its age after it came in or was read.
	Spare = time.Hour
)

// Reason is why an entry goes.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	Age       Reason = "age"       // it is older than it may be
	Unused    Reason = "unused"    // nobody has read it for longer than that may be
	Quota     Reason = "quota"     // its scope holds too much
	Untrusted Reason = "untrusted" // the untrusted scopes of its workspace hold too much together
	DiskFull  Reason = "disk"      // the store holds too much, or the disk has too little room
	Ended     Reason = "ended"     // somebody ended its scope
)

// Reasons are those for which entries go by themselves.
var Reasons = [...]Reason{Age, Unused, Quota, Untrusted, DiskFull}

// Limits are those of one workspace. Zero is no bound.
type Limits struct {
	// Trusted is for the trusted scope, Others for each other one.
	Trusted, Others Ages
	// TrustedBytes and PerScope bound the trusted scope and each other one.
	TrustedBytes, PerScope int64
	// UntrustedTotal bounds all scopes but the trusted one together. Beyond it the largest of them pay, down to a common level, each with its coldest
	// entries: a flood in one scope pays for itself, and those who hold little lose nothing.
	UntrustedTotal int64
}

// Ages bound for how long an entry is kept. Zero is no bound.
type Ages struct {
	// MaxAge counts from the upload. Reading does not prolong it.
	MaxAge time.Duration
	// MaxUnused counts from the last read, or from the upload. It is exceeded by up to [Granularity].
	MaxUnused time.Duration
}

// Disk bounds the whole store. What is beyond it, untrusted scopes of all workspaces pay as with [Limits.UntrustedTotal]. Trusted ones pay only what would
// be beyond it if there were no untrusted entry at all, and no upload of one.
type Disk struct {
	// MaxBytes bounds what all entries hold together; 0 is no bound.
	MaxBytes int64
	// MinFree is how much room there has to be; 0 is none. Free tells how much there is; nil: MinFree means nothing.
	MinFree int64
	Free    func() (int64, error)
	// Unfinished tells how much of the room is taken by uploads to untrusted scopes that are no entries yet. Nil: none is.
	Unfinished func() (int64, error)
}

// Entry is what the ledger knows of an entry.
type Entry struct {
	// ID is given once: an entry that is recorded anew has another one.
	ID   int64
	Key  cache.Key
	Size int64
	// Created is the upload, Used the last read or recording, to [Granularity]. The zero Used is for what was recorded before uses were.
	Created, Used time.Time
	Seal          string
}

// Scope is what the ledger knows of a scope that holds entries.
type Scope struct {
	ID        int64
	Workspace cache.Workspace
	Scope     cache.Scope
	Entries   int64
	Bytes     int64
	// Used is when an entry of it was last used, to [Granularity]; zero: nobody knows.
	Used time.Time
}

// Order is one in which entries of a scope are looked at.
type Order int

// The orders: least recently used first, and oldest first.
const (
	ByUse Order = iota
	ByAge
)

// Query asks for entries of one scope.
type Query struct {
	Scope int64 // [Scope.ID]
	Order Order
	// Before bounds the time of the order: only what was used (created) before is asked for.
	Before time.Time
	// After is the last entry of the page before; nil: from the beginning.
	After *Entry
	Limit int
}

// Ledger is what retention knows the store's entries by. *ledger.Ledger is one.
type Ledger interface {
	// Held returns at most limit of the scopes that hold entries, by ID, from the first after the ID after.
	Held(ctx context.Context, after int64, limit int) ([]Scope, error)
	// Coldest returns entries in the order of the query.
	Coldest(ctx context.Context, q Query) ([]Entry, error)
	// ForgetByID notes that entries are gone. What was recorded anew under their keys has another ID and stays.
	ForgetByID(ctx context.Context, ids []int64) error

	// Lease makes holder the one of all servers who does the work called name, and says whether that is so; EndLease gives it up.
	Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error)
	EndLease(ctx context.Context, name, holder string) error
	// Setting and SetSetting remember a value.
	Setting(ctx context.Context, name string) ([]byte, error)
	SetSetting(ctx context.Context, name string, value []byte) error
}

// Store is what entries are deleted from: that of internal/store/seal is one.
type Store interface {
	// DeleteExactly deletes entries if they are those with these seals, and tells of each, by its place, what became of it: nil, [cache.ErrNotExist],
	// [cache.ErrOther] for a key under which there is another entry by now, which stays, or trouble.
	DeleteExactly(ctx context.Context, entries []cache.Entry) []error
}
