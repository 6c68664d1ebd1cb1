package noninterference

import (
	"net/http"
	"sync"
	"testing"
)

// tally counts what happened, so that a property over histories in which nothing happens cannot pass for one that holds.
type tally struct {
	mu     sync.Mutex
	steps  int
	events map[string]int
	broken map[string]int
}

// events are those that have to come up, each about once in so many steps.
var events = map[string]int{
	"a trusted hit": 12, "a trusted entry": 30, "a trusted entry that is there already": 32, "a trusted hit of somebody else": 18,
	"an own hit": 50, "an own entry": 42, "an own entry that is there already, or trusted": 50,
	"a session": 9, "no session": 17, "a refusal": 5, "an upload in two halves": 48, "an upload in two halves that is refused at its end": 190,
	"an entry that was forged at rest": 130, "a policy": 80, "a revocation": 80,
}

func (t *tally) add(h *history, r *run, wrongs []wrong) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.events == nil {
		t.events, t.broken = map[string]int{}, map[string]int{}
	}
	t.steps += len(h.steps)
	t.events["an entry that was forged at rest"] += len(r.touched)
	for _, w := range wrongs {
		t.broken[w.law]++
	}
	for _, s := range h.steps {
		switch s.do {
		case reload:
			t.events["a policy"]++
		case revoke:
			t.events["a revocation"]++
		}
	}
	for _, a := range r.view {
		if e := eventOf(h.steps[a.step], a); e != "" {
			t.events[e]++
		}
		if a.what == "finish" {
			t.events["an upload in two halves"]++
			if a.status == http.StatusForbidden && h.steps[a.step].do == finish {
				t.events["an upload in two halves that is refused at its end"]++
			}
		}
	}
	for range r.ownHits {
		t.events["an own hit"]++
	}
}

// eventOf names an answer.
func eventOf(s step, a seen) string {
	isTrusted := s.who.group == trusted
	switch {
	case a.what == "exchange" && a.status == http.StatusOK:
		return "a session"
	case a.what == "exchange":
		return "no session"
	case a.status == http.StatusOK && a.what == "read" && isTrusted:
		return "a trusted hit"
	case a.status == http.StatusOK && a.what == "read":
		return "a trusted hit of somebody else"
	case a.status == http.StatusOK && isTrusted:
		return "a trusted entry"
	case a.status == http.StatusOK:
		return "an own entry"
	case a.status == http.StatusConflict && isTrusted:
		return "a trusted entry that is there already"
	case a.status == http.StatusConflict:
		return "an own entry that is there already, or trusted"
	case a.status == http.StatusForbidden || a.status == http.StatusUnauthorized:
		return "a refusal"
	}
	return ""
}

// report fails if too little happened.
func (t *tally) report(tb testing.TB, enough int) {
	tb.Helper()
	tb.Logf("%d steps: %v", t.steps, t.events)
	if len(t.broken) > 0 {
		tb.Errorf("BROKEN %v", t.broken)
	}
	if t.steps < enough {
		tb.Errorf("only %d of %d steps", t.steps, enough)
	}
	for e, oneIn := range events {
		if t.events[e] < t.steps/oneIn/10 {
			tb.Errorf("%q came up %d times in %d steps, and should in one of %d", e, t.events[e], t.steps, oneIn)
		}
	}
}
