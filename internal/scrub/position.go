package scrub

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// markName is that of the note about the pass.
const markName = "scrub"

// position is how far a pass is.
type position struct {
	Begun time.Time `json:"begun"`
	// Position is that of the last entry that was verified; empty: none is under way.
	Position string `json:"position,omitempty"`
	// Ended is when the last pass was complete, if none is under way.
	Ended time.Time `json:"ended,omitzero"`
}

// load reads the note. One that is not readable is none: who can write to the storage can make the scrub begin anew or wait, and no more.
func (s *Scrubber) load(ctx context.Context) (position, error) {
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	text, err := s.opts.Marks.Mark(ctx, markName)
	if errors.Is(err, cache.ErrNotExist) {
		return position{}, nil
	}
	var at position
	if err == nil && json.Unmarshal(text, &at) != nil {
		return position{}, nil
	}
	if err == nil && !at.Ended.IsZero() {
		s.metrics.completed.Set(float64(at.Ended.Unix()))
	}
	return at, err
}

// save writes the note, also at the end of ctx. Without it, the next start does more again: no more than the log is told of trouble.
func (s *Scrubber) save(ctx context.Context, at position) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveWait)
	defer cancel()
	text, err := json.Marshal(at)
	if err == nil {
		err = s.set(ctx, text)
	}
	if err != nil {
		s.log.Warn("how far the scrub is cannot be noted; after a restart it does a part of it again", "error", err)
	}
}

func (s *Scrubber) set(ctx context.Context, text []byte) error {
	old, err := s.opts.Marks.Mark(ctx, markName)
	switch {
	case errors.Is(err, cache.ErrNotExist):
		old = nil
	case err != nil:
		return err
	}
	err = s.opts.Marks.SetMark(ctx, markName, old, text)
	if errors.Is(err, cache.ErrExist) {
		return nil // another server has taken over
	}
	return err
}
