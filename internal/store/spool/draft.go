package spool

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const (
	// maxLook and minLook bound the look at the remote store before an upload. Between them it is as patient as Options.Wait.
	maxLook, minLook = time.Second, 250 * time.Millisecond
	// lookPause is for how long no look is tried after one that failed.
	lookPause = 5 * time.Second
	// createAttempts bounds how often Create tries again because the local store and the queue changed in between.
	createAttempts = 100
)

// Create implements [cache.Store]. It is [ErrFull] if the queue is. It waits for what becomes of another upload of the key that is about to be
// acknowledged.
func (s *Store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("begin the entry %q: %w", key, err)
	}
	if s.full(key) {
		return nil, s.refuse(key)
	}
	s.begin(key)
	d, err := s.create(ctx, key)
	if err != nil {
		s.end(key)
		return nil, err
	}
	return d, nil
}

func (s *Store) create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	if err := s.free(ctx, key); err != nil {
		return nil, err
	}
	if s.has(ctx, key) {
		return nil, cache.ErrExist
	}
	for range createAttempts {
		inner, err := s.local.Create(ctx, key)
		if err == nil {
			return &draft{store: s, key: key, inner: inner}, nil
		}
		if !errors.Is(err, cache.ErrExist) {
			return nil, err
		}
		// It is another's that is about to be acknowledged or dropped, or one that is not known here.
		if err := s.claim(ctx, key); err != nil {
			return nil, err
		}
		if err := s.free(ctx, key); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("begin the entry %q: others made and removed it %d times meanwhile", key, createAttempts)
}

// free returns nil when nobody is at work with the key, and [cache.ErrExist] if there is an entry.
func (s *Store) free(ctx context.Context, key cache.Key) error {
	if _, err := s.find(ctx, key); err != nil && !errors.Is(err, cache.ErrDamaged) {
		return fmt.Errorf("begin the entry %q: %w", key, err)
	}
	_, err := s.place(ctx, key, false)
	return err
}

// place returns when nobody is at work with the key, with a seat for the caller if it wants one. It is [cache.ErrExist] if there is an entry,
// also one that was just sent.
func (s *Store) place(ctx context.Context, key cache.Key, take bool) (*item, error) {
	var mine, before *item
	var refused error
	err := s.when(ctx, key, func(it *item) bool {
		switch {
		case s.closing:
			refused = ErrClosed
		case it == nil && take && s.drafts[key] != nil && s.drafts[key].late:
			refused = cache.ErrExist
		case it != nil && it.state == pending, before != nil && before != it && before.outcome == sent, before != nil && before != it && before.outcome == taken:
			refused = cache.ErrExist
		case it != nil:
			before = it
			return false
		case take:
			mine = s.seat(key, held)
		}
		return true
	})
	if err == nil {
		err = refused
	}
	return mine, err
}

// has takes a short look whether the remote store has an entry, so that a body need not be taken in vain. If it does not answer, the
// upload goes on: only Put decides.
func (s *Store) has(ctx context.Context, key cache.Key) bool {
	if time.Now().UnixNano() < s.blind.Load() {
		return false
	}
	patience := maxLook
	if s.opts.Wait >= 0 {
		patience = min(max(s.opts.Wait, minLook), maxLook)
	}
	look, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var there bool
	var err error
	if remote, ok := s.remote.(haser); ok {
		there, err = remote.Has(look, key)
	} else {
		var obj *cache.Object
		if obj, err = s.remote.Open(look, key); err == nil {
			there = true
			obj.Close()
		}
	}
	if err != nil && !errors.Is(err, cache.ErrNotExist) && !errors.Is(err, cache.ErrDamaged) && ctx.Err() == nil {
		s.blind.Store(time.Now().Add(lookPause).UnixNano())
	}
	return err == nil && there
}

// refuse says that the queue is full.
func (s *Store) refuse(key cache.Key) error {
	s.metrics.refused.Inc()
	return fmt.Errorf("take the entry %q: %w (%d bytes, at most %d, of which %d are for trusted uploads)",
		key, ErrFull, s.used.Load(), s.opts.MaxBytes, s.opts.MaxBytes-s.mostOthers())
}

