package server

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// RequestLine is the message of the line that each request for an artifact has in the log.
const RequestLine = "request"

// log writes the request's one line.
func (x *exchange) log() {
	level := levelOf(x.outcome)
	ctx := x.r.Context()
	log := x.server.opts.Log
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 16)
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
	attrs = append(attrs, who(x.producer)...)
	attrs = append(attrs, traceID(x.span)...)
	if x.outcome.cause != "" { // else the result says it all
		attrs = append(attrs, slog.String("cause", x.outcome.cause))
		if x.err != nil {
			attrs = append(attrs, slog.String("error", x.err.Error()))
		}
	}
	// Not by the logger, which would look for the line of code that calls it: this is the one for all requests.
	line := slog.NewRecord(time.Now(), level, RequestLine, 0)
	line.AddAttrs(attrs...)
	_ = log.Handler().Handle(ctx, line)
}

// who names the credential of a request, as far as it is authentic: what a person needs to revoke it, and none of what it says else.
func who(p cache.Producer) []slog.Attr {
	var attrs []slog.Attr
	for _, a := range [...]struct{ name, value string }{
		{"token_id", p.TokenID}, {"session", p.Session}, {"repository_id", p.RepositoryID}, {"run_id", p.RunID}, {"actor_id", p.ActorID},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.name, a.value))
		}
	}
	return attrs
}

// denied is the producer of an error of package trust, as far as it is known.
func denied(err error) cache.Producer {
	d, ok := errors.AsType[*trust.DeniedError](err)
	if !ok {
		return cache.Producer{}
	}
	p := d.Producer
	p.TokenID, p.Session = cmp.Or(d.TokenID, p.TokenID), cmp.Or(d.Session, p.Session)
	return p
}

// log writes the one line of a request for a session. What was presented and what was issued is not in it.
func (q *sessionRequest) log() {
	level := levelOf(q.outcome)
	ctx := q.r.Context()
	log := q.server.opts.Log
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("workspace", string(cmp.Or(q.issued.Workspace, q.named))),
		slog.String("scope", string(q.issued.Write)),
		slog.Int("status", q.outcome.status),
		slog.String("result", q.outcome.result),
		slog.Float64("seconds", time.Since(q.started).Seconds()),
		slog.String("remote", q.r.RemoteAddr),
	}
	attrs = append(attrs, traceID(q.span)...)
	if q.outcome.cause == "" {
		attrs = append(attrs, who(q.issued.Producer)...)
		attrs = append(attrs, slog.String("rule", q.issued.Rule), slog.Time("expires", q.issued.Expires))
	} else {
		attrs = append(attrs, who(denied(q.err))...)
		attrs = append(attrs, slog.String("cause", q.outcome.cause), slog.String("error", q.err.Error()))
	}
	log.LogAttrs(ctx, level, "session", attrs...)
}

// levelOf: trouble of the server's own is a warning, all else is the daily business.
func levelOf(o outcome) slog.Level {
	if o.result == resultError && o.cause != causeClientGone && o.cause != causeClientStalled {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
