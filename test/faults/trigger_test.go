//go:build faults || e2e

package faults_test

import "sync"

// moment is when, in the course of a build, something breaks.
type moment string

// The moments. What a build asks for first is an artifact, which is there (a hit) or not (a miss, after which it uploads what it built).
const (
	beforeMiss moment = "before the answer, a miss"
	beforeHit  moment = "before the answer, a hit"
	midBody    moment = "mid-body"
	midUpload  moment = "during upload"
	between    moment = "between builds"
	// fromStart is for what has to be broken before a build begins.
	fromStart moment = "as the build begins"
)

// primed says that what the build asks for was stored before.
func (m moment) primed() bool {
	return m == beforeHit || m == midBody || m == between || m == fromStart
}

// trigger breaks something at its moment, once. Who sees the moment come waits until it is broken.
type trigger struct {
	mu    sync.Mutex
	at    moment
	fire  func()
	fired bool
}

// arm sets what happens at a moment; an empty one disarms.
func (t *trigger) arm(at moment, fire func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at, t.fire, t.fired = at, fire, false
}

// come tells that a moment is there.
func (t *trigger) come(now moment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := now == beforeHit && (t.at == beforeHit || t.at == beforeMiss)
	if t.fire == nil || t.fired || t.at != now && !before {
		return
	}
	t.fired = true
	t.fire()
}

// happened reports whether the moment came.
func (t *trigger) happened() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fired
}
