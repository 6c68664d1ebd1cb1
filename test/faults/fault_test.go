//go:build faults || e2e

package faults_test

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bezoar-cache/bezoar/test/disk/faulty"
)

// fault is a cause at work.
type fault struct {
	w *world
	c cell

	mu    sync.Mutex
	mend  faulty.Mend
	err   error
	timer *time.Timer
}

// triggers are those that can see the moment.
func (f *fault) trigger() *trigger {
	if f.c.side == atBucket {
		return &f.w.bucket.injector.trigger
	}
	return &f.w.gate.trigger
}

func (f *fault) arm()           { f.trigger().arm(f.c.moment, f.begin) }
func (f *fault) happened() bool { return f.mended() || f.trigger().happened() }

func (f *fault) disarm() {
	t := f.trigger()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fire = nil
}

func (f *fault) mended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.timer != nil
}

func (f *fault) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	mend, err := f.c.apply(f.w)
	if err != nil {
		f.err = fmt.Errorf("the fault could not be made: %w", err)
	}
	f.mend = mend
	if f.c.lasts > 0 {
		f.timer = time.AfterFunc(f.c.lasts, f.end)
	}
}

func (f *fault) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mend == nil {
		return
	}
	if err := f.mend(); err != nil {
		f.err = errors.Join(f.err, fmt.Errorf("the fault could not be mended: %w", err))
	}
	f.mend = nil
}

func (f *fault) error() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
