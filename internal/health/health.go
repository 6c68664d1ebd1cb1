// Package health knows which parts of the server do not work as they should. It tells the same in three places: a gauge for each cause, the log
// when trouble begins and ends, and whoever asks.
package health

import (
	"context"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
)

// interval is how often [Causes.Run] looks. What comes and goes in between is in no log.
const interval = 2 * time.Second

// maxText bounds what is told of one cause, in bytes.
const maxText = 1 << 10

const help = "1 while a part of the server does not work as it should, by cause. tokens: the ledger cannot be read, later revocations do not hold yet. " +
	"policy: the policy file is refused, the one before stays in force. issuer: the keys of an issuer of identities cannot be refreshed. " +
	"graves: deletions cannot be recorded, entries that were deleted could be put back after a restart. " +
	"purges: later purges do not hold here yet, or what those that do took cannot be moved. " +
	"entries: what is stored cannot be noted in the ledger, it is later. " +
	"divergences: what main and others made differently is not looked for, it is later. " +
	"audit: the audit log cannot be written, it is later. audit_chain: the audit log was changed by somebody, or cannot be sealed. " +
	"uses: what is read cannot be noted in the ledger, it is later. retention: the store cannot be kept within its bounds. " +
	"spool: uploads wait for the bucket for too long. tier: the local disk of the tier does not work, reads go to the bucket. " +
	"store: the store failed repeatedly and is left alone but for probes, requests are misses and refusals at once. " +
	"overload: something was turned away a moment ago because there was too much at once. " +
	"store: entries cannot be read or stored. scrub: damaged entries were found in the last day, or what is stored cannot be read. traces: spans cannot be exported, they are lost."

// Options configure [Causes].
type Options struct {
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Causes are the parts of a server that can be in trouble without its failing. It is safe for concurrent use.
type Causes struct {
	opts Options

	mu  sync.Mutex
	all []cause
}

type cause struct {
	name    string
	trouble func() error
}

// New makes an empty list of causes.
func New(opts Options) *Causes { return &Causes{opts: opts} }

// Add has a part watched, under a name of its own. What trouble returns is nil while the part works. It is called often and from several
// goroutines: it waits for nothing. Its text is shown to whoever may see the metrics, and has no secrets in it.
func (c *Causes) Add(name string, trouble func() error) {
	c.opts.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bezoar_degraded", Help: help, ConstLabels: prometheus.Labels{"cause": name},
	}, func() float64 {
		if trouble() != nil {
			return 1
		}
		return 0
	}))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, cause{name, trouble})
}

// All yields each cause in the order in which they were added, with what is wrong in one line, "" if nothing is.
func (c *Causes) All() iter.Seq2[string, string] {
	return func(yield func(name, text string) bool) {
		c.mu.Lock()
		all := slices.Clone(c.all)
		c.mu.Unlock()
		for _, cause := range all {
			text := ""
			if err := cause.trouble(); err != nil {
				text = oneLine(err.Error())
			}
			if !yield(cause.name, text) {
				return
			}
		}
	}
}

// Run tells the log when trouble begins and when it ends, until ctx ends.
func (c *Causes) Run(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	since := map[string]time.Time{} // of the causes whose trouble was told
	for {
		c.look(ctx, since)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Causes) look(ctx context.Context, since map[string]time.Time) {
	for name, text := range c.All() {
		began, told := since[name]
		switch {
		case text != "" && !told:
			since[name] = time.Now()
			c.opts.Logger.WarnContext(ctx, "a part of the server does not work as it should", "cause", name, "error", text)
		case text == "" && told:
			delete(since, name)
			c.opts.Logger.InfoContext(ctx, "a part of the server works again", "cause", name, "seconds", time.Since(began).Seconds())
		}
	}
}

// oneLine makes a text one line of readable characters; an error that has no text still says that it is one.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	if text == "" {
		return "trouble without a description"
	}
	return text
}
