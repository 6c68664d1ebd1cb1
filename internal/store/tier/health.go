package tier

import (
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// retryAfter is how long what failed is left alone.
	retryAfter = 15 * time.Second
	// calmAfter is for how long nothing must have failed before trouble counts as over, so that one file that cannot be read among
	// many that can does not fill the log.
	calmAfter = time.Minute
)

// health is how one use of the local disk goes.
type health struct {
	op, what string
	log      *slog.Logger
	now      func() time.Time
	errors   prometheus.Counter
	full     func() // is told of a full disk

	mu   sync.Mutex
	err  error // the latest; nil if all is well
	last time.Time
}

func (s *Store) newHealth(op, what string) *health {
	return &health{op: op, what: what, log: s.log, now: s.opts.Now, errors: s.metrics.localErrors.WithLabelValues(op), full: s.GiveWay}
}

// failed takes note of trouble. It is logged when it begins.
func (h *health) failed(err error) {
	h.errors.Inc()
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		h.full()
	}
	h.mu.Lock()
	begins := h.err == nil
	h.err, h.last = err, h.now()
	h.mu.Unlock()
	if begins {
		h.log.Error(h.what, "op", h.op, "error", err)
	}
}

// well takes note of success. It ends trouble that is over for a while.
func (h *health) well() {
	h.mu.Lock()
	ends := h.err != nil && h.now().Sub(h.last) >= calmAfter
	if ends {
		h.err = nil
	}
	h.mu.Unlock()
	if ends {
		h.log.Info("the local disk of the tier works again", "op", h.op)
	}
}

// worthTrying reports whether there is no trouble, or it is long enough ago to try again.
func (h *health) worthTrying() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err == nil || h.now().Sub(h.last) >= retryAfter
}

func (h *health) state() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}
