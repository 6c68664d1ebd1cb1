package server

import (
	"cmp"
	"log/slog"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// startSpan begins the span of a request, if there are traces; the span is nil otherwise.
//
// A span is the root of its trace, whatever the request says in "traceparent". It begins before anybody knows who asks, and a stranger's header
// must not decide what is sampled, nor put our spans into somebody's trace. Nx sends none.
func (s *Server) startSpan(r *http.Request) (*http.Request, trace.Span) {
	if s.opts.Tracer == nil {
		return r, nil
	}
	ctx, span := s.opts.Tracer.Start(r.Context(), spanName(r.Method), trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
	return r.WithContext(ctx), span
}

func spanName(method string) string {
	if method == http.MethodPost {
		return "POST session"
	}
	return method + " artifact" // of three methods
}

// traceID is that of a request whose span is exported, for its line in the log.
func traceID(span trace.Span) []slog.Attr {
	if span == nil || !span.SpanContext().IsSampled() {
		return nil
	}
	return []slog.Attr{slog.String("trace_id", span.SpanContext().TraceID().String())}
}

func (x *exchange) endSpan() {
	endSpan(x.span, x.r.Method, x.outcome, x.workspace, x.scope,
		attribute.String("bezoar.hash", string(x.hash)), attribute.Int64("bezoar.bytes", x.bytes))
}

func (q *sessionRequest) endSpan() {
	endSpan(q.span, q.r.Method, q.outcome, cmp.Or(q.issued.Workspace, q.named), q.issued.Write)
}

// endSpan says what became of a request. Only of the hash there are many values; what the client presented is in none.
func endSpan(span trace.Span, method string, o outcome, workspace cache.Workspace, scope cache.Scope, more ...attribute.KeyValue) {
	if span == nil {
		return
	}
	defer span.End()
	if !span.IsRecording() {
		return
	}
	kind, _, _ := strings.Cut(string(scope), "/")
	attrs := []attribute.KeyValue{
		attribute.String("http.request.method", method), attribute.Int("http.response.status_code", o.status),
		attribute.String("bezoar.workspace", string(workspace)), attribute.String("bezoar.scope.kind", kind),
		attribute.String("bezoar.result", o.result),
	}
	if o.cause != "" {
		attrs = append(attrs, attribute.String("bezoar.cause", o.cause))
	}
	span.SetAttributes(append(attrs, more...)...)
	if levelOf(o) >= slog.LevelWarn {
		span.SetStatus(codes.Error, o.cause)
	}
}
