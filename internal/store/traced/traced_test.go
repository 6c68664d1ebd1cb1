package traced

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func open(*testing.T) cache.Store { return New(mem.New()) }

func TestContract(t *testing.T) { storetest.Run(t, open, storetest.Abilities()) }

var key = cache.Key{Workspace: "web", Scope: cache.Trusted, Hash: "1"}

// faulty fails to open and to delete.
type faulty struct{ cache.Store }

func (faulty) Open(context.Context, cache.Key) (*cache.Object, error) { return nil, errors.New("down") }

func TestSpans(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	ctx, parent := provider.Tracer("test").Start(t.Context(), "request")
	s := New(mem.New())
	s.Open(ctx, key)
	draft, err := s.Create(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := draft.Commit(ctx, cache.Record{Created: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	s.Create(ctx, key)
	s.Delete(ctx, key)
	New(faulty{s}).Open(ctx, key)
	ended, cancel := context.WithCancelCause(ctx)
	cancel(cache.ErrStore)
	New(late{s}).Delete(ended, key)
	s.Open(t.Context(), key) // not for a request
	for range s.List(ctx, "") {
		t.Error("an entry is left")
	}
	var got []string
	for _, span := range spans.Ended() {
		if span.Parent().SpanID() != parent.SpanContext().SpanID() {
			t.Errorf("%s is not below the request", span.Name())
		}
		got = append(got, span.Name()+" "+span.Attributes()[0].Value.AsString()+" "+span.Status().Code.String())
	}
	want := []string{
		"store.open not_exist Unset", "store.create ok Unset", "store.commit ok Unset", "store.create exist Unset", "store.delete ok Unset",
		"store.open error Error", "store.delete error Error",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// late ends with its context.
type late struct{ cache.Store }

func (late) Delete(ctx context.Context, _ cache.Key) error { return ctx.Err() }

// TestWithoutASpanNothingIsAllocated by the decorator itself.
func TestWithoutASpanNothingIsAllocated(t *testing.T) {
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		inside, end := begin(ctx, "store.open")
		end(nil)
		if inside != ctx {
			t.Error("another context")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
