package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

func TestEachRequestHasItsSpan(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	f := newFixture(t, func(o *Options) { o.Tracer = provider.Tracer("test") })
	body := artifacttest.Typical(1)
	f.want(404, "GET", "/v1/cache/1", nil, "Authorization", "Bearer secret-of-mine")
	// Neither the trace nor the decision of a stranger is taken over.
	f.want(200, "PUT", "/v1/cache/1", body, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "Tracestate", "a=b")
	f.want(200, "HEAD", "/v1/cache/1", nil)
	f.store.set(func(string) error { return errors.New("down") })
	f.want(404, "GET", "/v1/cache/1", nil)
	f.store.set(nil)
	f.auth.set(&trust.DeniedError{Err: trust.ErrForged, Reason: "forged"})
	f.want(401, "GET", "/v1/cache/1", nil)
	f.auth.mustBeOpen(false)
	f.auth.exchange = func(string, cache.Workspace, time.Duration) (trust.Issued, error) {
		return trust.Issued{Token: "bzs_secret", Workspace: "web", Write: "pr/17", Expires: time.Now().Add(time.Hour)}, nil
	}
	f.want(200, "POST", "/v1/session", nil, "Authorization", "Bearer secret-of-mine")
	f.want(405, "DELETE", "/v1/cache/1", nil)
	f.want(200, "GET", "/readyz", nil)
	f.waitForLog(1, `"msg":"session"`)
	f.waitForLog(5, `"msg":"request"`)
	deadline := time.After(10 * time.Second)
	for len(spans.Ended()) < 6 { // a span ends after its request's line
		select {
		case <-deadline:
			t.Fatalf("%d spans", len(spans.Ended()))
		case <-time.After(5 * time.Millisecond):
		}
	}
	var got []string
	for _, span := range spans.Ended() {
		var attrs strings.Builder
		for _, a := range span.Attributes() {
			fmt.Fprintf(&attrs, " %s=%s", strings.TrimPrefix(string(a.Key), "bezoar."), a.Value.String())
		}
		got = append(got, span.Name()+attrs.String()+" "+span.Status().Code.String()+span.Status().Description)
		if span.Parent().IsValid() || span.SpanKind() != trace.SpanKindServer || span.SpanContext().TraceState().Len() != 0 {
			t.Errorf("%s has the parent %v", span.Name(), span.Parent())
		}
		if !strings.Contains(f.log.String(), `"trace_id":"`+span.SpanContext().TraceID().String()+`"`) {
			t.Errorf("the log does not name the trace of %s", span.Name())
		}
	}
	want := []string{
		"GET artifact http.request.method=GET http.response.status_code=404 workspace=default scope.kind= result=miss hash=1 bytes=0 Unset",
		fmt.Sprintf("PUT artifact http.request.method=PUT http.response.status_code=200 workspace=default scope.kind=trusted result=stored hash=1 bytes=%d Unset", len(body)),
		"HEAD artifact http.request.method=HEAD http.response.status_code=200 workspace=default scope.kind=trusted result=hit hash=1 bytes=0 Unset",
		"GET artifact http.request.method=GET http.response.status_code=404 workspace=default scope.kind= result=error cause=store hash=1 bytes=0 Errorstore",
		"GET artifact http.request.method=GET http.response.status_code=401 workspace= scope.kind= result=denied cause=forged_credential hash=1 bytes=0 Unset",
		"POST session http.request.method=POST http.response.status_code=200 workspace=web scope.kind=pr result=issued Unset",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}

// TestNoTracesCostNothing: what stands on the way of a request without them allocates nothing.
func TestNoTracesCostNothing(t *testing.T) {
	s := &Server{}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/cache/1", nil)
	if n := testing.AllocsPerRun(100, func() {
		same, span := s.startSpan(r)
		x := exchange{r: same, span: span}
		x.endSpan()
		if same != r || span != nil || traceID(span) != nil {
			t.Error("there is a span")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkMiss is a request with as little to do as there is, without traces, with one that is not sampled, and with one that is.
func BenchmarkMiss(b *testing.B) {
	for name, tracer := range map[string]trace.Tracer{
		"untraced":  nil,
		"unsampled": sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("bench"),
		"sampled":   sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(tracetest.NewSpanRecorder())).Tracer("bench"),
	} {
		b.Run(name, func(b *testing.B) {
			h := New(Options{
				Cache: cache.New(mem.New(), cache.Options{Limits: artifact.DefaultLimits(), StoreTimeout: time.Minute, Now: time.Now}),
				Auth:  &fakeAuth{}, Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Tracer: tracer,
			}).Handler()
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/v1/cache/1", nil))
				if w.Code != 404 {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
