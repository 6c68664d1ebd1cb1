// Package noninterference shows as a property what TRUST calls immune by design: whatever those do who are not trusted, and in whatever
// order, changes nothing of what others get.
//
// Histories are made up, of people, scopes, hashes, uploads, reads, evictions, purges, faults and forged entries, and happen to a whole
// server but for its sockets. Each happens twice: once as it is, and once without the steps of those who are not compared. The answers to
// the others must be the same, byte for byte. Beside that, each answer is held against a model of what ought to be.
package noninterference

import (
	"errors"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

var (
	steps     = flag.Int("steps", 100_000, "how many steps the histories have together, at least")
	fileSteps = flag.Int("file-steps", 1000, "the same for those over a store of files")
	survey    = flag.Bool("survey", false, "count which laws are broken, instead of stopping at the first")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestUntrustedStepsChangeNothing is the property.
func TestUntrustedStepsChangeNothing(t *testing.T) {
	stage := newStage(t)
	all := &tally{}
	parts := runtime.GOMAXPROCS(0)
	t.Run("parts", func(t *testing.T) {
		for part := range parts {
			t.Run(strconv.Itoa(part), func(t *testing.T) {
				t.Parallel()
				check(t, stage, all, (*steps+parts-1)/parts, inMemory)
			})
		}
	})
	all.report(t, *steps)
}

// TestUntrustedStepsChangeNothingOnFiles is the property over a store of files, which is slower by far.
func TestUntrustedStepsChangeNothingOnFiles(t *testing.T) {
	all := &tally{}
	check(t, newStage(t), all, *fileSteps, onFiles)
	all.report(t, *fileSteps)
}

// check makes up histories until they have enough steps, and compares.
func check(t *testing.T, stage *stage, all *tally, enough int, where storage) {
	t.Helper()
	for done := 0; done < enough; {
		rapid.Check(t, func(rt *rapid.T) {
			h := drawHistory(rt, stage.principals, where)
			wrongs, err := stage.compare(t, h, all)
			if err != nil {
				rt.Fatal(err)
			}
			done += len(h.steps)
			if len(wrongs) > 0 && !*survey {
				rt.Fatalf("%s\n%s", tell(wrongs), h)
			}
		})
	}
}

// compare lets a history happen twice, each time in a bubble of its own, whose clock begins at the same time, and says all that is wrong.
func (s *stage) compare(t *testing.T, h *history, all *tally) ([]wrong, error) {
	t.Helper()
	var full, part *run
	var errs [2]error
	synctest.Test(t, func(t *testing.T) { full, errs[0] = s.play(h, t.TempDir, func(step) bool { return true }) })
	synctest.Test(t, func(t *testing.T) { part, errs[1] = s.play(h, t.TempDir, h.isKept) })
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	wrongs := slices.Concat(full.wrongs, part.wrongs, differences(h, full, part))
	all.add(h, full, wrongs)
	return wrongs, nil
}

// differences are what those who are compared could tell the two runs by.
func differences(h *history, full, part *run) (wrongs []wrong) {
	i := 0
	for _, a := range full.view {
		if !h.isKept(h.steps[a.step]) {
			continue
		}
		if i >= len(part.view) {
			return append(wrongs, wrong{a.step, "noninterference", "there was an answer only with the others' steps"})
		}
		b := part.view[i]
		i++
		if a.step != b.step || a.what != b.what {
			return append(wrongs, wrong{a.step, "noninterference", fmt.Sprintf("%s against %s in step %d", a.what, b.what, b.step)})
		}
		if a.answer != b.answer && !a.excused {
			return append(wrongs, wrong{a.step, "noninterference", fmt.Sprintf(
				"the answer is %v, and without the others' steps %v\n--- with\n%s\n--- without\n%s", a.answer, b.answer, a.header, b.header)})
		}
	}
	if i < len(part.view) {
		wrongs = append(wrongs, wrong{part.view[i].step, "noninterference", "there was an answer only without the others' steps"})
	}
	return wrongs
}

func tell(wrongs []wrong) string {
	b := new(strings.Builder)
	for _, w := range wrongs {
		fmt.Fprintf(b, "%s is broken in step %d: %s\n", w.law, w.step, w.text)
	}
	return b.String()
}
