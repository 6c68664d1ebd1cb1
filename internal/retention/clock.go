package retention

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const (
	// stateName is the setting in which servers remember when one of them looked last.
	stateName = "retention"
	// maxGap is the longest time between two looks that is taken for a pause, such as a weekend. Beyond it nobody knows what was read meanwhile, whether a
	// clock went wrong, or whether the ledger is one from a backup.
	maxGap = 72 * time.Hour
	// settling is how long after such a gap no age is believed: a clock that went ahead makes everything old at once.
	settling = 24 * time.Hour
)

// state is what is remembered from one look to the next; times are seconds since the Unix epoch.
type state struct {
	// Seen is when somebody looked last.
	Seen int64 `json:"seen"`
	// Since is from when on uses were noted without a gap: nothing counts as unused for longer than since then.
	Since int64 `json:"since"`
	// Jumped is when a gap ended; 0: there was none lately.
	Jumped int64 `json:"jumped,omitempty"`
}

// next is the state at a look now.
func (s state) next(now time.Time) state {
	at := now.Unix()
	switch gap := time.Duration(at-s.Seen) * time.Second; {
	case s.Seen == 0:
		s = state{Since: at} // the first look: nothing is known of the time before
	case gap > maxGap:
		s.Since, s.Jumped = at, at
	}
	// A clock that was ahead and went back.
	s.Since = min(s.Since, at)
	if at < s.Jumped || at-s.Jumped >= int64(settling/time.Second) {
		s.Jumped = 0
	}
	s.Seen = at
	return s
}

// settled is until when ages are not believed; zero: they are.
func (s state) settled() time.Time {
	if s.Jumped == 0 {
		return time.Time{}
	}
	return time.Unix(s.Jumped, 0).Add(settling)
}

func readState(ctx context.Context, ledger Ledger) (s state, err error) {
	text, err := ledger.Setting(ctx, stateName)
	if err != nil || len(text) == 0 {
		return state{}, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return state{}, fmt.Errorf("the setting %q in the ledger: %w", stateName, err)
	}
	return s, nil
}

func writeState(ctx context.Context, ledger Ledger, s state) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return ledger.SetSetting(ctx, stateName, text)
}
