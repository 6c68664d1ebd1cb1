// Package hot keeps small artifacts that were asked for lately in memory, and the files of larger ones open. Most artifacts of Nx are small, and thousands
// of jobs ask for the same ones at once: to open, read and close a file for each costs more than to send it.
package hot

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Options of a hot store.
type Options struct {
	// Size bounds what is kept, in bytes, of which each artifact takes some [Overhead] beside its own.
	Size int64
	// MaxBody bounds an artifact that is kept in memory, in bytes.
	MaxBody int64
	// Files bounds the files of larger artifacts that are kept open, if they lie on a disk of this machine.
	Files int
	// Fresh is how long an artifact is given out before the store is asked for it again: for so long another process may have taken it from
	// the store without anybody noticing here. 0: [DefaultFresh].
	Fresh time.Duration
	// Gone tells that an entry was deleted, by whomever. It waits for nothing. Nil: nobody knows.
	Gone func(cache.Entry) bool
	// Now is the clock. Nil: [time.Now].
	Now func() time.Time
	// Registerer takes the metrics. Nil: nothing is counted.
	Registerer prometheus.Registerer
}

// DefaultFresh is well below the second within which a purge is in force everywhere.
const DefaultFresh = 500 * time.Millisecond

// Overhead is about what an artifact takes beside its bytes: its key and record, with whoever produced it.
const Overhead = 1 << 10

// store is a [cache.Store] that keeps copies of what another one gave out.
type store struct {
	inner cache.Store
	opts  Options
	shelf *shelf
	files *files
	left  atomic.Int64 // reads that nobody waits for any more
}

// New returns a store that is inner, with copies of its small artifacts in memory. Each was read to its end and found whole before it was kept, its
// seal included if inner sees to that. Copies of what is deleted, set aside or written anew through this store go at once.
//
// What may still be replaced by another server's upload, and what clients fetch by themselves, is not kept.
func New(inner cache.Store, opts Options) cache.Store {
	if opts.Fresh <= 0 {
		opts.Fresh = DefaultFresh
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Gone == nil {
		opts.Gone = func(cache.Entry) bool { return false }
	}
	s := &store{inner: inner, opts: opts, shelf: newShelf(opts.Size), files: newFiles(opts.Files, opts.Fresh, opts.Now)}
	if opts.Registerer != nil {
		s.register(opts.Registerer)
	}
	if marker, ok := inner.(cache.Marker); ok {
		return struct {
			*store
			cache.Marker
		}{s, marker}
	}
	return s
}

func (s *store) register(reg prometheus.Registerer) {
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bezoar_hot_bytes",
			Help: "Bytes of small artifacts, and what belongs to them, that are kept in memory.",
		}, func() float64 { return float64(s.shelf.bytes()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "bezoar_hot_hits_total",
			Help: "Artifacts that came from memory.",
		}, func() float64 { return float64(s.shelf.hits.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bezoar_hot_files",
			Help: "Files of larger artifacts that are kept open.",
		}, func() float64 { return float64(s.files.count()) }),
	)
}

var _ cache.Peeker = (*store)(nil)

// Peek implements [cache.Peeker].
func (s *store) Peek(key cache.Key) (*cache.Object, bool) {
	it := s.shelf.find(key)
	if it == nil {
		return s.peekFile(key)
	}
	if s.opts.Now().UnixNano() >= it.until.Load() || s.opts.Gone(it.entry) {
		return nil, false
	}
	s.shelf.hits.Add(1)
	return s.object(it), true
}

func (s *store) peekFile(key cache.Key) (*cache.Object, bool) {
	f := s.files.find(key)
	if f == nil {
		return nil, false
	}
	if s.opts.Gone(f.entry) || !f.body.Unchanged() {
		f.leave()
		s.files.drop(key)
		return nil, false
	}
	return s.fileObject(f), true
}

// Open implements [cache.Store].
func (s *store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if obj, ok := s.Peek(key); ok {
		return obj, nil
	}
	began, beganFile := s.shelf.version(key), s.files.version(key)
	asked := s.opts.Now()
	obj, err := s.inner.Open(ctx, key)
	if err != nil {
		s.drop(key)
		return nil, err
	}
	if obj.Pending || obj.URL != "" {
		s.drop(key)
		return obj, nil
	}
	if obj.Record.Size > s.opts.MaxBody {
		s.shelf.drop(key)
		f := openFile(obj)
		if f == nil {
			return obj, nil
		}
		f.until = asked.Add(s.opts.Fresh).UnixNano()
		s.files.put(f, beganFile)
		return s.fileObject(f), nil
	}
	it := s.shelf.find(key)
	if it != nil && same(it.entry.Record, obj.Record) {
		obj.Close()
	} else if it, err = s.readInTime(ctx, obj); err != nil {
		s.drop(key)
		return nil, err
	}
	// From when the store was asked, however long it took.
	it.until.Store(asked.Add(s.opts.Fresh).UnixNano())
	s.shelf.put(it, began)
	return s.object(it), nil
}

// Create implements [cache.Store].
func (s *store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	d, err := s.inner.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &draft{d, s, key}, nil
}

// Delete implements [cache.Store].
func (s *store) Delete(ctx context.Context, key cache.Key) error {
	defer s.drop(key) // and whoever read it meanwhile keeps nothing
	return s.inner.Delete(ctx, key)
}

// List implements [cache.Store].
func (s *store) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return s.inner.List(ctx, workspace)
}

// draft is that of the inner store. What is kept under its key was deleted meanwhile, or it could not be committed.
type draft struct {
	cache.Draft
	store *store
	key   cache.Key
}

func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	defer d.store.drop(d.key)
	return d.Draft.Commit(ctx, record)
}

// drop forgets what is kept under a key.
func (s *store) drop(key cache.Key) {
	s.shelf.drop(key)
	s.files.drop(key)
}

// fileObject gives a file out, of which the caller is a user.
func (s *store) fileObject(f *file) *cache.Object {
	obj := f.view()
	if aside := f.obj.SetAside; aside != nil {
		obj.SetAside = func(reason string) error {
			defer s.files.drop(f.entry.Key)
			return aside(reason)
		}
	}
	return obj
}

// object gives a copy out.
func (s *store) object(it *item) *cache.Object {
	v := &view{}
	v.Object = cache.Object{Entry: it.entry, Body: &v.body, Copy: true, Verified: true, InMemory: true}
	v.body.rest, v.body.all = it.body, it.body
	if it.aside {
		v.SetAside = func(reason string) error { return s.setAside(it, reason) }
	}
	return &v.Object
}

// same tells whether two records under one key are of one upload.
func same(a, b cache.Record) bool {
	return a.SHA256 == b.SHA256 && a.Size == b.Size && a.Seal == b.Seal && a.Created.Equal(b.Created)
}

// setAside takes the very entry that the copy is of out of the way, where it lies.
func (s *store) setAside(it *item, reason string) error {
	key := it.entry.Key
	defer s.drop(key)
	obj, err := s.inner.Open(context.Background(), key)
	if errors.Is(err, cache.ErrNotExist) || errors.Is(err, cache.ErrDamaged) {
		return nil // it is out of the way
	}
	if err != nil {
		return err
	}
	defer obj.Close()
	if !same(it.entry.Record, obj.Record) {
		return nil // another one has taken its place
	}
	return obj.SetAside(reason)
}
