package breaker

import (
	"context"
	"errors"
	"iter"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// probed is a key that no request can name: its workspace begins with a letter that none begins with.
var probed = cache.Key{Workspace: "-probe", Scope: "-probe", Hash: "-probe"}

// Over returns a store that is inner behind the circuits. Objects come from inner as they are, so that the kernel can still move their bytes.
//
// Inner may hang in the operating system, as a file server does that is gone, and not mind its context. Then the call returns all the same when
// its context ends, and what comes of it later is dropped. Writing to a draft and listing are not covered by that.
func (b *Breaker) Over(inner cache.Store) cache.Store {
	s := &store{inner: inner, breaker: b}
	b.circuits[opOpen].probe = func(ctx context.Context) error {
		obj, err := s.open(ctx, probed)
		if err == nil {
			err = obj.Close()
		}
		return err
	}
	b.circuits[opCreate].probe = s.probeCreate
	b.circuits[opDelete].probe = func(ctx context.Context) error { return s.delete(ctx, probed) }
	b.circuits[opList].probe = func(ctx context.Context) error { return probeList(inner.List(ctx, probed.Workspace)) }
	if marker, ok := inner.(cache.Marker); ok {
		return struct {
			*store
			cache.Marker
		}{s, marker}
	}
	return s
}

type store struct {
	inner   cache.Store
	breaker *Breaker
}

// Open implements [cache.Store].
func (s *store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	call, err := s.breaker.allow(ctx, opOpen)
	if err != nil {
		return nil, err
	}
	obj, err := s.open(call.ctx, key)
	call.end(err)
	return obj, err
}

func (s *store) open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, _, err := abandon(ctx, s.breaker, func() (*cache.Object, error) { return s.inner.Open(ctx, key) }, func(obj *cache.Object) { obj.Close() })
	return obj, err
}

// Create implements [cache.Store]. That it works says nothing yet: a full disk, too, lets a draft begin.
func (s *store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	call, err := s.breaker.allow(ctx, opCreate)
	if err != nil {
		return nil, err
	}
	inner, err := s.create(call.ctx, key)
	switch {
	case err == nil:
		call.done(errGivenUp)
		return &draft{inner: inner, breaker: s.breaker}, nil
	case errors.Is(err, cache.ErrExist):
		call.done(errGivenUp)
	default:
		call.end(err)
	}
	return nil, err
}

func (s *store) create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	inner, _, err := abandon(ctx, s.breaker, func() (cache.Draft, error) { return s.inner.Create(ctx, key) }, cache.Draft.Abort)
	return inner, err
}

// probeCreate writes a little.
func (s *store) probeCreate(ctx context.Context) error {
	inner, err := s.create(ctx, probed)
	if err != nil {
		return err
	}
	_, _, err = abandon(ctx, s.breaker, func() (int, error) {
		defer inner.Abort()
		return inner.Write(make([]byte, 4<<10))
	}, func(int) {})
	return err
}

// Delete implements [cache.Store].
func (s *store) Delete(ctx context.Context, key cache.Key) error {
	call, err := s.breaker.allow(ctx, opDelete)
	if err != nil {
		return err
	}
	err = s.delete(call.ctx, key)
	call.end(err)
	return err
}

func (s *store) delete(ctx context.Context, key cache.Key) error {
	_, _, err := abandon(ctx, s.breaker, func() (struct{}, error) { return struct{}{}, s.inner.Delete(ctx, key) }, func(struct{}) {})
	return err
}

// List implements [cache.Store].
func (s *store) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return s.breaker.list(ctx, workspace, s.inner.List)
}

// list is behind the circuit as a whole: its first trouble that is not about a single entry is its failure.
func (b *Breaker) list(ctx context.Context, workspace cache.Workspace, inner func(context.Context, cache.Workspace) iter.Seq2[cache.Entry, error]) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		call, err := b.allow(ctx, opList)
		if err != nil {
			yield(cache.Entry{}, err)
			return
		}
		var failure error
		defer func() { call.end(failure) }()
		for entry, err := range inner(call.ctx, workspace) {
			cache.Progress(call.ctx)
			if err != nil && failure == nil && entry.Key == (cache.Key{}) {
				failure = err
			}
			if !yield(entry, err) {
				return
			}
			cache.Progress(call.ctx) // the consumer's time is not the store's
		}
	}
}

func probeList(entries iter.Seq2[cache.Entry, error]) error {
	for _, err := range entries {
		return err
	}
	return nil
}

// draft is an upload behind the circuit. A commit is not refused any more: the body is there already, and may as well be kept.
type draft struct {
	inner   cache.Draft
	breaker *Breaker
	failed  bool // that was told to the circuit
	left    bool // inner is busy with a commit that nobody waits for
}

// errSpent is told to whoever goes on with a draft whose commit was left behind.
var errSpent = errors.New("the draft was committed or aborted before")

// Write appends to the body. Its first failure is one of the circuit's.
func (d *draft) Write(p []byte) (int, error) {
	if d.left {
		return 0, errSpent
	}
	n, err := d.inner.Write(p)
	if err != nil && !d.failed {
		d.failed = true
		d.breaker.note(opCreate, err)
	}
	return n, err
}

// Commit implements [cache.Draft]. One that hangs may come to something in the end, as any whose answer is lost.
func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	if d.left {
		return errSpent
	}
	call := d.breaker.begin(ctx, func(verdict error) { d.breaker.note(opCreate, verdict) })
	_, left, err := abandon(call.ctx, d.breaker, func() (struct{}, error) { return struct{}{}, d.inner.Commit(call.ctx, record) }, func(struct{}) {})
	d.left = left
	if !d.failed {
		d.failed = err != nil
		call.end(err)
	}
	return err
}

// Abort implements [cache.Draft].
func (d *draft) Abort() {
	if !d.left {
		d.inner.Abort()
	}
}
