//go:build faults

// Package faults_test breaks what a server depends on, one thing at a time and at each moment of a build, while real Nx builds: no build may fail, hang, or
// get other bytes than were built. It needs root, for small file systems and limits.
package faults_test

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

var (
	write = flag.Bool("write", false, "write what came out to docs/faults.md")
	note  = flag.String("note", "", "what else the page has to tell of this run")
	only  = flag.String("cells", "", "do those alone whose SHELF/CAUSE/MOMENT/RELEASE matches this expression")
)

// TestFaults does all cells, those of the three shelves side by side (with -parallel 3): most of the time something waits for a deadline.
func TestFaults(t *testing.T) {
	binary := bezoar.Build(t)
	withClock := sync.OnceValue(func() bezoar.Binary { return clocked(t, binary) })
	var mu sync.Mutex
	var results []result
	t.Run("cells", func(t *testing.T) {
		wanted := regexp.MustCompile(*only)
		for _, on := range []shelf{onDisk, s3, s3WithTier} {
			cells := slices.DeleteFunc(matrix(on), func(c cell) bool { return !wanted.MatchString(string(on) + "/" + c.name()) })
			if len(cells) == 0 {
				continue
			}
			t.Run("of", func(t *testing.T) {
				t.Parallel()
				play(t, newHouse(t, on, binary, withClock), cells, func(r result) {
					mu.Lock()
					defer mu.Unlock()
					results = append(results, r)
					if *only == "" {
						keep(t, results)
					}
				})
			})
		}
	})
	if *only != "" { // cells that were mended take the place of what they were
		results = merged(t, results)
	}
	keep(t, results)
	t.Logf("\n%s", summary(results))
	if *write {
		if n := count(results).untold; n > 0 {
			t.Fatalf("%d cells say nothing; the page is not written", n)
		}
		if err := os.WriteFile("../../docs/faults.md", []byte(page(results)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
