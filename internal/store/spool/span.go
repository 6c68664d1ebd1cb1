package spool

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

// waitSpan begins the span of an upload's wait for the remote store, below that of its request. It is nil if that has none.
func waitSpan(ctx context.Context) trace.Span {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return nil
	}
	_, span := parent.TracerProvider().Tracer("github.com/bezoar-cache/bezoar").Start(ctx, "spool.wait")
	return span
}
