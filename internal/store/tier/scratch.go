package tier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/prompt"
)

// scratch is the file that a download goes to. Reading at an offset that is written is safe meanwhile, for any number of readers.
type scratch interface {
	io.Writer
	io.ReaderAt
	// commit makes it an entry of the local store, if it is a draft of it.
	commit(ctx context.Context, record cache.Record) error
	// abort gives the draft up. What is written can be read on.
	abort()
	// close ends reading, too.
	close()
}

// newScratch makes the file for a download: a draft of the local store if it is to be kept, else a temporary one, and says why. It is nil
// if there can be none.
func (s *Store) newScratch(ctx context.Context, f *flight, entry cache.Entry) (file scratch, refused string) {
	if s.local == nil {
		return s.newTemp(entry), tooLarge
	}
	if refused = s.reserve(f, entry); refused == "" {
		d, err := s.newDraft(ctx, f.key)
		if err == nil {
			return d, ""
		}
		refused = s.notCreated(ctx, f, err)
		if errors.Is(err, prompt.ErrHangs) {
			f.moved()           // who waits has waited for a disk, and the storage has not been asked for the body yet
			return nil, refused // the other directory is on the same disk, most likely
		}
	}
	return s.newTemp(entry), refused
}

// notCreated gives the room back of an entry that cannot be begun in the local store.
func (s *Store) notCreated(ctx context.Context, f *flight, err error) (refused string) {
	if errors.Is(err, cache.ErrExist) {
		// It is there, though nobody knew: somebody put it there by hand.
		sh := s.shard(f.id)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		s.hold(sh, f.id)
		return deleted
	}
	if ctx.Err() == nil {
		s.writing.failed(err)
	}
	s.release(f)
	return troubled
}

// newTemp returns a temporary file for a body, or nil.
func (s *Store) newTemp(entry cache.Entry) scratch {
	size := entry.Record.Size
	if size < 0 || !s.spilling.worthTrying() || !s.reserveTemp(size) {
		return nil
	}
	t, err := newTemp(s.opts.TempDir, s.temps)
	if err != nil {
		s.temp.Add(-size)
		s.spilling.failed(err)
		return nil
	}
	return t
}

// retryTemp writes a little where downloads go that are not to be kept, if that failed some time ago: where all is kept again, nobody would notice that it works.
func (s *Store) retryTemp() {
	if s.spilling.state() == nil || !s.spilling.worthTrying() {
		return
	}
	t, err := newTemp(s.opts.TempDir, s.temps)
	if err == nil {
		_, err = t.Write(make([]byte, block))
		t.close()
	}
	if err != nil {
		s.spilling.failed(err)
		return
	}
	s.spilling.well()
}

// reserveTemp takes room for a temporary file. Sizes are what a storage says, so that no sum of two may be trusted not to overflow.
func (s *Store) reserveTemp(size int64) bool {
	for {
		used := s.temp.Load()
		if size > s.opts.TempSize-used {
			return false
		}
		if s.temp.CompareAndSwap(used, used+size) {
			return true
		}
	}
}

// draft is a scratch that can become an entry of the local store.
type draft struct {
	cache.Draft
	written interface {
		io.ReaderAt
		io.Closer
	}
}

func (s *Store) newDraft(ctx context.Context, key cache.Key) (*draft, error) {
	made, err := s.local.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	followed, ok := made.(follower)
	if !ok {
		made.Abort()
		return nil, fmt.Errorf("the drafts of the tier's local store, %T, cannot be read while they are written", s.local)
	}
	written, err := followed.Follow()
	if err != nil {
		made.Abort()
		return nil, err
	}
	return &draft{made, written}, nil
}

func (d *draft) ReadAt(p []byte, off int64) (int, error) { return d.written.ReadAt(p, off) }

func (d *draft) commit(ctx context.Context, record cache.Record) error { return d.Commit(ctx, record) }

func (d *draft) abort() { d.Abort() }

func (d *draft) close() {
	d.Abort()
	_ = d.written.Close()
}

// temp is a scratch that is gone when it is closed. Its calls answer in time, though the disk hangs.
type temp struct {
	file  *os.File
	gate  *prompt.Gate
	named bool   // the system could not remove it while it is open
	buf   []byte // what is written: after a call that hangs it is still in use
	err   error  // of the first write that failed: after it there may be one under way
}

func newTemp(dir string, gate *prompt.Gate) (*temp, error) {
	return prompt.Do(gate, func(func()) (*temp, error) {
		file, err := os.CreateTemp(dir, "bezoar-tier-*")
		if err != nil {
			return nil, err
		}
		return &temp{file: file, gate: gate, named: os.Remove(file.Name()) != nil}, nil
	}, (*temp).close)
}

func (t *temp) Write(p []byte) (n int, err error) {
	if t.err != nil {
		return 0, t.err
	}
	buf := append(t.buf[:0], p...)
	t.buf = buf
	n, t.err = prompt.Do(t.gate, func(func()) (int, error) { return t.file.Write(buf) }, nil)
	return n, t.err
}

func (t *temp) ReadAt(p []byte, off int64) (int, error) { return t.file.ReadAt(p, off) }

func (t *temp) commit(context.Context, cache.Record) error { return nil }

func (t *temp) abort() {}

func (t *temp) close() {
	t.gate.Release(func() {
		_ = t.file.Close()
		if t.named {
			_ = os.Remove(t.file.Name())
		}
	})
}
