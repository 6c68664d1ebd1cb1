// Package mem keeps entries in memory. It is for tests: nothing bounds it, and nothing outlives the process.
package mem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

var (
	_ cache.Store  = (*Store)(nil)
	_ cache.Marker = (*Store)(nil)
)

// Store is a [cache.Store] in memory.
type Store struct {
	mu      sync.RWMutex
	entries map[cache.Key]*stored
	aside   []cache.Entry
	marks   map[string][]byte
}

// stored is an entry with its body, neither of which ever changes.
type stored struct {
	record cache.Record
	body   []byte
}

// New returns an empty store.
func New() *Store {
	return &Store{entries: make(map[cache.Key]*stored), marks: make(map[string][]byte)}
}

// Open implements [cache.Store].
func (s *Store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, ok := s.entries[key]
	if !ok {
		return nil, cache.ErrNotExist
	}
	// bytes.Reader has a WriterTo, which the struct keeps visible.
	return &cache.Object{
		Entry: cache.Entry{Key: key, Record: e.record},
		Body: struct {
			*bytes.Reader
			io.Closer
		}{bytes.NewReader(e.body), io.NopCloser(nil)},
		SetAside: func(string) error { s.setAside(key, e); return nil },
	}, nil
}

// setAside takes away the entry that e is, and no newer one.
func (s *Store) setAside(key cache.Key, e *stored) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[key] == e {
		delete(s.entries, key)
		s.aside = append(s.aside, cache.Entry{Key: key, Record: e.record})
	}
}

// Aside returns the entries that were set aside.
func (s *Store) Aside() []cache.Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.aside)
}

// Mark implements [cache.Marker].
func (s *Store) Mark(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, ok := s.marks[name]
	if !ok {
		return nil, cache.ErrNotExist
	}
	return bytes.Clone(value), nil
}

// SetMark implements [cache.Marker].
func (s *Store) SetMark(ctx context.Context, name string, old, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(value) > cache.MaxMark {
		return fmt.Errorf("the note %q has %d bytes, at most %d are allowed", name, len(value), cache.MaxMark)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, there := s.marks[name]
	if there != (old != nil) || !bytes.Equal(now, old) {
		return cache.ErrExist
	}
	s.marks[name] = append([]byte{}, value...)
	return nil
}

// Create implements [cache.Store].
func (s *Store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, ok := s.entries[key]; ok {
		return nil, cache.ErrExist
	}
	return &draft{store: s, key: key}, nil
}

// Delete implements [cache.Store].
func (s *Store) Delete(ctx context.Context, key cache.Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.entries[key]; !ok {
		return cache.ErrNotExist
	}
	delete(s.entries, key)
	return nil
}

// List implements [cache.Store]. It yields what was there when it began.
func (s *Store) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		for _, entry := range s.snapshot(workspace) {
			if err := ctx.Err(); err != nil {
				yield(cache.Entry{}, err)
				return
			}
			if !yield(entry, nil) {
				return
			}
		}
	}
}

func (s *Store) snapshot(workspace cache.Workspace) []cache.Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var entries []cache.Entry
	for key, e := range s.entries {
		if workspace == "" || workspace == key.Workspace {
			entries = append(entries, cache.Entry{Key: key, Record: e.record})
		}
	}
	return entries
}

type draft struct {
	store *Store
	key   cache.Key
	body  []byte
	spent bool
}

var errSpent = errors.New("the draft was committed or aborted before")

func (d *draft) Write(p []byte) (int, error) {
	if d.spent {
		return 0, errSpent
	}
	d.body = append(d.body, p...)
	return len(p), nil
}

func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	if d.spent {
		return errSpent
	}
	body := d.body
	d.Abort()
	if err := ctx.Err(); err != nil {
		return err
	}
	if record.Size != int64(len(body)) {
		return fmt.Errorf("commit %q: %d bytes were written, but the record says %d", d.key, len(body), record.Size)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if _, ok := d.store.entries[d.key]; ok {
		return cache.ErrExist
	}
	d.store.entries[d.key] = &stored{record: record, body: body}
	return nil
}

func (d *draft) Abort() { d.spent, d.body = true, nil }
