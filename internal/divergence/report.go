package divergence

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Name is that of the counter of divergences, by "level": first, recurring, and beyond for those of a scope that had too many to be kept.
const Name = "bezoar_divergences_total"

const beyond = "beyond"

const (
	// maxLines bounds the log lines of each level within quietFor. A flood of one does not hide another.
	maxLines = 10
	quietFor = time.Minute
)

// report tells of divergences, in the goroutine of [Watcher.Look] alone.
type report struct {
	log     *slog.Logger
	now     func() time.Time
	count   *prometheus.CounterVec
	windows map[string]*window
}

// window is what was said of one level since a time.
type window struct {
	since        time.Time
	lines, muted int
}

func newReport(options *Options) *report {
	r := &report{log: options.Logger, now: options.Now, windows: make(map[string]*window)}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.count = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: Name,
		Help: "Hashes under which the trusted scope and another one hold different content, by level: first, worth a page; recurring, a task that is not deterministic, most likely; " +
			"beyond, of a scope that has too many of them to be kept.",
	}, []string{"level"})
	for _, level := range []string{string(First), string(Recurring), beyond} {
		r.count.WithLabelValues(level) // so that the first one is an increase
	}
	if options.Registerer != nil {
		options.Registerer.MustRegister(r.count)
	}
	return r
}

// settled tells of one whose level is known.
func (r *report) settled(ctx context.Context, d *Divergence) {
	if d.Comparison.State == Same {
		r.say(ctx, slog.LevelWarn, string(Same), "two entries were noted with different content and unpack to the same: 'bezoar ledger rebuild' brings the ledger up to date",
			"workspace", string(d.Workspace), "scope", string(d.Scope), "hash", string(d.Hash))
		return
	}
	r.count.WithLabelValues(string(d.Level)).Inc()
	level, what := slog.LevelError, "main and another scope made different things of the same inputs: a task that is not deterministic, or an attempt to poison the cache; see 'bezoar divergences show'"
	if d.Level == Recurring {
		level, what = slog.LevelWarn, "main and another scope made different things of the same inputs, as others did before: most likely a task that is not deterministic; see 'bezoar divergences show'"
	}
	r.say(ctx, level, string(d.Level), what, "divergence", d.ID, "level", string(d.Level), "workspace", string(d.Workspace), "scope", string(d.Scope), "hash", string(d.Hash),
		"members", d.Comparison.Differing, "compared", string(d.Comparison.State),
		"run_id", d.Other.Producer.RunID, "actor_id", d.Other.Producer.ActorID, "token_id", d.Other.Producer.TokenID)
}

// beyond tells of scopes that have too many.
func (r *report) beyond(ctx context.Context, floods []Flood) {
	for _, f := range floods {
		r.count.WithLabelValues(beyond).Add(float64(f.Count))
		r.say(ctx, slog.LevelError, beyond, "a scope holds other things than main under more hashes than are kept: they are counted; see 'bezoar divergences'",
			"workspace", string(f.Workspace), "scope", string(f.Scope), "more", f.Count)
	}
}

func (r *report) say(ctx context.Context, level slog.Level, kind, what string, attrs ...any) {
	w := r.windows[kind]
	if w == nil {
		w = &window{since: r.now()}
		r.windows[kind] = w
	}
	if now := r.now(); now.Sub(w.since) >= quietFor || now.Before(w.since) {
		w.since, w.lines = now, 0
	}
	if w.lines >= maxLines {
		w.muted++
		return
	}
	w.lines++
	if w.muted > 0 {
		attrs = append(attrs, "more_since_the_last_line", w.muted)
		w.muted = 0
	}
	r.log.Log(ctx, level, what, attrs...)
}
