// Package traced makes spans of what a store does for requests that have one.
package traced

import (
	"context"
	"iter"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/metrics"
)

// tracerName is the instrumentation scope of the spans.
const tracerName = "github.com/bezoar-cache/bezoar"

// store is a [cache.Store] over another.
type store struct{ inner cache.Store }

// New returns a store that is inner and makes spans "store.open", "store.create", "store.commit" and "store.delete" below the span of the
// context, if that has one that is recorded. Their attribute "bezoar.store.result" is the "result" of [metrics.Name]. Listings and notes are no
// business of requests and have no spans; reading and writing of bodies goes at the pace of the client and is in none.
func New(inner cache.Store) cache.Store {
	traced := &store{inner}
	if marker, ok := inner.(cache.Marker); ok {
		return struct {
			*store
			cache.Marker
		}{traced, marker}
	}
	return traced
}

func nothing(error) {}

// begin begins a span, and returns what ends it.
func begin(ctx context.Context, name string) (context.Context, func(error)) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, nothing
	}
	ctx, span := parent.TracerProvider().Tracer(tracerName).Start(ctx, name)
	return ctx, func(err error) {
		result := metrics.Result(ctx, err)
		span.SetAttributes(attribute.String("bezoar.store.result", result))
		if result == "error" || result == "damaged" {
			span.SetStatus(codes.Error, result) // the error's text is in the log
		}
		span.End()
	}
}

func (s *store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	ctx, end := begin(ctx, "store.open")
	obj, err := s.inner.Open(ctx, key)
	end(err)
	return obj, err
}

func (s *store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	inside, end := begin(ctx, "store.create")
	inner, err := s.inner.Create(inside, key)
	end(err)
	if err != nil {
		return nil, err
	}
	return &draft{inner}, nil
}

func (s *store) Delete(ctx context.Context, key cache.Key) error {
	ctx, end := begin(ctx, "store.delete")
	err := s.inner.Delete(ctx, key)
	end(err)
	return err
}

func (s *store) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return s.inner.List(ctx, workspace)
}

type draft struct{ cache.Draft }

func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	ctx, end := begin(ctx, "store.commit")
	err := d.Draft.Commit(ctx, record)
	end(err)
	return err
}
