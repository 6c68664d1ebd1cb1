// Package tracing exports spans by OTLP over HTTP, if the standard variables of OpenTelemetry say so and only then. What cannot be exported
// is lost and costs no request.
//
// The official exporter for HTTP brings the whole of gRPC into the binary, so that the one here sends by itself what
// the official packages make and encode.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Name is the instrumentation scope of all spans.
const Name = "github.com/bezoar-cache/bezoar"

// flushTime bounds the last export.
const flushTime = 5 * time.Second

// Options configure a [Tracing].
type Options struct {
	// Environ is the environment, as of [os.Environ].
	Environ []string
	// Version is the server's.
	Version string
}

// Tracing makes spans and exports them.
type Tracing struct {
	provider *sdktrace.TracerProvider
	client   *client
}

// Start begins to export as the environment says. It is nil, without an error, if the environment does not ask for it. It connects to
// nothing yet. Its errors name the variable that cannot be followed, and none of its secrets.
//
// At most OTEL_BSP_MAX_QUEUE_SIZE spans (2048) wait to be exported; what comes beyond is dropped.
func Start(ctx context.Context, opts Options) (*Tracing, error) {
	s, err := readSettings(opts.Environ)
	if err != nil || s == nil {
		return nil, err
	}
	client := newClient(s)
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, err
	}
	attributes := []attribute.KeyValue{attribute.String("service.name", "bezoar"), attribute.String("service.version", opts.Version)}
	// Of several values for one key, the last holds: what the operator says.
	described, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(append(attributes, s.resource...)...))
	if err != nil {
		return nil, errors.Join(err, exporter.Shutdown(ctx))
	}
	return &Tracing{
		provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described), sdktrace.WithSampler(s.sampler)),
		client:   client,
	}, nil
}

// Tracer makes spans.
func (t *Tracing) Tracer() trace.Tracer { return t.provider.Tracer(Name) }

// Endpoint names where spans go to, without secrets.
func (t *Tracing) Endpoint() string { return t.client.place() }

// Degraded says why the last export failed, nil if it did not.
func (t *Tracing) Degraded() error { return t.client.degraded() }

// Close exports what is left, within 5 seconds, and ends. It returns an error if something is lost.
func (t *Tracing) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	err := t.provider.Shutdown(ctx)
	t.client.end() // an export that still runs fails at once, and what waits behind it
	if err = errors.Join(err, t.client.degraded()); err != nil {
		return fmt.Errorf("the last spans are lost: %w", err)
	}
	return nil
}
