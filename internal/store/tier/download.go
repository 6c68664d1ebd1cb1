package tier

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const (
	// chunk is how many bytes are taken from inner at once.
	chunk = 256 << 10
	// withheld is how much of the end of a body that flows waits for its digest.
	withheld = 64 << 10
	// Those who wait for a whole body hear of its progress when one of these is reached, rather than at each chunk.
	tellBytes = 512 << 10
	tellEvery = 100 * time.Millisecond
)

// localError is trouble of the local disk in a download. Its readers go on without it.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

// run is the download.
func (f *flight) run(ctx context.Context) {
	defer f.end()
	s := f.store
	leave, err := f.enter(ctx)
	if err != nil {
		f.fail(err)
		return
	}
	defer leave()
	object, err := f.ask(ctx)
	if err != nil {
		if errors.Is(err, cache.ErrDamaged) {
			s.metrics.damaged.WithLabelValues("inner").Inc()
		}
		f.fail(err)
		return
	}
	if object.Pending || object.URL != "" {
		f.part(object)
		return
	}
	if s.goesAlone(f, object) {
		f.partAlone(object)
		return
	}
	entry := cache.Entry{Key: f.key, Record: object.Record}
	file, refused := s.newScratch(ctx, f, entry)
	if file == nil {
		f.part(object)
		return
	}
	defer object.Close()
	f.start(entry, file, refused == "")
	if err := f.fill(ctx, object, file); err != nil {
		f.drop(object, refused == "", err)
		return
	}
	f.change(func() { f.settled, f.visible = true, f.got })
	switch refused = f.keep(ctx, file, refused); {
	case refused == "":
		f.detach() // it is read from the local store now
		s.retryTemp()
	case s.local != nil:
		s.metrics.notKept.WithLabelValues(refused).Inc()
	}
}

// ask opens inner's entry. A miss counts for those only who came before inner was asked, since an entry may have been made in
// between: for the others inner is asked once more. So each waits for two answers at most, however many come.
func (f *flight) ask(ctx context.Context) (*cache.Object, error) {
	sh := f.store.shard(f.id)
	for {
		sh.mu.Lock()
		f.asks++
		asks := f.asks
		sh.mu.Unlock()
		object, err := f.store.inner.Open(ctx, f.key)
		if !errors.Is(err, cache.ErrNotExist) {
			return object, err
		}
		f.change(func() { f.misses = asks })
		sh.mu.Lock()
		again := f.latest >= asks && f.refs > 0 && ctx.Err() == nil
		if !again {
			sh.detach(f)
		}
		sh.mu.Unlock()
		if !again {
			return nil, err
		}
	}
}

// enter waits for the download's turn. The caller calls leave when it is over.
func (f *flight) enter(ctx context.Context) (leave func(), err error) {
	s := f.store
	if !s.slots.TryAcquire(1) {
		defer s.queued.Add(-1)
		if s.queued.Add(1) > int64(s.opts.Queue) {
			return nil, fmt.Errorf("open the entry %q: %w: %d", f.key, errBusy, s.opts.Queue)
		}
		waiting, cancel := context.WithTimeout(ctx, s.opts.QueueWait)
		defer cancel()
		if err := s.slots.Acquire(waiting, 1); err != nil {
			if ctx.Err() == nil {
				err = fmt.Errorf("open the entry %q: %w: none of %d ended within %s", f.key, errBusy, s.opts.Downloads, s.opts.QueueWait)
			}
			return nil, err
		}
	}
	return func() { s.slots.Release(1) }, nil
}

// start tells the readers that there is a body to come.
func (f *flight) start(entry cache.Entry, file scratch, kept bool) {
	ahead := f.store.opts.VerifyAhead
	f.change(func() {
		f.opened, f.entry, f.file, f.kept = true, entry, file, kept
		f.ahead = ahead < 0 || entry.Record.Size <= ahead
	})
}

// fail ends the download before there was a body. Nobody joins an end.
func (f *flight) fail(err error) {
	if f.store.lifetime().Err() != nil {
		err = errClosed
	}
	f.detach()
	f.change(func() { f.opened, f.settled, f.err = true, true, err })
}

// part lets each reader have an object of its own; the first one has this.
func (f *flight) part(object *cache.Object) {
	sh := f.store.shard(f.id)
	sh.mu.Lock()
	f.apart = true
	sh.detach(f)
	sh.mu.Unlock()
	f.change(func() { f.opened, f.settled, f.own = true, true, object })
}

// fill takes the body in. Its error is damage, trouble of inner's, or a [localError].
//
// A body that inner verifies is not digested again: SHA-256 is most of what a download costs.
func (f *flight) fill(ctx context.Context, object *cache.Object, file scratch) error {
	s := f.store
	buf := s.buffers.Get().(*[chunk]byte)
	defer s.buffers.Put(buf)
	var sum hash.Hash
	if !object.Verified {
		sum = sha256.New()
	}
	size := f.entry.Record.Size
	told, at := int64(0), time.Now()
	for got := int64(0); ; {
		n, err := object.Body.Read(buf[:])
		if int64(n) > size-got {
			return fmt.Errorf("%w: it has more bytes than its record says, %d", cache.ErrDamaged, size)
		}
		if n > 0 {
			if sum != nil {
				sum.Write(buf[:n])
			}
			if _, err := file.Write(buf[:n]); err != nil {
				return localError{err}
			}
			got += int64(n)
			s.metrics.fetched.Add(float64(n))
			if !f.ahead || got-told >= tellBytes || time.Since(at) >= tellEvery {
				told, at = got, time.Now()
				f.change(func() { f.advance(got) })
			}
		}
		switch {
		case errors.Is(err, io.EOF) && got < size:
			return fmt.Errorf("%w: it ends after %d bytes of %d", cache.ErrDamaged, got, size)
		case errors.Is(err, io.EOF):
			f.change(func() { f.advance(got) })
			if sum != nil && [sha256.Size]byte(sum.Sum(nil)) != f.entry.Record.SHA256 {
				return fmt.Errorf("%w: its body does not have the SHA-256 of its record", cache.ErrDamaged)
			}
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// advance notes what has come. The flight is locked.
func (f *flight) advance(got int64) {
	f.got = got
	if !f.ahead {
		f.visible = max(f.visible, min(got, f.entry.Record.Size-withheld))
	}
}

// drop ends a download that will not be whole.
func (f *flight) drop(object *cache.Object, kept bool, err error) {
	s := f.store
	f.detach()
	local, isLocal := errors.AsType[localError](err)
	switch {
	case errors.Is(err, cache.ErrDamaged):
		s.alarm(f.entry, object, err)
	case isLocal && kept:
		s.writing.failed(local.error)
	case isLocal:
		s.spilling.failed(local.error)
	case s.lifetime().Err() != nil:
		err = errClosed
	}
	f.file.abort()
	if kept {
		s.release(f)
	}
	f.change(func() { f.settled, f.err = true, err })
}

// alarm tells of a damaged entry of inner's and sets it aside there.
func (s *Store) alarm(entry cache.Entry, object *cache.Object, err error) {
	s.metrics.damaged.WithLabelValues("inner").Inc()
	attrs := []any{"key", entry.Key.String(), "error", err}
	if errAside := s.takeFromInner(object, err.Error()); errAside != nil {
		s.log.Error("an entry of the storage is damaged and could not be set aside: it is a miss until somebody removes it", append(attrs, "trouble", errAside)...)
		return
	}
	s.log.Error("an entry of the storage is damaged: it is set aside and was not served whole", attrs...)
}
