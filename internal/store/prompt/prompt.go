// Package prompt keeps a directory that hangs in the operating system from holding those who use it: a disk that is frozen, a volume that its provider has lost, a file
// server that is gone. A call of such a one does not return, and minds no context.
//
// Calls that read and calls that write have a [Gate] each, as disks can often still do the one and not the other. What is read of an object's body is not covered: it
// goes from the file to the network by the kernel.
package prompt

import (
	"context"
	"iter"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Directory is a store on a disk.
type Directory interface {
	cache.Store
	cache.Marker
	cache.RecordReader
	Sync(ctx context.Context, key cache.Key) error
}

// Options of a [Store].
type Options struct {
	// Wait is for how long a call may show no progress: then the disk hangs. It must be positive.
	Wait time.Duration
	// SyncWait is the same for Sync, which may have much to bring to the disk. Zero: Wait.
	SyncWait time.Duration
	// Gather puts the writes of an upload together before the disk has them: each call that may hang costs a goroutine. Not for who follows a draft.
	Gather bool
	// Late is told of an entry that was committed after its commit was said to have failed. Nil: it stays.
	Late func(cache.Key)
}

// Store is a [Directory] that answers in time.
type Store struct {
	Directory
	opts          Options
	reads, writes *Gate
	watched       bool // calls but those of a draft's bytes are
}

var _ Directory = (*Store)(nil)

// New returns a store that is inner.
func New(inner Directory, options Options) *Store {
	if options.SyncWait == 0 {
		options.SyncWait = options.Wait
	}
	return &Store{Directory: inner, opts: options, reads: NewGate(options.Wait), writes: NewGate(options.Wait)}
}

// Open implements [cache.Store].
func (s *Store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := Do(s.reads, func(alive func()) (*cache.Object, error) {
		return s.Directory.Open(telling(ctx, alive), key)
	}, func(obj *cache.Object) { obj.Close() })
	if err != nil {
		return nil, err
	}
	if aside := obj.SetAside; aside != nil {
		obj.SetAside = func(reason string) error { return s.write(func() error { return aside(reason) }) }
	}
	return obj, nil
}

// telling returns a context under which progress is told to both.
func telling(ctx context.Context, alive func()) context.Context {
	return cache.WithProgress(ctx, func() {
		alive()
		cache.Progress(ctx)
	})
}

// ReadRecord implements [cache.RecordReader].
func (s *Store) ReadRecord(ctx context.Context, key cache.Key) (cache.Record, error) {
	return Do(s.reads, func(alive func()) (cache.Record, error) { return s.Directory.ReadRecord(telling(ctx, alive), key) }, nil)
}

// Delete implements [cache.Store]. One that hangs may come to something in the end.
func (s *Store) Delete(ctx context.Context, key cache.Key) error {
	return s.write(func() error { return s.Directory.Delete(ctx, key) })
}

// Sync brings an entry to the disk.
func (s *Store) Sync(ctx context.Context, key cache.Key) error {
	_, _, err := within(s.writes, s.opts.SyncWait, func(func()) (struct{}, error) { return struct{}{}, s.Directory.Sync(ctx, key) }, nil)
	return err
}

// List implements [cache.Store]. It is inner's, and hangs with it: no build waits for it.
func (s *Store) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return s.Directory.List(ctx, workspace)
}

func (s *Store) write(do func() error) error {
	_, err := Do(s.writes, func(func()) (struct{}, error) { return struct{}{}, do() }, nil)
	return err
}

// Create implements [cache.Store].
func (s *Store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	create := func(func()) (cache.Draft, error) { return s.Directory.Create(ctx, key) }
	var inner cache.Draft
	var err error
	if s.watched {
		inner, err = create(nil)
	} else {
		inner, err = Do(s.writes, create, cache.Draft.Abort)
	}
	if err != nil {
		return nil, err
	}
	return &draft{store: s, key: key, inner: inner}, nil
}

// Drafts returns a directory of which only the bytes of uploads, and their removal, answer in time: for who watches over all other calls by himself.
func Drafts(inner Directory, wait time.Duration) Directory {
	s := New(inner, Options{Wait: wait, Gather: true})
	s.watched = true
	return drafts{inner, s}
}

type drafts struct {
	Directory
	prompt *Store
}

func (d drafts) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	return d.prompt.Create(ctx, key)
}
