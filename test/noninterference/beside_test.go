package noninterference

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// besideHistories is how many histories happen with the others at the same time. Each is short: it is the race detector that they are for.
const besideHistories = 3

// TestOthersAtTheSameTimeChangeNothing is the property with those who are not trusted at work at the same time, and not in between. In
// which order they come to be served is not known, so that there is no model of what ought to be; but what the trusted ones get is.
func TestOthersAtTheSameTimeChangeNothing(t *testing.T) {
	stage := newStage(t)
	hits, alone := 0, 0
	for range besideHistories {
		rapid.Check(t, func(rt *rapid.T) {
			h := drawHistory(rt, stage.principals, inMemory)
			h.stay = map[string]bool{trusted: true}
			h.steps = slices.DeleteFunc(h.steps, func(s step) bool {
				return s.do != read && s.do != upload && s.do != exchange && s.do != odd
			})
			full, others, err := stage.playBeside(t, h)
			if err != nil {
				rt.Fatal(err)
			}
			var part *run
			synctest.Test(t, func(t *testing.T) { part, err = stage.play(h, t.TempDir, h.isKept) })
			if err != nil {
				rt.Fatal(err)
			}
			wrongs := slices.Concat(full.wrongs, part.wrongs, differences(h, full, part))
			for _, r := range others {
				wrongs = append(wrongs, r.strangeBytes(&hits)...)
			}
			alone += len(part.view)
			if len(wrongs) > 0 {
				rt.Fatalf("%s\n%s", tell(wrongs), h)
			}
		})
	}
	if hits == 0 || alone == 0 {
		t.Errorf("%d answers to trusted people, %d hits of others: nothing was shown", alone, hits)
	}
}

// playBeside lets the compared steps happen one after the other, as they stand, and beside them those of everybody else, each person in a
// goroutine of his own.
func (s *stage) playBeside(t *testing.T, h *history) (compared *run, others []*run, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var w *world
		if w, err = s.newWorld(h, t.TempDir); err != nil {
			return
		}
		start := func() *run {
			return &run{stage: s, h: h, world: w, model: newModel(), clients: map[*principal]*client{}}
		}
		theirs := map[*principal][]int{}
		for i, st := range h.steps {
			if !h.isKept(st) {
				theirs[st.who] = append(theirs[st.who], i)
			}
		}
		var all sync.WaitGroup
		errs := make(chan error, len(h.steps))
		for _, steps := range theirs {
			r := start()
			others = append(others, r)
			all.Go(func() {
				for _, i := range steps {
					errs <- r.step(i, h.steps[i])
				}
			})
		}
		compared = start()
		for i, st := range h.steps {
			if h.isKept(st) {
				err = errors.Join(err, compared.step(i, st))
			}
		}
		all.Wait()
		close(errs)
		for e := range errs {
			err = errors.Join(err, e)
		}
		err = errors.Join(err, w.close())
	})
	return compared, others, err
}

// strangeBytes finds hits of what was brought by somebody whose entries are not to be seen, or under another hash. The run's own findings
// mean nothing: it knows only of its own entries.
func (r *run) strangeBytes(hits *int) (wrongs []wrong) {
	for _, a := range r.view {
		reader := r.h.steps[a.step]
		if a.what != "read" || a.status != http.StatusOK || reader.head || a.broken {
			continue
		}
		*hits++
		i, ok := r.stage.bodies.step(a.body)
		if !ok || i >= len(r.h.steps) {
			wrongs = append(wrongs, wrong{a.step, "whole", fmt.Sprintf("%v gets what nobody brought: %v", reader.who, a.answer)})
			continue
		}
		writer := r.h.steps[i]
		if g := writer.who.group; g != trusted && g != reader.who.group || writer.hash != reader.hash {
			wrongs = append(wrongs, wrong{a.step, "isolation", fmt.Sprintf("%v gets what %v brought in step %d", reader.who, writer.who, i)})
		}
	}
	return wrongs
}
