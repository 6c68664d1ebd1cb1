package tracing

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector receives spans.
type collector struct {
	t *testing.T

	mu       sync.Mutex
	requests []*http.Request
	spans    []*tracepb.ResourceSpans
	answer   func(w http.ResponseWriter)
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(r.Body); err != nil {
			c.t.Error(err)
			return
		}
	}
	data, err := io.ReadAll(body)
	var sent tracepb.TracesData
	if err = errors.Join(err, proto.Unmarshal(data, &sent)); err != nil {
		c.t.Error(err)
	}
	c.requests, c.spans = append(c.requests, r), append(c.spans, sent.ResourceSpans...)
	if c.answer != nil {
		c.answer(w)
	}
}

func (c *collector) will(answer func(w http.ResponseWriter)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

// newCollector listens on the loopback.
func newCollector(t *testing.T) (c *collector, url string) {
	c = &collector{t: t}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return c, server.URL
}

func start(t *testing.T, environ ...string) *Tracing {
	t.Helper()
	tracing, err := Start(t.Context(), Options{Environ: environ, Version: "1.2.3"})
	if err != nil || tracing == nil {
		t.Fatal(tracing, err)
	}
	return tracing
}

func span(tracing *Tracing, name string) {
	_, s := tracing.Tracer().Start(context.Background(), name, trace.WithSpanKind(trace.SpanKindServer))
	s.End()
}

func TestSpansArrive(t *testing.T) {
	c, url := newCollector(t)
	tracing := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+url+"/otlp/", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
		"OTEL_EXPORTER_OTLP_HEADERS=api-key=a%20secret, x-all=1", "OTEL_EXPORTER_OTLP_TRACES_HEADERS=x-all=2",
		"OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test,service.name=not this,service.version=7", "OTEL_SERVICE_NAME=nx-cache")
	span(tracing, "first")
	span(tracing, "second")
	if err := tracing.Close(); err != nil {
		t.Fatal(err)
	}
	if len(c.requests) != 1 || len(c.spans) != 1 {
		t.Fatalf("%d requests", len(c.requests))
	}
	r := c.requests[0]
	if r.Method != "POST" || r.URL.Path != "/otlp/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("Api-Key") != "a secret" || r.Header.Get("X-All") != "2" {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	described := map[string]string{}
	for _, a := range c.spans[0].Resource.Attributes {
		described[a.Key] = a.Value.GetStringValue()
	}
	for key, want := range map[string]string{"service.name": "nx-cache", "service.version": "7", "deployment.environment.name": "test", "telemetry.sdk.language": "go"} {
		if described[key] != want {
			t.Errorf("%s is %q, not %q", key, described[key], want)
		}
	}
	scope := c.spans[0].ScopeSpans[0]
	if len(scope.Spans) != 2 || scope.Spans[0].Name != "first" || scope.Spans[1].Kind != tracepb.Span_SPAN_KIND_SERVER || scope.Scope.Name != Name {
		t.Errorf("%v", scope)
	}
}

