package prompt

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// gathered is how much of an upload is put together, in bytes. Each upload under way holds that much.
const gathered = 32 << 10

var buffers = sync.Pool{New: func() any { return new([gathered]byte) }}

// draft is an upload to a directory that may hang. Once a call of it was left, nobody else touches it, and it is given up when the call returns.
type draft struct {
	store *Store
	key   cache.Key
	inner cache.Draft
	buf   *[gathered]byte // what Write was given, as its caller may use that anew while it is still being written
	n     int             // bytes in it that the disk has not
	pen   *writer         // nil until there is a piece for it
	err   error           // the first one of Write
	left  bool
	spent bool
	// committed says that there is nothing to be given back.
	committed bool
}

var errSpent = errors.New("the draft was committed or aborted before")

// outcome is what a call came to that is heard of even if it was left and has failed.
type outcome struct{ err error }

// Write implements [io.Writer].
func (d *draft) Write(p []byte) (written int, err error) {
	if d.spent {
		return 0, errSpent
	}
	if d.buf == nil && d.err == nil {
		d.buf = buffers.Get().(*[gathered]byte)
	}
	for len(p) > 0 && d.err == nil {
		n := copy(d.buf[d.n:], p)
		d.n += n
		if !d.store.opts.Gather || d.n == gathered {
			d.flush()
		}
		if d.err == nil {
			written += n
		}
		p = p[n:]
	}
	return written, d.err
}

// flush brings to the disk what was put together.
func (d *draft) flush() {
	if d.pen == nil {
		d.pen = newWriter(d.store.writes, d.store.opts.Wait, d.inner)
	}
	d.left, d.err = d.pen.write(d.buf[:d.n], d.inner.Abort)
	d.n = 0
	if d.left {
		d.pen = nil
	}
}

// rest ends the goroutine that writes, if there is one.
func (d *draft) rest() {
	if d.pen != nil {
		d.pen.end()
		d.pen = nil
	}
}

func write(to io.Writer, bytes []byte) error {
	if len(bytes) == 0 {
		return nil
	}
	_, err := to.Write(bytes)
	return err
}

// do does something with inner. If it hangs, it is late that hears what it comes to.
func (d *draft) do(call func() error, late func(error)) {
	came, left, err := within(d.store.writes, d.store.opts.Wait, func(func()) (outcome, error) { return outcome{call()}, nil }, func(o outcome) { late(o.err) })
	d.left, d.err = left, cmp.Or(err, came.err)
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
	inner, rest := d.inner, []byte(nil)
	if d.n > 0 {
		rest = d.buf[:d.n]
	}
	commit := func() error {
		if err := write(inner, rest); err != nil {
			return err
		}
		return inner.Commit(ctx, record)
	}
	if d.store.watched {
		d.err = commit()
		d.committed = d.err == nil
		return d.err
	}
	d.do(commit, func(err error) {
		inner.Abort()
		if err == nil && d.store.opts.Late != nil {
			d.store.opts.Late(d.key)
		}
	})
	d.committed = d.err == nil
	return d.err
}

// Abort implements [cache.Draft].
func (d *draft) Abort() {
	if d.spent {
		return
	}
	d.spent = true
	d.rest()
	if d.left { // whoever is at it aborts, and uses the buffer
		return
	}
	if d.buf != nil {
		buffers.Put(d.buf)
		d.buf = nil
	}
	if !d.committed {
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
