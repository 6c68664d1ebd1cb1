package cache

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact"
)

// What a store answers beside success. Any other error means that the store is in trouble: it is never
// mistaken for a miss.
var (
	// ErrNotExist says that there is no entry under the key.
	ErrNotExist = errors.New("no such entry")
	// ErrExist says that there is an entry under the key already; it stays as it is.
	ErrExist = errors.New("the entry exists already")
	// ErrDamaged says that what lay under the key was no whole entry of that key. It was set aside: the key is
	// free again. It is a miss to a client and an alarm to the operator.
	ErrDamaged = errors.New("the stored entry was damaged and is set aside")
	// ErrOther says that another entry is under the key than the one that is meant; it stays as it is.
	ErrOther = errors.New("another entry is under the key by now")
)

// Store keeps entries. Implementations are safe for concurrent use, also by several processes
// over the same storage, and pass the contract suite in internal/store/storetest.
//
// Retries, metrics, tiers, seals and faults are decorators: a Store over a Store.
type Store interface {
	// Open returns the entry under key, whole, or [ErrNotExist], or [ErrDamaged]. The caller closes it.
	Open(ctx context.Context, key Key) (*Object, error)
	// Create begins an entry under key. It returns [ErrExist] at once if it sees one there, so that a body need not be
	// taken in vain; only Commit decides. Nobody sees the entry before its Commit.
	Create(ctx context.Context, key Key) (Draft, error)
	// Delete removes the entry under key; [ErrNotExist] if there is none. Readers that have it open read
	// on to the end.
	Delete(ctx context.Context, key Key) error
	// List yields the entries of a workspace, of all workspaces if it is empty, in no promised order, without
	// reading bodies. Entries that come or go meanwhile may or may not be seen. An error that is yielded
	// is about one entry or one part of the store; the listing goes on after it if the consumer does. One that comes with
	// an entry's key says that the entry is there and may not be served: its record is not to be believed, it can be deleted.
	List(ctx context.Context, workspace Workspace) iter.Seq2[Entry, error]
}

// Marker is what a [Store] may be able to do beside: keep a few small notes about itself, for all who use the storage. A
// decorator has the ability if its inner store has it.
type Marker interface {
	// Mark returns the note called name, or [ErrNotExist]. Names have the letters a-z and '-'.
	Mark(ctx context.Context, name string) ([]byte, error)
	// SetMark writes a note of at most [MaxMark] bytes, whole or not at all, if it is still old; nil stands for one that does not
	// exist yet. Else it is [ErrExist]: of several that make the same note, one wins. A note that exists is replaced by whoever
	// comes last where the storage cannot do better.
	SetMark(ctx context.Context, name string, old, value []byte) error
}

// Peeker is what a [Store] may be able to do beside: give out what it has at hand. A decorator need not have the ability.
type Peeker interface {
	// Peek is Open for what can be answered at once, without any wait. If it is not ok, Open decides.
	Peek(key Key) (obj *Object, ok bool)
}

// Walker is what a [Store] may be able to do beside: yield what it has in an order that stays, so that who looks at all of it can be interrupted.
type Walker interface {
	// Walk yields the entries of a part of the store that come behind a position, the empty one being the beginning. Bodies are not
	// read. An error is trouble of the store that comes with no step; the walk goes on after it if it can.
	Walk(ctx context.Context, part Part, after string, way Way) iter.Seq2[Step, error]
}

// Part is a scope of a workspace; the whole workspace without a scope, and all of them without a workspace.
type Part struct {
	Workspace Workspace
	Scope     Scope
}

// Way is what a [Walker] does with what is no entry.
type Way int

// The ways of a walk.
const (
	// LeaveAlone changes nothing in the store.
	LeaveAlone Way = iota
	// SetAside takes what is damaged out of the way, as [Store].List does.
	SetAside
)

// Step is one thing on the way of a [Walker].
type Step struct {
	// Entry is what it says that it is: nothing, if it does not say so.
	Entry
	// Position is where the walk is after this step, up to a few hundred bytes.
	Position string
	// Place says where it lies, for people.
	Place string
	// Damage says why it is no whole entry, as far as that shows without its body. The walk has set it aside then, if it was told to, and else
	// Stuck says why not.
	Damage, Stuck error
}

// MaxMark bounds a note of a [Marker], in bytes.
const MaxMark = 4 << 10

// Quarantiner is what a backend may be able to do beside: put entries where nobody reads them, and bring them back. The name in quarantine belongs to one
// entry for ever, and has the digits 0-9 and a-f. Everything may be done again, after a crash or by several at once.
type Quarantiner interface {
	// Quarantine moves the very entry, which it tells by its seal, into quarantine: the key is free then. Nil says that it is there, also if it was before;
	// [ErrNotExist] that neither the store nor the quarantine has it.
	Quarantine(ctx context.Context, name string, entry Entry) error
	// Restore brings an entry back to its key. Nil says that it is there, also if it was before; [ErrExist] that the key has another one, and then it stays in
	// quarantine; [ErrNotExist] that neither has it.
	Restore(ctx context.Context, name string, entry Entry) error
	// Discard deletes from quarantine. That there is nothing of that name is no error.
	Discard(ctx context.Context, name string) error
}

