//go:build faults || e2e

package faults_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// deadline is how long a build may take. Without a fault it takes one to three seconds; the client itself waits for ever.
const deadline = 90 * time.Second

// cell is one cause at one moment, with one release of Nx.
type cell struct {
	cause
	moment  moment
	release string
}

func (c cell) name() string { return c.cause.name + "/" + string(c.moment) + "/" + c.release }

// result is what became of a cell.
type result struct {
	cell
	shelf shelf
	// Counts of builds: all, those that failed, those that did not end, those with outputs that are not theirs.
	builds, red, hung, wrong int
	// untold says what made the cell say nothing: the fault did not come to pass, or did not end.
	untold string
	// detail is what Nx said.
	detail string
	// took is the time of the build under fault.
	took time.Duration
	// answers counts what the server did meanwhile, by what it logged.
	answers map[string]int
	// finished is when.
	finished time.Time
}

func (r result) bad() bool { return r.red+r.hung+r.wrong > 0 || r.untold != "" }

// run does a cell: what is to be a hit is stored, something breaks at its moment while Nx builds, it is mended, and another build of the same follows.
func (w *world) run(t *testing.T, c cell, p *project) (r result) {
	r = result{cell: c, shelf: w.shelf, answers: make(map[string]int)}
	defer func() {
		r.detail = strings.TrimSpace(r.detail)
		r.finished = time.Now().UTC()
	}()
	p.renew(t)
	token := w.session
	if c.moment.primed() {
		feed := w.feed()
		if c.moment == between {
			feed = w.gate.url
		}
		p.build(t, &r, "the build before", feed, token)
		if err := w.fed(); err != nil || r.bad() {
			r.untold = fmt.Sprintf("the build before was not stored: %v", err)
			return r
		}
	}
	if c.token != nil {
		token = c.token(w)
	}
	f := &fault{w: w, c: c}
	seen := len(w.server.Log())
	server := w.server
	switch c.moment {
	case between:
		f.begin()
		w.poke()
		f.end()
		// The build comes at once: what the fault has left must not break it.
	case fromStart:
		f.begin()
	default:
		f.arm()
	}
	began := time.Now()
	p.build(t, &r, "the build under fault", w.gate.url, token)
	r.took = time.Since(began)
	f.disarm()
	if c.moment != between && c.moment != fromStart && !f.happened() {
		r.untold = "its moment did not come: the build asked for something else"
		if r.red+r.hung+r.wrong > 0 {
			r.untold = ""
		}
	}
	f.end()
	if err := f.error(); err != nil {
		r.untold = err.Error()
	}
	tally(r.answers, server.Log()[seen:])
	if server != w.server {
		tally(r.answers, w.server.Log())
	}
	if c.spoils {
		w.server.Kill()
		return r
	}
	if err := w.well(); err != nil {
		r.untold = err.Error()
		return r
	}
	p.build(t, &r, "the build afterwards", w.gate.url, w.session)
	return r
}

// tally counts the answers of a log by method, result and cause.
func tally(into map[string]int, log string) {
	for _, q := range bezoar.ReadRequests(log) {
		what := q.Method + " " + q.Result
		if q.Cause != "" {
			what += " (" + q.Cause + ")"
		}
		into[what]++
	}
}

// play runs cells on a shelf, with one server for those of a kind.
func play(t *testing.T, h *house, cells []cell, note func(result)) {
	var w *world
	projects := make(map[string]*project)
	for _, c := range cells {
		t.Run(string(h.shelf)+"/"+c.name(), func(t *testing.T) {
			if w != nil && w.kind != c.kind {
				w.stop()
				w = nil
			}
			if w == nil {
				w = h.open(c.kind)
			}
			much := sizes["much"]
			if c.huge {
				much = huge
			}
			which := fmt.Sprint(c.release, much)
			if projects[which] == nil {
				projects[which] = newProject(h.t, c.release, much)
			}
			r := w.run(t, c, projects[which])
			note(r)
			t.Logf("%v: %d red, %d hung, %d wrong; %v", r.took.Round(100*time.Millisecond), r.red, r.hung, r.wrong, r.answers)
			if why := c.helpless[c.moment]; why != "" && r.red > 0 && r.hung+r.wrong == 0 {
				t.Logf("no server can help: %s", why)
			} else if r.bad() {
				t.Errorf("%s\n%s\nthe end of the server's log:\n%s", r.untold, abridged(r.detail), tail(w.server.Log(), 40))
			}
			if c.spoils || r.untold != "" {
				w.server.Kill()
				w = nil
			}
		})
	}
	if w != nil {
		w.stop()
	}
}

func abridged(s string) string {
	if len(s) > 6000 {
		return s[:3000] + "\n[…]\n" + s[len(s)-3000:]
	}
	return s
}

func tail(s string, lines int) string {
	all := strings.SplitAfter(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}
