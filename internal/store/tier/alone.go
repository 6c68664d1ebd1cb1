package tier

import (
	"errors"
	"io"
	"sync"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// goesAlone reports whether the body goes straight from inner to the one who waits for it, without a file in between: where nothing is kept, bodies flow
// before they are whole, and inner verifies them by itself and goes on where they break off. Of one key one body goes so at a time, and whoever comes
// meanwhile shares another download: however many want an entry, two downloads of it run at a time. There are as many at a time as there are downloads, in
// places of their own: readers that take their time keep nobody waiting.
//
// After true nobody joins the download any more.
func (s *Store) goesAlone(f *flight, object *cache.Object) bool {
	ahead := s.opts.VerifyAhead
	if s.local != nil || !object.Verified || ahead < 0 || object.Record.Size <= ahead {
		return false
	}
	sh := s.shard(f.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, taken := sh.alone[f.id]; taken || f.refs != 1 || !s.straight.TryAcquire(1) {
		return false
	}
	sh.alone[f.id] = struct{}{}
	f.apart = true
	sh.detach(f)
	return true
}

// partAlone gives the object to the one reader.
func (f *flight) partAlone(object *cache.Object) {
	s := f.store
	s.metrics.downloads.Inc()
	straight := &straight{ReadCloser: object.Body, store: s, object: *object}
	object.Body = closing(straight, sync.OnceFunc(func() {
		sh := s.shard(f.id)
		sh.mu.Lock()
		delete(sh.alone, f.id)
		sh.mu.Unlock()
		s.metrics.downloads.Dec()
		s.straight.Release(1)
	}))
	f.part(object)
}

// straight is a body that goes from inner to its reader.
type straight struct {
	io.ReadCloser
	store  *Store
	object cache.Object // as inner gave it
	told   bool
}

func (b *straight) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.store.metrics.fetched.Add(float64(n))
	if errors.Is(err, cache.ErrDamaged) && !b.told {
		b.told = true
		b.store.alarm(b.object.Entry, &b.object, err)
	}
	return n, err
}

// WriteTo implements [io.WriterTo], with larger pieces than [io.Copy] takes by itself.
func (b *straight) WriteTo(w io.Writer) (int64, error) {
	buf := b.store.buffers.Get().(*[chunk]byte)
	defer b.store.buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{b}, buf[:])
}