// mostOthers bounds what is not for the trusted scope.
func (s *Store) mostOthers() int64 { return s.opts.MaxBytes - s.opts.MaxBytes/4 }

// full reports whether nothing more fits.
func (s *Store) full(key cache.Key) bool {
	return s.opts.MaxBytes > 0 && (s.used.Load() >= s.opts.MaxBytes || key.Scope != cache.Trusted && s.others.Load() >= s.mostOthers())
}

// reserve takes n bytes of the queue's bound, before they are written.
func (s *Store) reserve(key cache.Key, n int64) bool {
	switch {
	case s.opts.MaxBytes <= 0:
		s.count(key, n)
		return true
	case key.Scope == cache.Trusted:
		return add(&s.used, n, s.opts.MaxBytes)
	case !add(&s.others, n, s.mostOthers()):
		return false
	case !add(&s.used, n, s.opts.MaxBytes):
		s.others.Add(-n)
		return false
	}
	return true
}

// add adds unless the sum would be more than most.
func add(to *atomic.Int64, n, most int64) bool {
	for {
		now := to.Load()
		if n > most-now {
			return false
		}
		if to.CompareAndSwap(now, now+n) {
			return true
		}
	}
}

// count adds bytes to what is in use, or takes them away.
func (s *Store) count(key cache.Key, n int64) {
	s.used.Add(n)
	if key.Scope != cache.Trusted {
		s.others.Add(n)
	}
}

type draft struct {
	store    *Store
	key      cache.Key
	inner    cache.Draft
	reserved int64
	spent    bool
	err      error // the first one of Write
}

var errSpent = errors.New("the draft was committed or aborted before")

func (d *draft) Write(p []byte) (int, error) {
	if d.spent {
		return 0, errSpent
	}
	if d.err != nil {
		return 0, d.err
	}
	if !d.store.reserve(d.key, int64(len(p))) {
		d.err = d.store.refuse(d.key)
		return 0, d.err
	}
	d.reserved += int64(len(p))
	var n int
	n, d.err = d.inner.Write(p)
	return n, d.err
}

func (d *draft) Abort() {
	if d.spent {
		return
	}
	d.spent = true
	d.inner.Abort()
	d.store.count(d.key, -d.reserved)
	d.reserved = 0
	d.store.end(d.key)
}

// Commit implements [cache.Draft]. If ctx ends before the upload is acknowledged, it is taken back, save that it is sent already: then it
// counts, and the error is nil.
func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	if d.spent {
		return errSpent
	}
	defer d.Abort()
	if d.err != nil {
		return d.err
	}
	doing := func() string { return fmt.Sprintf("commit the entry %q", d.key) }
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", doing(), err)
	}
	it, err := d.store.place(ctx, d.key, true)
	if err != nil {
		return err
	}
	switch err := d.inner.Commit(ctx, record); {
	case err == nil:
	case errors.Is(err, cache.ErrExist):
		return d.store.yield(ctx, it)
	default:
		d.store.leave(it)
		return err
	}
	reserved := d.reserved
	d.reserved = 0
	d.store.count(d.key, record.Size-reserved)
	err = d.store.bring(ctx, it, record.Size)
	switch {
	case err == nil, errors.Is(err, cache.ErrExist):
		return err
	case errors.Is(err, cache.ErrNotExist), errors.Is(err, cache.ErrDamaged):
		// That is trouble, and no answer to an upload.
		return fmt.Errorf("%s: the local disk or the bucket did not keep it: %s", doing(), err.Error())
	}
	return fmt.Errorf("%s: %w", doing(), err)
}

// leave gives a seat back.
func (s *Store) leave(it *item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unseat(it)
}

// yield gives a seat to an entry that the local store has and that was not known here.
func (s *Store) yield(ctx context.Context, it *item) error {
	s.mu.Lock()
	it.state = adopting
	s.mu.Unlock()
	adopted, err := s.adopt(ctx, it)
	switch {
	case adopted != nil:
		return cache.ErrExist
	case err != nil:
		return fmt.Errorf("commit the entry %q: %w", it.key, err)
	}
	return fmt.Errorf("commit the entry %q: there was another one on the local disk, which is gone now", it.key)
}
