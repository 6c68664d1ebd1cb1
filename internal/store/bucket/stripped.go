package bucket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// noRecord is damage that looks the same as a proxy on the way that drops what is beside objects.
	noRecord damageError = "it has no record beside it"
	// probeEvery is for how long a look at the way that found it bad counts, and probeWait bounds one.
	probeEvery, probeWait = time.Minute, 10 * time.Second
)

// errStripped says that objects arrive without what lies beside them: then nothing can be said of entries, and none may be set aside for that.
var errStripped = errors.New("what lies beside objects does not arrive here (a proxy drops headers such as x-amz-meta-…, or the storage lost them): entries cannot be judged and are left alone")

// probe remembers whether metadata arrives.
type probe struct {
	mu   sync.Mutex
	at   time.Time
	last error
}

// keepsMeta writes an object with metadata and looks whether it has them: nil if so, [errStripped] if not.
func (s *Store) keepsMeta(ctx context.Context) error {
	s.probe.mu.Lock()
	defer s.probe.mu.Unlock()
	if now := s.opts.Now(); s.probe.last != nil && now.Sub(s.probe.at) < probeEvery && !now.Before(s.probe.at) {
		return s.probe.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeWait)
	defer cancel()
	s.probe.last = s.tryMeta(ctx)
	s.probe.at = s.opts.Now()
	return s.probe.last
}

func (s *Store) tryMeta(ctx context.Context) error {
	name := "check/" + rand.Text()
	content := small(checkText)
	content.Meta = checkMeta
	err := s.bucket.Put(ctx, name, content, IfAbsent)
	defer func() { _ = s.bucket.Delete(ctx, name, "") }() // it may be there in any case
	if err != nil {
		return fmt.Errorf("look whether metadata arrive: %w", err)
	}
	// Entries are read with Get, and listed with Head.
	info, err := s.bucket.Head(ctx, name)
	if err != nil {
		return fmt.Errorf("look whether metadata arrive: %w", err)
	}
	got, body, err := s.bucket.Get(ctx, name, 0, "")
	if err != nil {
		return fmt.Errorf("look whether metadata arrive: %w", err)
	}
	defer body.Close()
	if info.Meta != checkMeta || got.Meta != checkMeta {
		return errStripped
	}
	return nil
}
