package seal

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const (
	// maxLines bounds the log lines for each reason within quietFor. Where unsealed entries are upgraded, each is told
	// of when it is first asked for, and there may be a million.
	maxLines = 10
	quietFor = time.Minute
)

// quiet bounds log lines. Each reason has its own bound, so that a flood of one does not hide another.
type quiet struct {
	now func() time.Time

	mu      sync.Mutex
	reasons map[string]*window
}

// window is what was said for one reason since a time.
type window struct {
	since        time.Time
	lines, muted int
}

// ask reports whether one more line may be written, and how many were not before it.
func (q *quiet) ask(reason string) (may bool, muted int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.reasons == nil {
		q.reasons = make(map[string]*window)
	}
	w := q.reasons[reason]
	if w == nil {
		w = &window{since: q.now()}
		q.reasons[reason] = w
	}
	if now := q.now(); now.Sub(w.since) >= quietFor || now.Before(w.since) {
		w.since, w.lines = now, 0
	}
	if w.lines >= maxLines {
		w.muted++
		return false, 0
	}
	w.lines++
	muted, w.muted = w.muted, 0
	return true, muted
}

// alarm says that an entry's seal is not good, unless that was said too often of late.
func (s *store) alarm(reason, what string, key cache.Key, flaw error) {
	s.say(slog.LevelError, reason, what, key, flaw)
}

// warn says what is amiss, within the same bounds.
func (s *store) warn(reason, what string, key cache.Key, err error) {
	s.say(slog.LevelWarn, reason, what, key, err)
}

func (s *store) say(level slog.Level, reason, what string, key cache.Key, err error) {
	may, muted := s.quiet.ask(reason)
	if !may {
		return
	}
	attrs := []any{"key", key.String(), "reason", reason, "error", err.Error()}
	if muted > 0 {
		attrs = append(attrs, "more_since_the_last_line", muted)
	}
	s.log.Log(context.Background(), level, what, attrs...)
}
