// Package admit bounds what is done at once, fairly: a flood from one scope takes from nobody else what he needs.
package admit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrFull says that there was no slot in time.
var ErrFull = errors.New("too many requests at once")

// maxWaiting bounds those who wait for a slot of one kind, whoever they are, and maxOthers those of them who are not trusted: however many groups they
// come from, they leave the trusted room to wait.
const (
	maxWaiting = 256
	maxOthers  = maxWaiting / 2
)

// Who asks for a slot.
type Who struct {
	// Trusted may have any slot, and comes first. A part is for the trusted alone.
	Trusted bool
	// Workspace and Group are whose shares are counted: a group is a scope, or a credential that writes none.
	Workspace, Group string
}

// Options of [Slots].
type Options struct {
	// Slots is how many there are, at least 1.
	Slots int
	// Wait bounds the wait for one. Zero: nobody waits.
	Wait time.Duration
	// Workspaces says how many share the slots. With more than one, none of them may hold more than three quarters. Nil: one.
	Workspaces func() int
}

// Slots are those of one kind of request. It is safe for concurrent use.
//
// A quarter is for trusted requests alone. Of the others each group may hold a quarter of what is left, so that four scopes at least have to flood
// together to turn a fifth one away, and none of them ever a trusted one.
type Slots struct {
	opts     Options
	reserved int // for the trusted
	perGroup int // of those that are not

	mu         sync.Mutex // held for steps in memory only
	trusted    int        // held by the trusted
	others     int
	workspaces map[string]int
	groups     map[group]int // of those that are not trusted
	waiting    []*waiter     // none of them fits now; in the order in which they came
	queued     map[group]int
	// othersQueued are those who wait and are not trusted.
	othersQueued int
	refused      [2]uint64 // others, trusted
	last         time.Time // of the latest refusal
}

type group struct{ workspace, name string }

type waiter struct {
	who   Who
	ready chan struct{} // closed, under the lock, when the slot is the waiter's
}

// New makes slots that are free.
func New(options Options) *Slots {
	s := &Slots{opts: options, workspaces: map[string]int{}, groups: map[group]int{}, queued: map[group]int{}}
	s.opts.Slots = max(1, options.Slots)
	s.reserved = s.opts.Slots / 4
	s.perGroup = max(1, (s.opts.Slots-s.reserved)/4)
	return s
}

// Acquire waits for a slot, for a short time, and returns what gives it back, to be called once. Its error is [ErrFull] or that of ctx.
func (s *Slots) Acquire(ctx context.Context, who Who) (release func(), err error) {
	s.mu.Lock()
	if s.fits(who) {
		s.take(who)
		s.mu.Unlock()
		return func() { s.release(who) }, nil
	}
	w := s.queue(who)
	s.mu.Unlock()
	if w == nil {
		return nil, s.refuse(who)
	}
	timer := time.NewTimer(s.opts.Wait)
	defer timer.Stop()
	select {
	case <-w.ready:
		return func() { s.release(who) }, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	if s.leave(w) {
		return func() { s.release(who) }, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, s.refuse(who)
}

// fits reports whether who may have a slot now.
func (s *Slots) fits(who Who) bool {
	used := s.trusted + s.others
	switch {
	case used >= s.opts.Slots:
		return false
	case s.crowds(who):
		return false
	case who.Trusted:
		return true
	}
	return s.others < s.opts.Slots-s.reserved && s.groups[who.group()] < s.perGroup
}

// crowds reports whether a workspace has all that it may have beside others.
func (s *Slots) crowds(who Who) bool {
	return s.workspaces[who.Workspace] >= s.opts.Slots-s.reserved && s.reserved > 0 && s.opts.Workspaces != nil && s.opts.Workspaces() > 1
}

func (w Who) group() group { return group{w.Workspace, w.Group} }

func (s *Slots) take(who Who) {
	s.workspaces[who.Workspace]++
	if who.Trusted {
		s.trusted++
		return
	}
	s.others++
	s.groups[who.group()]++
}

func (s *Slots) release(who Who) {
	s.mu.Lock()
	defer s.mu.Unlock()
	subtract(s.workspaces, who.Workspace)
	if who.Trusted {
		s.trusted--
	} else {
		s.others--
		subtract(s.groups, who.group())
	}
	s.grant()
}

// subtract keeps a map as small as what is under way.
func subtract[K comparable](m map[K]int, key K) {
	if m[key]--; m[key] == 0 {
		delete(m, key)
	}
}

// queue lets who wait, or returns nil where too many do. A group has no more waiting than it may hold.
func (s *Slots) queue(who Who) *waiter {
	if s.opts.Wait <= 0 || len(s.waiting) >= maxWaiting || !who.Trusted && (s.othersQueued >= maxOthers || s.queued[who.group()] >= s.perGroup) {
		return nil
	}
	w := &waiter{who: who, ready: make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.queued[who.group()]++
	if !who.Trusted {
		s.othersQueued++
	}
	return w
}

// grant gives what is free to those who wait.
func (s *Slots) grant() {
	for {
		best := -1
		for i, w := range s.waiting {
			if s.fits(w.who) && (best < 0 || s.before(w.who, s.waiting[best].who)) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		w := s.waiting[best]
		s.remove(best)
		s.take(w.who)
		close(w.ready)
	}
}

// before reports whether a comes before b who has waited longer: the trusted first, then who has less.
func (s *Slots) before(a, b Who) bool {
	if a.Trusted != b.Trusted {
		return a.Trusted
	}
	if wa, wb := s.workspaces[a.Workspace], s.workspaces[b.Workspace]; wa != wb {
		return wa < wb
	}
	return !a.Trusted && s.groups[a.group()] < s.groups[b.group()]
}

func (s *Slots) remove(i int) {
	subtract(s.queued, s.waiting[i].who.group())
	if !s.waiting[i].who.Trusted {
		s.othersQueued--
	}
	s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
}

// leave ends a wait, and reports whether the slot came all the same.
func (s *Slots) leave(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.waiting {
		if other == w {
			s.remove(i)
			return false
		}
	}
	return true
}

func (s *Slots) refuse(who Who) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	if who.Trusted {
		n = 1
	}
	s.refused[n]++
	s.last = time.Now()
	return fmt.Errorf("%w: %d of %d slots are taken, %d of them by the scope of this request; none was free within %s",
		ErrFull, s.trusted+s.others, s.opts.Slots, s.groups[who.group()], s.opts.Wait)
}
