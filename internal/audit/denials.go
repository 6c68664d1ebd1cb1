package audit

import (
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// window is the time within which denials of one kind are one event.
	window = time.Minute
	// lookAfterDenials is how often is looked for windows that are over.
	lookAfterDenials = 5 * time.Second
	// maxDenials bounds the kinds of denials within a window; what comes beyond is counted together, by its action and its cause alone.
	maxDenials = 1024
)

// denials counts what was denied, by who, why and for what, so that a flood is one row and no memory.
type denials struct {
	mu  sync.Mutex
	all map[denial]*counted
}

// denial is what is counted together: all that has to be the same.
type denial struct {
	action    Action
	actor     Actor
	cause     string
	workspace string
}

type counted struct {
	event Event // the first
	count int64
	last  time.Time
}

// Deny reports a denial: an event whose subject is the cause. It is written with the others of its minute: the first is told whole, the rest is counted.
func (r *Recorder) Deny(e Event) {
	e.Time, e.Replica = r.opts.Now(), r.opts.Replica
	if r.closed.Load() {
		r.lose(loss{1, e.Time, e.Time})
		return
	}
	r.denials.add(e)
}

func (d *denials) add(e Event) {
	key := denial{e.Action, e.Actor, e.Subject, string(e.Workspace)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = make(map[denial]*counted)
	}
	c := d.all[key]
	if c == nil && len(d.all) >= maxDenials {
		key = denial{action: e.Action, cause: e.Subject}
		e = Event{Time: e.Time, Action: e.Action, Actor: Actor{Kind: KindUnknown}, Subject: e.Subject, Replica: e.Replica, Details: Details{"others": true}}
		c = d.all[key]
	}
	if c == nil {
		c = &counted{event: e}
		d.all[key] = c
	}
	c.count++
	c.last = e.Time
}

// due takes out those whose window is over, or all, oldest first.
func (d *denials) due(now time.Time, all bool, each func(Event)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var over []*counted
	for key, c := range d.all {
		if all || now.Sub(c.event.Time) >= window {
			over = append(over, c)
			delete(d.all, key)
		}
	}
	slices.SortFunc(over, func(a, b *counted) int { return a.event.Time.Compare(b.event.Time) })
	for _, c := range over {
		e := c.event
		details := maps.Clone(e.Details)
		if details == nil {
			details = Details{}
		}
		details["count"] = c.count
		if c.count > 1 {
			details["last"] = c.last.UTC().Format(timeLayout)
		}
		e.Details = details
		each(e)
	}
}