// Draft is an entry in the making.
type Draft interface {
	// Write appends to the body.
	io.Writer
	// Commit publishes what was written under the draft's key: atomically, never in place of
	// another entry. [ErrExist] if there is a whole one already: of any number of drafts of one key, in
	// any number of processes, one wins. The record's Size must be what was written. After an
	// error nothing is visible that was not before. The draft is spent either way.
	Commit(ctx context.Context, record Record) error
	// Abort drops the draft and all that it holds. After a Commit it does nothing, so that it can be deferred.
	Abort()
}

// Object is an open entry.
type Object struct {
	Entry
	// Body yields exactly Record.Size bytes from its first Read. It implements [io.WriterTo] where the kernel can move
	// the bytes by itself (sendfile), and [io.ReaderAt] where it lies in a file. Where the bytes come from elsewhere, damage may
	// show only while they are read: then the last bytes are withheld and Read fails with [ErrDamaged].
	Body io.ReadCloser
	// SetAside takes this very entry out of the way and keeps it for whoever looks into it, as a store does with one that it
	// finds damaged; the key is free then. Nil: the store has no such place. The caller still closes the object.
	SetAside func(reason string) error
	// Pending says that the entry is acknowledged and safe on this machine, but not in the storage that all share: what another
	// server wrote may turn out to have been first, and then takes its place. Nobody may keep a copy of it.
	Pending bool
	// Copy says that the entry is a copy on this machine, for which the storage that all share was not asked: another server may have deleted it there.
	Copy bool
	// Verified says that Body holds its bytes against Record.SHA256 by itself: [io.EOF] comes only if they fit. Nobody need do it again.
	Verified bool
	// InMemory says that to read the body waits for nothing.
	InMemory bool
	// URL is where a client may fetch the body by itself, for a short time, without a credential of this server. Empty: it reads Body.
	URL string
}

// Close ends the reading. It may be called more than once.
func (o *Object) Close() error { return o.Body.Close() }

// Entry is an artifact's key and record.
type Entry struct {
	Key    Key
	Record Record
}

// Record is what is kept beside an artifact's bytes. Stores keep it as JSON, so that later versions can add fields.
type Record struct {
	// Size counts the artifact's bytes.
	Size int64 `json:"size"`
	// SHA256 is the digest of the artifact's bytes.
	SHA256 artifact.Digest `json:"sha256"`
	// Content is the canonical digest of what the artifact unpacks to; see [artifact.Summary].
	Content artifact.Digest `json:"content"`
	// Inflated counts the bytes of the archive after decompression.
	Inflated int64 `json:"inflated"`
	// Members counts the archive's members.
	Members int `json:"members"`
	// Opaque says that the body is not an archive of the known format and was stored unchecked.
	Opaque bool `json:"opaque,omitempty"`
	// Created is when the upload was complete, by the server's clock, in UTC.
	Created time.Time `json:"created"`
	// Producer says who uploaded it.
	Producer Producer `json:"producer"`
	// Seal binds the record to its key; see internal/store/seal. It is empty until the entry is sealed.
	Seal string `json:"seal,omitempty"`
}

// Producer is who uploaded an entry, taken from a verified credential alone. Names are for people; ids decide.
type Producer struct {
	// Kind is "anonymous" (an open server), "token" (a static token) or "ci" (a verified identity of a CI).
	Kind string `json:"kind"`
	// TokenID and TokenName are those of the static token; Developer is whose token it is, if it is a person's.
	TokenID   string `json:"token_id,omitempty"`
	TokenName string `json:"token_name,omitempty"`
	Developer string `json:"developer,omitempty"`

	// Provider is "github", "gitlab" or "oidc", Issuer who vouches for the identity, Subject its "sub".
	Provider string `json:"provider,omitempty"`
	Issuer   string `json:"issuer,omitempty"`
	Subject  string `json:"subject,omitempty"`
	// Session is the id of the session, if there is one; else the token of the CI was the bearer itself.
	Session string `json:"session,omitempty"`
	// Repository is the name of the repository (GitLab: project) whose pipeline ran, at that time.
	Repository   string `json:"repository,omitempty"`
	RepositoryID string `json:"repository_id,omitempty"`
	// OwnerID is the id of the repository's owner (GitLab: namespace).
	OwnerID string `json:"owner_id,omitempty"`
	// SourceID is the id of the repository whose code ran, where that may be another one (GitLab: project_id of a fork).
	SourceID string `json:"source_id,omitempty"`
	// Event is GitHub's event_name or GitLab's pipeline_source; Ref the full ref; Commit the commit's hash.
	Event  string `json:"event,omitempty"`
	Ref    string `json:"ref,omitempty"`
	Commit string `json:"commit,omitempty"`
	// RunID and RunAttempt name the run (GitLab: the pipeline), Job the job in it.
	RunID      string `json:"run_id,omitempty"`
	RunAttempt string `json:"run_attempt,omitempty"`
	Job        string `json:"job,omitempty"`
	// WorkflowRef is the workflow file with the ref that it came from (GitLab: ci_config_ref_uri).
	WorkflowRef string `json:"workflow_ref,omitempty"`
	// Actor and ActorID are who set the run off.
	Actor   string `json:"actor,omitempty"`
	ActorID string `json:"actor_id,omitempty"`
}

// Grant is what a request may do: read an ordered list of scopes in one workspace and write at most one.
type Grant struct {
	Workspace Workspace
	// Read lists the scopes that a hash is looked for in, first to last. Empty: reads are misses.
	Read []Scope
	// Write is the scope that uploads go to. Empty: uploads are denied.
	Write Scope
	// Producer goes into the record of what is written.
	Producer Producer
}
