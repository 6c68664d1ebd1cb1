package scrub

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// lately is for how long what was found is told.
	lately = 24 * time.Hour
	// tellEvery bounds log lines about trouble.
	tellEvery = time.Minute
)

// health is what is told of the storage.
type health struct {
	now func() time.Time

	mu       sync.Mutex
	damage   error // the last that was found
	count    int   // since nothing was found for long
	first    time.Time
	last     time.Time // when the last was found
	failure  error
	failedAt time.Time
	told     time.Time
}

// found takes note of damage.
func (h *health) found(place string, why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if now.Sub(h.last) >= lately {
		h.count, h.first = 0, now
	}
	h.count++
	h.damage, h.last = fmt.Errorf("%s: %w", place, why), now
}

// failed takes note of trouble and reports whether the log should hear of it.
func (h *health) failed(err error) (tell bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	h.failure, h.failedAt = err, now
	if now.Sub(h.told) < tellEvery && !now.Before(h.told) {
		return false
	}
	h.told = now
	return true
}

func (h *health) state() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var damage, failure error
	if h.damage != nil && h.now().Sub(h.last) < lately {
		damage = fmt.Errorf("the scrub found %d damaged entries since %s; the last one: %w", h.count, h.first.UTC().Format(time.RFC3339), h.damage)
	}
	if h.failure != nil && h.now().Sub(h.failedAt) < lately {
		failure = fmt.Errorf("the scrub could not read all that is stored: %w", h.failure)
	}
	return errors.Join(damage, failure)
}

// well takes note of a turn without trouble.
func (h *health) well() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failure = nil
}
