//go:build e2e

package soak_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// result is what a soak found out.
type result struct {
	begun time.Time
	plan  plan
	bag   []int // of faults that are to come
	swept int

	mu         sync.Mutex
	answers    map[string]int
	dropped    int // connections, by a server that was killed
	events     map[string]int
	slowest    map[sky]time.Duration
	violations []string
	more       int // violations
	curve      []gauge
	base, end  gauge
}

func newResult(p plan) *result {
	return &result{begun: time.Now(), plan: p, answers: map[string]int{}, events: map[string]int{}, slowest: map[sky]time.Duration{}}
}

// maxTold bounds the violations that are told.
const maxTold = 30

func (r *result) violated(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.violations) == maxTold {
		r.more++
		return
	}
	r.violations = append(r.violations, fmt.Sprintf("%s: "+format, append([]any{time.Since(r.begun).Round(time.Millisecond)}, args...)...))
}

// had counts something that happened.
func (r *result) had(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events[what]++
}

// answered notes an answer, and reports whether there was one.
func (r *result) answered(method string, status int, err error, under sky, took time.Duration, hash string, text []byte) bool {
	r.mu.Lock()
	if err == nil {
		r.answers[fmt.Sprintf("%s %d", method, status)]++
		r.slowest[under] = max(r.slowest[under], took)
	} else if under == killing {
		r.dropped++
	}
	r.mu.Unlock()
	switch {
	case took >= longest:
		r.violated("%s %s: %d after %s, %v", method, hash, status, took, err)
	case err != nil && under != killing:
		r.violated("%s %s: %d %s, %v", method, hash, status, text, err)
	}
	return err == nil
}

// over notes what a server still tells of when all is well again. The tier takes a minute to be sure. What is looked after at long intervals, such as the scrub and the seal of
// the audit log, may be told of until it is its turn.
func (r *result) over(causes map[string]string) {
	for cause, text := range causes {
		changed := strings.Contains(text, "damaged entries") || strings.Contains(text, "is broken")
		if cause == "store" || changed || isLong() && (cause == "tier" || cause == "spool") {
			r.violated("%s after the last fault it is still degraded: %s: %s", r.plan.end, cause, text)
		} else {
			r.had("told of at the end, until its next turn comes: " + cause)
		}
	}
}

// follow takes the gauges now and then.
func (r *result) follow(ctx context.Context, w *world, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if g, err := w.read(w.at()); err == nil { // else it is being killed
			r.mu.Lock()
			r.curve = append(r.curve, g)
			r.mu.Unlock()
		}
	}
}

// What may be there at the end beyond what was near the start: MB, descriptors and goroutines. The index of the tier, the memo of the directory and the
// heap of a longer life take some. A connection to the bucket that nobody uses stays for 90 seconds, with two goroutines: where less time is left for that, as many
// may be there as clients.
const (
	moreHeap, moreRSS = 16, 48
	moreFiles         = 16
	idleConnection    = 90 * time.Second
)

func (r *result) compare(base, end gauge) {
	r.mu.Lock()
	r.base, r.end = base, end
	r.mu.Unlock()
	files := moreFiles
	if r.plan.settling < idleConnection {
		files += clients
	}
	if end.heap > base.heap+moreHeap || end.rss > base.rss+moreRSS || end.files > base.files+files || end.goroutines > base.goroutines+2*files {
		r.violated("without load it had %v near the start, and %v at the end", base, end)
	}
}

// judge fails the test if anything was wrong, or if there was nothing to judge.
func (r *result) judge(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.violations {
		t.Error(v)
	}
	if r.more > 0 {
		t.Errorf("and %d more", r.more)
	}
	for _, a := range []string{"GET 200", "GET 404", "PUT 200", "PUT 403", "PUT 409"} {
		if r.answers[a] == 0 {
			t.Errorf("there was no answer %s: this shows nothing", a)
		}
	}
}

// rows is how many rows of the curve are shown.
const rows = 12

func (r *result) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	total := 0
	for _, n := range r.answers {
		total += n
	}
	fmt.Fprintf(&b, "%d answers:", total)
	for _, a := range slices.Sorted(maps.Keys(r.answers)) {
		fmt.Fprintf(&b, " %s %d,", a, r.answers[a])
	}
	fmt.Fprintf(&b, " and %d connections that a kill cut off. %d acknowledged entries, all of them there at the end. Violations: %d.\n", r.dropped, r.swept, len(r.violations)+r.more)
	fmt.Fprintf(&b, "The slowest answer took %.1f s while something was broken, %.1f s while nothing was.\n\n| what happened | times |\n|---|---|\n",
		max(r.slowest[foul], r.slowest[killing]).Seconds(), r.slowest[calm].Seconds())
	for _, e := range slices.Sorted(maps.Keys(r.events)) {
		fmt.Fprintf(&b, "| %s | %d |\n", e, r.events[e])
	}
	b.WriteString("\n| | resident MB | heap MB | descriptors | goroutines |\n|---|---|---|---|---|\n")
	row := func(what string, g gauge) {
		fmt.Fprintf(&b, "| %s | %.0f | %.1f | %d | %d |\n", what, g.rss, g.heap, g.files, g.goroutines)
	}
	row("no load, near the start, after the last kill, at "+r.base.at.Round(time.Second).String(), r.base)
	for i := range rows {
		if n := len(r.curve); n > 0 {
			g := r.curve[min(n-1, (i*n+n/2)/rows)]
			row("under load, at "+g.at.Round(time.Second).String(), g)
		}
	}
	row("no load, at the end, at "+r.end.at.Round(time.Second).String(), r.end)
	return b.String()
}
