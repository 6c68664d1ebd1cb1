package retention

import (
	"context"
	"errors"
	"syscall"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Full has a look begin soon, because somebody saw a full disk. It never waits.
func (r *Runner) Full() {
	select {
	case r.full <- struct{}{}:
	default:
	}
}

type store struct {
	cache.Store
	runner *Runner
}

// Over returns a store that is inner, and that calls [Runner.Full] when inner has no room for an upload.
func (r *Runner) Over(inner cache.Store) cache.Store {
	s := &store{Store: inner, runner: r}
	if marker, ok := inner.(cache.Marker); ok {
		return struct {
			*store
			cache.Marker
		}{s, marker}
	}
	return s
}

func (r *Runner) see(err error) {
	if err != nil && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
		r.Full()
	}
}

// Create implements [cache.Store].
func (s *store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	inner, err := s.Store.Create(ctx, key)
	s.runner.see(err)
	if err != nil {
		return nil, err
	}
	return &draft{inner, s.runner}, nil
}

type draft struct {
	cache.Draft
	runner *Runner
}

// Write implements [cache.Draft].
func (d *draft) Write(p []byte) (int, error) {
	n, err := d.Draft.Write(p)
	d.runner.see(err)
	return n, err
}

// Commit implements [cache.Draft].
func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	err := d.Draft.Commit(ctx, record)
	d.runner.see(err)
	return err
}
