package seal

import (
	"context"
	"errors"
	"time"
)

// ErrRunning says that a [Graveyard] is run twice.
var ErrRunning = errors.New("it runs already")

// Run records what could not be recorded at once, learns what other servers buried, and forgets what is too old, until ctx ends. Then it tries
// once more to record what waits. It returns nil, or [ErrRunning].
func (g *Graveyard) Run(ctx context.Context) error {
	if !g.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer g.running.Store(false)
	ticker := time.NewTicker(graveInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			g.end(ctx)
			return nil
		case <-ticker.C:
		}
		err := g.flush(ctx)
		if err == nil {
			err = g.read(ctx)
		}
		if ctx.Err() == nil { // else the end of the server was the trouble
			g.report(err)
		}
		if since := g.opts.Now().Sub(g.swept); since >= sweepInterval || since < 0 {
			g.sweep()
		}
	}
}

// flush records what waits, in steps, in the order in which it came.
func (g *Graveyard) flush(ctx context.Context) error {
	for {
		g.mu.Lock()
		step := g.unrecorded[:min(len(g.unrecorded), burialStep)]
		g.mu.Unlock()
		if len(step) == 0 {
			return nil
		}
		// Nobody else takes away from the beginning, and what is appended elsewhere leaves these as they are.
		if err := g.record(ctx, step, g.opts.Now()); err != nil {
			return err
		}
		g.mu.Lock()
		if g.unrecorded = g.unrecorded[len(step):]; len(g.unrecorded) == 0 {
			g.unrecorded = nil
		}
		g.mu.Unlock()
	}
}

// read takes in what was recorded since the last time.
func (g *Graveyard) read(ctx context.Context) error {
	forget := *g.forget.Load()
	for {
		n := 0
		last, err := g.readStep(ctx, func(id [16]byte, at time.Time) {
			n++
			if !at.Before(forget[kindOf(id)]) {
				g.graves.add(id, at)
			}
		})
		g.last = last
		if err != nil || n < graveStep {
			return err
		}
	}
}

func (g *Graveyard) readStep(ctx context.Context, each func(id [16]byte, at time.Time)) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, graveTimeout)
	defer cancel()
	return g.records.Buried(ctx, g.last, graveStep, each)
}

// sweep forgets what is older than Keep, and the oldest days of a kind that has more than Max.
func (g *Graveyard) sweep() {
	now := g.opts.Now()
	oldest := now.Add(-g.opts.Keep)
	forget := [2]time.Time{oldest, oldest}
	short := false
	for kind, days := range g.graves.days() {
		if first, over := cutDay(days, g.opts.Max, seconds(now)/day); over && first.After(oldest) {
			forget[kind], short = first, true
		}
	}
	if short && !g.short {
		g.log.Warn("more entries were deleted than this server can remember: the oldest deletions are forgotten early, and such entries could be put back",
			"max", g.opts.Max, "untrusted_since", forget[0].UTC().Format(time.DateOnly), "trusted_since", forget[1].UTC().Format(time.DateOnly))
	}
	g.short, g.swept = short, now
	g.forget.Store(&forget)
	g.graves.forget(forget)
}

// end tries for the last time to record what waits.
func (g *Graveyard) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), graveTimeout)
	defer cancel()
	err := g.flush(ctx)
	g.mu.Lock()
	left := len(g.unrecorded) + g.lost
	g.mu.Unlock()
	if left > 0 {
		g.log.Error("deletions could not be recorded, and this server ends: who can write to the storage could put these entries back", "entries", left, "error", err)
	}
}

// report notes how the records do and logs the change.
func (g *Graveyard) report(err error) {
	if err == nil {
		if g.trouble.Swap(nil) != nil {
			g.log.Info("deletions are recorded again")
		}
		return
	}
	if g.trouble.Swap(&err) == nil {
		g.log.Warn("deletions cannot be recorded, or those of other servers not be read: this server remembers its own and tries again", "error", err)
	}
}
