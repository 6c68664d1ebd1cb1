package hot

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// file is an artifact that is too large for memory, kept open while it is fresh: any number of requests send it at once, each from an offset of its own.
type file struct {
	entry cache.Entry
	obj   *cache.Object // what the inner store gave out
	body  cache.FileBody
	until int64        // nanoseconds since the Unix epoch
	users atomic.Int64 // the shelf is one; the last one closes obj
}

// openFile returns nil if the object is none that could be kept open.
func openFile(obj *cache.Object) *file {
	body, ok := obj.Body.(cache.FileBody)
	if !ok || body.File() == nil {
		return nil
	}
	f := &file{entry: obj.Entry, obj: obj, body: body}
	f.users.Store(1)
	return f
}

// retain makes the caller a user, unless the last one is gone.
func (f *file) retain() bool {
	for {
		n := f.users.Load()
		if n == 0 {
			return false
		}
		if f.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (f *file) release() {
	if f.users.Add(-1) == 0 {
		_ = f.obj.Close() // it was only read
	}
}

// leave is release for who must not wait: to close a file that was deleted gives its room free, for which the disk may take its time, or hang.
func (f *file) leave() {
	if f.users.Add(-1) == 0 {
		go f.obj.Close()
	}
}

const (
	fileShards = 16
	// mostFiles is more artifacts than are asked for by many within the time that they are fresh.
	mostFiles = 256
)

// files keeps files open: only while they are fresh, since a file that was deleted takes room on the disk as long as it is open.
type files struct {
	seed   maphash.Seed
	each   int // most files of a shard
	linger time.Duration
	now    func() time.Time
	shards [fileShards]fileShard
}

type fileShard struct {
	mu       sync.Mutex
	open     map[cache.Key]*file
	version  uint64 // counts what was dropped
	sweeping bool   // a sweep is due
}

// newFiles keeps at most so many files open; with fewer than one for each shard, none.
func newFiles(most int, linger time.Duration, now func() time.Time) *files {
	return &files{seed: maphash.MakeSeed(), each: most / fileShards, linger: linger, now: now}
}

func (s *files) shard(key cache.Key) *fileShard {
	return &s.shards[maphash.Comparable(s.seed, key)%fileShards]
}

// find returns a file that is fresh, for the caller to release.
func (s *files) find(key cache.Key) *file {
	d := s.shard(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.open[key]
	if f == nil || s.now().UnixNano() >= f.until || !f.retain() {
		return nil
	}
	return f
}

func (s *files) version(key cache.Key) uint64 {
	d := s.shard(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.version
}

// put keeps a file that was opened when the version was that, unless something was dropped since.
func (s *files) put(f *file, version uint64) {
	d := s.shard(f.entry.Key)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.version != version || s.each == 0 || !f.retain() {
		return
	}
	d.remove(f.entry.Key)
	if len(d.open) >= s.each {
		d.remove(d.oldest())
	}
	if d.open == nil {
		d.open = map[cache.Key]*file{}
	}
	d.open[f.entry.Key] = f
	s.sweepLater(d)
}

// sweepLater sees to it that what is not asked for again is closed. The caller holds the lock.
func (s *files) sweepLater(d *fileShard) {
	if d.sweeping || len(d.open) == 0 {
		return
	}
	d.sweeping = true
	time.AfterFunc(s.linger, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.sweeping = false
		now := s.now().UnixNano()
		for key, f := range d.open {
			if now >= f.until {
				d.remove(key)
			}
		}
		s.sweepLater(d)
	})
}

func (s *files) drop(key cache.Key) {
	d := s.shard(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version++
	d.remove(key)
}

func (s *files) count() (n int) {
	for i := range s.shards {
		d := &s.shards[i]
		d.mu.Lock()
		n += len(d.open)
		d.mu.Unlock()
	}
	return n
}

func (d *fileShard) remove(key cache.Key) {
	if f := d.open[key]; f != nil {
		delete(d.open, key)
		f.leave() // others wait for the lock
	}
}

func (d *fileShard) oldest() (oldest cache.Key) {
	var least *file
	for key, f := range d.open {
		if least == nil || f.until < least.until {
			oldest, least = key, f
		}
	}
	return oldest
}

// part reads a file that others read, too.
type part struct {
	rest cache.FileRange
	size int64
	file *file // nil when it is closed
}

var (
	_ io.WriterTo = (*part)(nil)
	_ io.ReaderAt = (*part)(nil)
)

func (p *part) Read(b []byte) (int, error) {
	n, err := p.rest.Read(b)
	if errors.Is(err, io.EOF) && p.rest.N > 0 {
		err = p.cut()
	}
	return n, err
}

// WriteTo hands the part to a connection, which lets the kernel move it.
func (p *part) WriteTo(w io.Writer) (int64, error) {
	if p.rest.N == 0 {
		return 0, nil
	}
	left := p.rest.N
	var n int64
	var err error
	if to, ok := w.(io.ReaderFrom); ok {
		n, err = to.ReadFrom(&p.rest)
	} else {
		n, err = io.Copy(w, &p.rest)
	}
	p.rest.N = left - n
	p.rest.Off = p.size - p.rest.N
	if err == nil && p.rest.N > 0 {
		err = p.cut()
	}
	return n, err
}

// ReadAt is independent of what Read has read.
func (p *part) ReadAt(b []byte, off int64) (int, error) {
	return io.NewSectionReader(p.rest.File, 0, p.size).ReadAt(b, off)
}

func (p *part) cut() error {
	return fmt.Errorf("%s was cut while it was read, with %d bytes to go: %w", p.rest.File.Name(), p.rest.N, io.ErrUnexpectedEOF)
}

func (p *part) Close() error {
	if f := p.file; f != nil {
		p.file = nil
		f.release()
	}
	return nil
}

// view is an object that reads the file, which it releases when it is closed.
func (f *file) view() *cache.Object {
	v := &struct {
		cache.Object
		part part
	}{cache.Object{Entry: f.entry, Copy: f.obj.Copy}, part{cache.FileRange{File: f.body.File(), N: f.entry.Record.Size}, f.entry.Record.Size, f}}
	v.Body = &v.part
	return &v.Object
}