func TestSamplers(t *testing.T) {
	for sampler, want := range map[string]int{"always_on": 1, "always_off": 0, "parentbased_always_off": 0, "traceidratio": 1, "parentbased_traceidratio": 1} {
		c, url := newCollector(t)
		tracing := start(t, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+url, "OTEL_TRACES_SAMPLER="+sampler)
		span(tracing, "one")
		if err := tracing.Close(); err != nil || len(c.spans) != want {
			t.Errorf("%s: %d exports, %v", sampler, len(c.spans), err)
		}
	}
	c, url := newCollector(t)
	tracing := start(t, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+url, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0")
	span(tracing, "none")
	if err := tracing.Close(); err != nil || len(c.spans) != 0 {
		t.Error(c.spans, err)
	}
}

// TestTroubleIsKeptFromTheLibrary, which would write each to standard error, and is told until it ends.
func TestTroubleIsKeptFromTheLibrary(t *testing.T) {
	c, url := newCollector(t)
	secret := strings.Replace(url, "http://", "http://user:pass@", 1) + "/collect?key=s3cret"
	tracing := start(t, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+secret, "OTEL_EXPORTER_OTLP_TIMEOUT=30000")
	export := func() error {
		span(tracing, "one")
		if err := tracing.provider.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return tracing.Degraded()
	}
	partial := protowire.AppendTag(nil, 1, protowire.VarintType)
	partial = protowire.AppendVarint(partial, 3)
	partial = protowire.AppendTag(partial, 2, protowire.BytesType)
	partial = protowire.AppendBytes(partial, []byte("too\nold"))
	answer := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
	for _, try := range []struct {
		answer func(http.ResponseWriter)
		want   string
	}{
		{func(w http.ResponseWriter) { w.WriteHeader(400) }, "the collector answers 400"},
		{func(w http.ResponseWriter) { w.Header().Set("Location", "/elsewhere"); w.WriteHeader(307) }, "the collector answers 307"},
		{nil, ""},
		{func(w http.ResponseWriter) { w.Write(answer) }, `the collector rejects 3 of them: "too\nold"`},
		{func(w http.ResponseWriter) { w.Write(answer[:len(answer)-3]) }, ""},
		{func(w http.ResponseWriter) { io.WriteString(w, "<html>") }, ""},
	} {
		c.will(try.answer)
		err := export()
		if (err == nil) != (try.want == "") || err != nil && err.Error() != "spans cannot be exported to "+url+": "+try.want {
			t.Errorf("%v, want %s", err, try.want)
		}
	}
	c.will(func(w http.ResponseWriter) { w.WriteHeader(404) })
	span(tracing, "last")
	if err := tracing.Close(); err == nil || !strings.Contains(err.Error(), "the last spans are lost: ") || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "pass") {
		t.Error(err)
	}
	if user, pass, _ := c.requests[0].BasicAuth(); c.requests[0].URL.String() != "/collect?key=s3cret" || user != "user" || pass != "pass" {
		t.Error(c.requests[0].URL, user)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestARefusedConnection has no secrets in its error, which net/http's has.
//
// In a bubble the client is asked by itself: the library holds a mutex while it exports.
func TestARefusedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracing := start(t, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://collector.example?key=s3cret")
		tracing.client.http.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
		if err := tracing.client.UploadTraces(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if err := tracing.Degraded(); err == nil || err.Error() != "spans cannot be exported to https://collector.example: connection refused" {
			t.Error(err)
		}
		if err := tracing.Close(); err == nil {
			t.Error("nothing is lost")
		}
	})
}

func TestWhatMayPassIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracing := start(t, "OTEL_TRACES_EXPORTER=otlp")
		begin := time.Now()
		var at []time.Duration
		tracing.client.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			at = append(at, time.Since(begin))
			resp := httptest.NewRecorder()
			switch len(at) {
			case 1:
				resp.Code = 503
			case 2:
				resp.Header().Set("Retry-After", "3")
				resp.Code = 429
			}
			if r.URL.String() != "http://localhost:4318/v1/traces" {
				t.Error(r.URL)
			}
			return resp.Result(), nil
		})
		if err := tracing.client.UploadTraces(t.Context(), nil); err != nil || tracing.Degraded() != nil {
			t.Error(err, tracing.Degraded())
		}
		if len(at) != 3 || at[1] != firstPause || at[2] != firstPause+3*time.Second {
			t.Errorf("tries at %v", at)
		}
		if err := tracing.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestTheEndIsBounded: a collector that never answers holds nothing up, and no goroutine stays.
func TestTheEndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracing := start(t, "OTEL_TRACES_EXPORTER=otlp")
		tracing.client.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() })
		for range 5000 { // more than the queue holds: no one waits
			span(tracing, "one")
		}
		begin := time.Now()
		if err := tracing.Close(); err == nil || time.Since(begin) != flushTime {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		synctest.Wait()
		if err := tracing.Degraded(); err == nil {
			t.Error("no trouble")
		}
		span(tracing, "after the end")
	})
}

// TestAnExportIsBounded: a collector that takes spans and never answers is trouble after the time that an export has.
func TestAnExportIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracing := start(t, "OTEL_TRACES_EXPORTER=otlp")
		tracing.client.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() })
		span(tracing, "one")
		<-time.After(defaultTimeout - time.Second)
		if err := tracing.Degraded(); err != nil {
			t.Errorf("before its time: %v", err)
		}
		<-time.After(7 * time.Second) // spans wait for others for 5 seconds
		synctest.Wait()
		if tracing.Degraded() == nil {
			t.Error("an export goes on for ever")
		}
		_ = tracing.Close()
	})
}
