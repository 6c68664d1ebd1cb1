package hot

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// item is a copy. Nothing of it but its time ever changes.
type item struct {
	entry cache.Entry
	body  []byte
	aside bool         // whether the store has a place for what is set aside
	until atomic.Int64 // nanoseconds since the Unix epoch
}

func (it *item) bytes() int64 { return int64(len(it.body)) + Overhead }

// read takes all of a body. One that has not the digest of its record is [cache.ErrDamaged] and set aside: the store may see no harm in
// what is read only now.
func read(obj *cache.Object) (*item, error) {
	body := make([]byte, obj.Record.Size)
	if _, err := io.ReadFull(obj.Body, body); err != nil {
		return nil, fmt.Errorf("read the entry %q: %w", obj.Key, err)
	}
	if obj.Verified { // with its end
		if n, err := obj.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			return nil, fmt.Errorf("read the end of the entry %q: %w", obj.Key, err)
		}
	} else if sha256.Sum256(body) != obj.Record.SHA256 {
		err := fmt.Errorf("%w: %q: its body does not have the SHA-256 of its record", cache.ErrDamaged, obj.Key)
		if obj.SetAside != nil {
			if aside := obj.SetAside("its body does not have the SHA-256 of its record"); aside != nil {
				return nil, fmt.Errorf("set the entry %q aside: %w", obj.Key, aside)
			}
		}
		return nil, err
	}
	return &item{entry: obj.Entry, body: body, aside: obj.SetAside != nil}, nil
}

// maxLeft bounds the reads that were left behind: each holds a thread of the operating system.
const maxLeft = 64

// readInTime is read, and closes the object. It is left behind when ctx ends before it is done: a disk that hangs minds no context.
func (s *store) readInTime(ctx context.Context, obj *cache.Object) (*item, error) {
	if ctx.Done() == nil || obj.InMemory {
		defer obj.Close()
		return read(obj)
	}
	if n := s.left.Load(); n >= maxLeft {
		go obj.Close()
		return nil, fmt.Errorf("read the entry %q: %d reads of others hang", obj.Key, n)
	}
	type answer struct {
		it       *item
		err      error
		panicked any
	}
	came := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			a.panicked = recover() // one that nobody recovers would end the server
			came <- a
		}()
		defer obj.Close()
		a.it, a.err = read(obj)
	}()
	select {
	case a := <-came:
		if a.panicked != nil {
			panic(a.panicked)
		}
		return a.it, a.err
	case <-ctx.Done():
	}
	s.left.Add(1)
	go func() {
		defer s.left.Add(-1)
		<-came
	}()
	return nil, fmt.Errorf("read the entry %q: %w", obj.Key, context.Cause(ctx))
}

const shards = 64

// shelf keeps items within a bound, those that were asked for lately.
type shelf struct {
	seed   maphash.Seed
	half   int64 // of a shard's bound, in bytes
	hits   atomic.Int64
	shards [shards]shard
}

// shard has two generations. When the young one is full it becomes the old one, and what was not asked for since the last change is dropped.
type shard struct {
	mu          sync.Mutex
	young, old  map[cache.Key]*item
	size, spare int64  // bytes of the young, and of the old
	version     uint64 // counts what was dropped: what was read before must not be kept after
	_           [64]byte
}

func newShelf(size int64) *shelf { return &shelf{seed: maphash.MakeSeed(), half: size / shards / 2} }

func (s *shelf) shard(key cache.Key) *shard { return &s.shards[maphash.Comparable(s.seed, key)%shards] }

func (s *shelf) find(key cache.Key) *item {
	d := s.shard(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	if it := d.young[key]; it != nil {
		return it
	}
	it := d.old[key]
	if it != nil {
		d.remove(key)
		d.put(it, s.half)
	}
	return it
}

func (s *shelf) version(key cache.Key) uint64 {
	d := s.shard(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.version
}

// put keeps an item that was read when the version was that, unless something was dropped since.
func (s *shelf) put(it *item, version uint64) {
	d := s.shard(it.entry.Key)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.version != version || it.bytes() > s.half {
		return
	}
	d.remove(it.entry.Key)
	d.put(it, s.half)
}

func (s *shelf) drop(key cache.Key) {
	d := s.shard(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version++
	d.remove(key)
}

func (s *shelf) bytes() (n int64) {
	for i := range s.shards {
		d := &s.shards[i]
		d.mu.Lock()
		n += d.size + d.spare
		d.mu.Unlock()
	}
	return n
}

func (d *shard) put(it *item, half int64) {
	if d.size+it.bytes() > half {
		d.young, d.size, d.old, d.spare = nil, 0, d.young, d.size
	}
	if d.young == nil {
		d.young = map[cache.Key]*item{}
	}
	d.young[it.entry.Key] = it
	d.size += it.bytes()
}

func (d *shard) remove(key cache.Key) {
	if it := d.young[key]; it != nil {
		delete(d.young, key)
		d.size -= it.bytes()
	}
	if it := d.old[key]; it != nil {
		delete(d.old, key)
		d.spare -= it.bytes()
	}
}

// view is an object with its body, in one piece of memory.
type view struct {
	cache.Object
	body body
}

// body reads a copy.
type body struct{ rest, all []byte }

var (
	_ io.WriterTo = (*body)(nil)
	_ io.ReaderAt = (*body)(nil)
)

func (b *body) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *body) WriteTo(w io.Writer) (int64, error) {
	if len(b.rest) == 0 {
		return 0, nil
	}
	n, err := w.Write(b.rest)
	b.rest = b.rest[n:]
	return int64(n), err
}

func (b *body) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(b.all)) {
		return 0, io.EOF
	}
	n := copy(p, b.all[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b *body) Close() error { return nil }
