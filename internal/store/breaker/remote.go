package breaker

import (
	"context"
	"errors"
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
	breaker *Breaker
}

// OverRemote is [Breaker.Over] for what is behind a spool: the circuits belong there, so that copies of the tier and uploads to the local disk go on
// while the storage is down. The spool's own sender tries Put again and again, and so is the probe of that circuit.
func (b *Breaker) OverRemote(inner Remote) Remote {
	b.circuits[opOpen].probe = func(ctx context.Context) error {
		_, err := inner.Has(ctx, probed)
		return err
	}
	b.circuits[opDelete].probe = func(ctx context.Context) error { return inner.Delete(ctx, probed) }
	b.circuits[opList].probe = func(ctx context.Context) error { return probeList(inner.List(ctx, probed.Workspace)) }
	return &remote{inner, b}
}

// Open implements [Remote]. A body that breaks off is a failure, too.
func (r *remote) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	call, err := r.breaker.allow(ctx, opOpen)
	if err != nil {
		return nil, err
	}
	obj, err := r.Remote.Open(call.ctx, key)
	call.end(err)
	if err == nil && obj.Body != nil && obj.URL == "" {
		obj.Body = &body{ReadCloser: obj.Body, call: call, breaker: r.breaker}
	}
	return obj, err
}

// Has implements [Remote]. It is one of the looks at an entry.
func (r *remote) Has(ctx context.Context, key cache.Key) (bool, error) {
	call, err := r.breaker.allow(ctx, opOpen)
	if err != nil {
		return false, err
	}
	has, err := r.Remote.Has(call.ctx, key)
	call.end(err)
	return has, err
}

// Put implements [Remote].
func (r *remote) Put(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
	call, err := r.breaker.allow(ctx, opCreate)
	if err != nil {
		return err
	}
	err = r.Remote.Put(call.ctx, entry, body)
	call.end(err)
	return err
}

// Delete implements [Remote].
func (r *remote) Delete(ctx context.Context, key cache.Key) error {
	call, err := r.breaker.allow(ctx, opDelete)
	if err != nil {
		return err
	}
	err = r.Remote.Delete(call.ctx, key)
	call.end(err)
	return err
}

// List implements [Remote].
func (r *remote) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return r.breaker.list(ctx, workspace, r.Remote.List)
}

// body tells the circuit if it breaks off, or if its reader gives it up after he had waited for long.
type body struct {
	io.ReadCloser
	call    *call // that opened it
	breaker *Breaker
	failed  bool
}

func (b *body) Read(p []byte) (int, error) {
	b.call.moved() // the reader's own pauses are not the store's
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !b.failed {
		b.failed = true
		if failure := b.call.verdict(err); failure != nil {
			b.breaker.note(opOpen, failure)
		}
	}
	return n, err
}
