package admit

import (
	"fmt"
	"time"
)

// recent is for how long a refusal counts as trouble.
const recent = 30 * time.Second

// State is what [Slots] do now, for metrics.
type State struct {
	Slots           int
	Trusted, Others int // held by
	// RefusedTrusted and RefusedOthers count those who got none, since the start.
	RefusedTrusted, RefusedOthers uint64
}

// State returns how many are held.
func (s *Slots) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return State{Slots: s.opts.Slots, Trusted: s.trusted, Others: s.others, RefusedTrusted: s.refused[1], RefusedOthers: s.refused[0]}
}

// Degraded says that somebody got no slot a moment ago, or is nil.
func (s *Slots) Degraded() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.IsZero() || time.Since(s.last) >= recent {
		return nil
	}
	return fmt.Errorf("%w: since the start %d trusted ones and %d others were turned away; %d of %d slots are taken now",
		ErrFull, s.refused[1], s.refused[0], s.trusted+s.others, s.opts.Slots)
}
