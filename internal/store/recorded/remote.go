package recorded

import (
	"context"
	"io"
	"iter"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Remote is a store to which a spool brings whole entries.
type Remote interface {
	Open(ctx context.Context, key cache.Key) (*cache.Object, error)
	Has(ctx context.Context, key cache.Key) (bool, error)
	Put(ctx context.Context, entry cache.Entry, body io.ReaderAt) error
	Delete(ctx context.Context, key cache.Key) error
	List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error]
	cache.Marker
}

type remote struct {
	Remote
	recorder *Recorder
	good     func(cache.Entry) bool
}

// OverRemote is [Recorder.Over] for what is behind a spool. A spool acknowledges what may come to nothing in the end, because there is another
// entry under the key that could not be seen: if that were noted, the other one would be taken for one that is no more. So entries are noted
// when inner has them.
//
// What a spool finds on its disk somebody may have put there. Only entries that are good are noted.
func (r *Recorder) OverRemote(inner Remote, good func(cache.Entry) bool) Remote {
	return &remote{inner, r, good}
}

// Open implements [Remote].
func (r *remote) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	before := r.recorder.opts.Now()
	obj, err := r.Remote.Open(ctx, key)
	return r.recorder.opened(key, before, obj, err)
}

// Put implements [Remote].
func (r *remote) Put(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
	err := r.Remote.Put(ctx, entry, body)
	if err == nil && r.good(entry) {
		r.recorder.note(&change{entry: entry})
	}
	return err
}

// Delete implements [Remote].
func (r *remote) Delete(ctx context.Context, key cache.Key) error {
	before := r.recorder.opts.Now()
	return r.recorder.deleted(key, before, r.Remote.Delete(ctx, key))
}

// ReadRecord implements [cache.RecordReader].
func (r *remote) ReadRecord(ctx context.Context, key cache.Key) (cache.Record, error) {
	return cache.ReadRecord(ctx, r.Remote, key)
}
