package main

import (
	"context"

	"github.com/bezoar-cache/bezoar/internal/tracing"
)

// openTraces begins to export spans, if the environment asks for it. It is not strict, as all else is at the start: these variables are often those
// of a whole cluster and meant for others.
func (a *app) openTraces(ctx context.Context) {
	traces, err := tracing.Start(ctx, tracing.Options{Environ: a.environ, Version: version()})
	if err != nil {
		a.log.Warn("there are no traces: the environment asks for them in a way that cannot be followed", "error", err)
		return
	}
	if traces == nil {
		return
	}
	a.traces = traces
	a.log.Info("requests are traced", "collector", traces.Endpoint())
	a.causes.Add("traces", traces.Degraded)
	a.atEnd(func() error {
		if err := traces.Close(); err != nil {
			a.log.Warn("traces ended with trouble", "error", err)
		}
		return nil
	})
}
