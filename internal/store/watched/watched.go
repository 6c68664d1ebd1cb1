// Package watched knows whether a store works: a decorator that remembers the last trouble of reading and of writing, for whoever looks after the server.
package watched

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/metrics"
)

const (
	// calm is for how long nothing must have failed before a success ends trouble, so that one bad file among many good ones does not come and go.
	calm = 5 * time.Second
	// forgotten is when trouble is over though nobody has asked anything since.
	forgotten = 10 * time.Minute
)

// Store is a [cache.Store] that is watched. Use [Store.Whole] where a [cache.Marker] is looked for.
type Store struct {
	cache.Store
	reading, writing condition
}

// New returns a store that is inner. Now is the clock; nil: [time.Now].
func New(inner cache.Store, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{inner, condition{what: "entries cannot be read: builds get misses", now: now}, condition{what: "entries cannot be stored: uploads are refused", now: now}}
}

// Whole returns the store for whoever looks for its abilities.
func (s *Store) Whole() cache.Store {
	if marker, ok := s.Store.(cache.Marker); ok {
		return struct {
			*Store
			cache.Marker
		}{s, marker}
	}
	return s
}

// Degraded says what does not work; nil if all does.
func (s *Store) Degraded() error { return errors.Join(s.reading.state(), s.writing.state()) }

// Open implements [cache.Store].
func (s *Store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := s.Store.Open(ctx, key)
	s.reading.note(ctx, err)
	return obj, err
}

// Create implements [cache.Store]. That it works says little: a full disk shows later.
func (s *Store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	inner, err := s.Store.Create(ctx, key)
	if err != nil {
		s.writing.fault(ctx, err)
		return nil, err
	}
	return &draft{inner, s}, nil
}

type draft struct {
	cache.Draft
	store *Store
}

// Write implements [io.Writer].
func (d *draft) Write(p []byte) (int, error) {
	n, err := d.Draft.Write(p)
	if err != nil {
		d.store.writing.fault(context.Background(), err) // a draft's own errors are of no context
	}
	return n, err
}

var _ io.Writer = (*draft)(nil)

// Commit implements [cache.Draft].
func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	err := d.Draft.Commit(ctx, record)
	d.store.writing.note(ctx, err)
	return err
}

// condition is how one use of the store goes.
type condition struct {
	what string
	now  func() time.Time

	mu   sync.Mutex
	err  error // the latest trouble; nil if there is none
	last time.Time
}

// fault takes note of trouble, and of nothing else.
func (c *condition) fault(ctx context.Context, err error) {
	if metrics.Result(ctx, err) != "error" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.last = err, c.now()
}

// note takes note of how it went.
func (c *condition) note(ctx context.Context, err error) {
	switch metrics.Result(ctx, err) {
	case "error":
		c.fault(ctx, err)
	case "canceled": // says nothing
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err != nil && c.now().Sub(c.last) >= calm {
			c.err = nil
		}
	}
}

func (c *condition) state() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil || c.now().Sub(c.last) >= forgotten {
		return nil
	}
	return fmt.Errorf("%s: %w", c.what, c.err)
}
