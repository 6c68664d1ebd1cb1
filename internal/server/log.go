package server

import (
	"log/slog"
	"time"
)

// log writes the request's one line. Trouble of the server's own is a warning, all else is the daily business.
func (x *exchange) log() {
	level := slog.LevelInfo
	if x.outcome.result == resultError && x.outcome.cause != causeClientGone && x.outcome.cause != causeClientStalled {
		level = slog.LevelWarn
	}
	ctx := x.r.Context()
	log := x.server.opts.Log
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("method", x.r.Method),
		slog.String("workspace", string(x.workspace)),
		slog.String("scope", string(x.scope)),
		slog.String("hash", string(x.hash)),
		slog.Int("status", x.outcome.status),
		slog.String("result", x.outcome.result),
		slog.Int64("bytes", x.bytes),
		// A number, as the metrics have it. "time" is the name of the line's own.
		slog.Float64("seconds", time.Since(x.started).Seconds()),
		slog.String("remote", x.r.RemoteAddr),
	)
	if x.outcome.cause != "" { // else the result says it all
		attrs = append(attrs, slog.String("cause", x.outcome.cause))
		if x.err != nil {
			attrs = append(attrs, slog.String("error", x.err.Error()))
		}
	}
	log.LogAttrs(ctx, level, "request", attrs...)
}
