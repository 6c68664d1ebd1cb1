package tier

import (
	"context"
	"errors"
	"io"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// keep makes a download that is whole an entry of the local store, or says why not. refused is why it went to a temporary file.
func (f *flight) keep(ctx context.Context, file scratch, refused string) string {
	s := f.store
	switch {
	case s.local == nil:
		return tooLarge
	case refused == "":
		return f.commit(ctx, file)
	}
	s.spilling.well()
	if refused != noRoom && refused != scanning {
		return refused
	}
	// What is in the way may be gone by now.
	if refused = s.reserve(f, f.entry); refused != "" {
		return refused
	}
	d, err := s.newDraft(ctx, f.key)
	if err != nil {
		return s.notCreated(ctx, f, err)
	}
	defer d.close()
	buf := s.buffers.Get().(*[chunk]byte)
	defer s.buffers.Put(buf)
	from := struct{ io.Reader }{io.NewSectionReader(file, 0, f.entry.Record.Size)} // without its WriterTo, which has a buffer of its own
	if _, err := io.CopyBuffer(d, from, buf[:]); err != nil {
		d.abort()
		s.release(f)
		s.writing.failed(err)
		return troubled
	}
	return f.commit(ctx, d)
}

// commit publishes a draft that is complete, unless its key was deleted meanwhile. A delete that comes now waits.
func (f *flight) commit(ctx context.Context, file scratch) (refused string) {
	s := f.store
	sh := s.shard(f.id)
	sh.mu.Lock()
	if f.forgotten || sh.closed {
		sh.mu.Unlock()
		file.abort() // before its room is given to others
		s.release(f)
		return deleted
	}
	done := make(chan struct{})
	f.committing = done
	sh.mu.Unlock()

	err := file.commit(ctx, f.entry.Record)

	sh.mu.Lock()
	defer sh.mu.Unlock()
	f.committing = nil
	close(done)
	switch {
	case err == nil && f.forgotten:
		// Whoever deleted it did not wait to the end.
		s.hold(sh, f.id)
		n, i := sh.index.find(f.id)
		sh.index.ban(n, i)
		s.wake()
		return deleted
	case err == nil:
		s.hold(sh, f.id)
		s.writing.well()
		return ""
	case errors.Is(err, cache.ErrExist):
		s.hold(sh, f.id) // somebody put it there by hand
		return deleted
	default:
		s.remove(sh, f.id)
		if ctx.Err() == nil {
			s.writing.failed(err)
		}
		return troubled
	}
}
