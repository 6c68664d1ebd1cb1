package tier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// body is one reader's way through a download.
type body struct {
	flight *flight
	off    int64
	closed bool

	// await waits until there are bytes at off, under the reader's context, and returns the offset up to which they can be read.
	await func() (int64, error)
	// reopen opens inner's entry, for when the local disk lets the download down.
	reopen func() (*cache.Object, error)
	own    *cache.Object // inner's entry, from off
}

func (s *Store) newBody(ctx context.Context, f *flight) *body {
	b := &body{flight: f}
	b.await = func() (visible int64, failed error) {
		err := f.await(ctx, func() bool {
			visible, failed = f.visible, f.err
			return visible > b.off || f.settled
		})
		if visible > b.off {
			return visible, nil // even if the download or the reader's context has come to an end
		}
		return visible, errors.Join(err, failed)
	}
	b.reopen = func() (*cache.Object, error) { return s.inner.Open(ctx, f.key) }
	return b
}

func (b *body) Read(p []byte) (int, error) {
	size := b.flight.entry.Record.Size
	switch {
	case b.closed:
		return 0, fmt.Errorf("read the entry %q: %w", b.flight.key, os.ErrClosed)
	case b.off == size:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	case b.own != nil:
		return b.readOwn(p)
	}
	visible, err := b.await()
	if err == nil {
		var n int
		n, err = b.flight.file.ReadAt(p[:min(int64(len(p)), visible-b.off)], b.off)
		if n > 0 {
			b.off += int64(n)
			return n, nil
		}
		b.flight.store.unreadable(b.flight.file, err)
		err = localError{err}
	}
	if _, isLocal := errors.AsType[localError](err); !isLocal {
		return 0, fmt.Errorf("read the entry %q: %w", b.flight.key, err)
	}
	if err := b.goOn(); err != nil {
		return 0, fmt.Errorf("read the entry %q from the storage, as the local disk fails: %w", b.flight.key, err)
	}
	return b.readOwn(p)
}

// goOn opens inner's entry and skips what the reader has already.
func (b *body) goOn() error {
	object, err := b.reopen()
	if err != nil {
		return err
	}
	if !sameRecord(object.Record, b.flight.entry.Record) {
		object.Close()
		return errors.New("another entry has taken its place")
	}
	if _, err := io.CopyN(io.Discard, object.Body, b.off); err != nil {
		object.Close()
		return err
	}
	b.own = object
	return nil
}

func (b *body) readOwn(p []byte) (int, error) {
	n, err := b.own.Body.Read(p)
	b.off += int64(n)
	if errors.Is(err, io.EOF) && b.off < b.flight.entry.Record.Size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close lets the download go. It may be called more than once.
func (b *body) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	b.flight.leave()
	if b.own != nil {
		return b.own.Close()
	}
	return nil
}

// unreadable takes note of a file that a download wrote and nobody can read.
func (s *Store) unreadable(file scratch, err error) {
	if _, temporary := file.(*temp); temporary {
		s.spilling.failed(err)
	} else {
		s.reading.failed(err)
	}
}

// closing returns a body that does something more when it is closed, and has the abilities that it had.
func closing(b io.ReadCloser, then func()) io.ReadCloser {
	c := closingBody{b, then}
	if at, ok := b.(io.ReaderAt); ok {
		return struct {
			closingBody
			io.ReaderAt
		}{c, at}
	}
	return c
}

type closingBody struct {
	io.ReadCloser
	then func()
}

// WriteTo leaves the way of the bytes to the body.
func (c closingBody) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, c.ReadCloser) }

func (c closingBody) Close() error {
	defer c.then()
	return c.ReadCloser.Close()
}
