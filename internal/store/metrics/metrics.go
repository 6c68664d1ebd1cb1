// Package metrics measures a store from outside.
package metrics

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Name is the histogram of the seconds that operations take, by "op" (open, create, commit, delete, list) and "result"
// (ok, not_exist, exist, damaged, canceled, error).
//
// Reading and writing of bodies is not measured: it goes at the pace of the client. Of "list", the time
// counts that the store takes, not that of who consumes the listing; a listing that yields errors
// counts once, as the worst of them. "canceled" is the end of a caller's context, which says nothing about the store; but one
// that [cache.Cache] ended because the store was too slow is an "error".
const Name = "bezoar_store_operation_seconds"

// store is a [cache.Store] that measures another.
type store struct {
	inner   cache.Store
	seconds *prometheus.HistogramVec
}

// New returns a store that is inner and records its operations in reg. Several stores may share a registry. Objects come
// from inner as they are, so that the kernel can still move their bytes. Notes are not measured ([cache.Marker]).
func New(inner cache.Store, reg prometheus.Registerer) cache.Store {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    Name,
		Help:    "Seconds that operations of the store take, without the transfer of bodies.",
		Buckets: []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3, 10, 30},
	}, []string{"op", "result"})
	if err := reg.Register(seconds); err != nil {
		registered, ok := errors.AsType[prometheus.AlreadyRegisteredError](err)
		if !ok {
			panic(err) // another metric has taken the name: a bug
		}
		seconds = registered.ExistingCollector.(*prometheus.HistogramVec)
	}
	measured := &store{inner: inner, seconds: seconds}
	if marker, ok := inner.(cache.Marker); ok {
		return struct {
			*store
			cache.Marker
		}{measured, marker}
	}
	return measured
}

func (s *store) observe(ctx context.Context, op string, took time.Duration, err error) {
	s.seconds.WithLabelValues(op, Result(ctx, err)).Observe(took.Seconds())
}

// Result names what an operation under ctx came to, as the label "result" of the histogram does.
func Result(ctx context.Context, err error) string {
	outcome := result(err)
	if outcome == "canceled" && errors.Is(context.Cause(ctx), cache.ErrStore) {
		return "error"
	}
	return outcome
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, cache.ErrNotExist):
		return "not_exist"
	case errors.Is(err, cache.ErrExist):
		return "exist"
	case errors.Is(err, cache.ErrDamaged):
		return "damaged"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "canceled"
	default:
		return "error"
	}
}

func (s *store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	start := time.Now()
	object, err := s.inner.Open(ctx, key)
	s.observe(ctx, "open", time.Since(start), err)
	return object, err
}

func (s *store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	start := time.Now()
	inner, err := s.inner.Create(ctx, key)
	s.observe(ctx, "create", time.Since(start), err)
	if err != nil {
		return nil, err
	}
	return &draft{Draft: inner, store: s}, nil
}

func (s *store) Delete(ctx context.Context, key cache.Key) error {
	start := time.Now()
	err := s.inner.Delete(ctx, key)
	s.observe(ctx, "delete", time.Since(start), err)
	return err
}

func (s *store) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		var took time.Duration
		var worst error
		start := time.Now()
		for entry, err := range s.inner.List(ctx, workspace) {
			took += time.Since(start)
			seen := err
			if err != nil && entry.Key != (cache.Key{}) {
				seen = cache.ErrDamaged // it is about that entry, not about the store's health
			}
			if worse(seen, worst) {
				worst = seen
			}
			if !yield(entry, err) {
				start = time.Now()
				break
			}
			start = time.Now()
		}
		took += time.Since(start)
		s.observe(ctx, "list", took, worst)
	}
}

// worse reports whether err says more about the store's health than what was seen before.
func worse(err, before error) bool {
	rank := map[string]int{"ok": 0, "canceled": 2, "damaged": 3, "error": 4}
	return rank[result(err)] > rank[result(before)]
}

type draft struct {
	cache.Draft
	store *store
}

func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	start := time.Now()
	err := d.Draft.Commit(ctx, record)
	d.store.observe(ctx, "commit", time.Since(start), err)
	return err
}
