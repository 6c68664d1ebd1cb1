package prompt

import (
	"cmp"
	"context"
	"errors"
	"io"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// draft is an upload to a directory that may hang. Once a call of it was left, nobody else touches it, and it is given up when the call returns.
type draft struct {
	store *Store
	key   cache.Key
	inner cache.Draft
	buf   []byte // what Write was given, as its caller may use that anew while it is still being written
	err   error  // the first one of Write
	left  bool
	spent bool
}

var errSpent = errors.New("the draft was committed or aborted before")

// outcome is what a call came to that is heard of even if it was left and has failed.
type outcome struct {
	n   int
	err error
}

// Write implements [io.Writer].
func (d *draft) Write(p []byte) (int, error) {
	switch {
	case d.spent:
		return 0, errSpent
	case d.err != nil:
		return 0, d.err
	}
	inner, buf := d.inner, append(d.buf[:0], p...)
	d.buf = buf
	var wrote outcome
	wrote, d.left, d.err = within(d.store.writes, d.store.opts.Wait, func(func()) (outcome, error) {
		n, err := inner.Write(buf)
		return outcome{n, err}, nil
	}, func(outcome) { inner.Abort() })
	if d.err == nil {
		d.err = wrote.err
	}
	return wrote.n, d.err
}

// Commit implements [cache.Draft]. One that hangs may come to something in the end, as any whose answer is lost.
func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	if d.spent {
		return errSpent
	}
	defer d.Abort()
	if d.err != nil {
		return d.err
	}
	inner := d.inner
	var committed outcome
	committed, d.left, d.err = within(d.store.writes, d.store.opts.Wait, func(func()) (outcome, error) {
		return outcome{err: inner.Commit(ctx, record)}, nil
	}, func(late outcome) {
		inner.Abort()
		if late.err == nil && d.store.opts.Late != nil {
			d.store.opts.Late(d.key)
		}
	})
	if d.err == nil {
		d.spent = true // and with it inner
		return committed.err
	}
	return d.err
}

// Abort implements [cache.Draft].
func (d *draft) Abort() {
	if d.spent {
		return
	}
	d.spent = true
	if !d.left { // else whoever is at it aborts
		d.store.writes.Release(d.inner.Abort)
	}
}

// file is what [draft.Follow] returns.
type file = interface {
	io.ReaderAt
	io.Closer
}

// Follow opens what is written so far, as inner does.
func (d *draft) Follow() (file, error) {
	followed, ok := d.inner.(interface{ Follow() (file, error) })
	if !ok {
		return nil, errors.New("the directory's drafts cannot be read while they are written")
	}
	type opened struct {
		file
		err error
	}
	inner := d.inner
	f, left, err := within(d.store.writes, d.store.opts.Wait, func(func()) (opened, error) {
		f, err := followed.Follow()
		return opened{f, err}, nil
	}, func(late opened) {
		if late.err == nil {
			_ = late.Close()
		}
		inner.Abort()
	})
	if left {
		d.left, d.err = true, err
	}
	if err = cmp.Or(err, f.err); err != nil {
		return nil, err
	}
	return following{f.file, d.store.writes}, nil
}

// following is a file whose end may be that of its bytes, too, which the disk has to give free.
type following struct {
	io.ReaderAt
	gate *Gate
}

func (f following) Close() error {
	f.gate.Release(func() { _ = f.ReaderAt.(io.Closer).Close() })
	return nil
}
