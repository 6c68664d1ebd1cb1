//go:build e2e

// Package soak_test runs the built server for long, over a directory and over a bucket, while everything around it breaks in turn, and holds all that
// it does against what was uploaded: no answer outside the contract, no wrong byte, no acknowledged entry lost, and no memory, descriptor or goroutine
// that stays.
//
//	go test -tags e2e ./test/soak                             # two minutes
//	go test -tags e2e ./test/soak -timeout 0 -soak=1h -v      # an hour: make soak
//
// It needs root, to mount a file system.
package soak_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

var (
	duration = flag.Duration("soak", 2*time.Minute, "how long it takes, but for the reading of everything at the end")
	rate     = flag.Float64("rate", 20, "requests a second of all clients together, to each of the two servers")
	write    = flag.String("write", "", "file that takes the result, as a page of the docs")
	seed     = flag.Uint64("seed", 0, "seed of the faults; 0: another one each time")
)

// clients is how many there are at each server.
const clients = 32

// plan is how the time is spent: first with kills, then in one process, so that its memory can be compared.
type plan struct {
	kills    int           // in the first part
	killing  time.Duration // the first part
	weather  time.Duration // the second one
	least    time.Duration // that a fault takes
	most     time.Duration
	inARow   int           // faults without a pause
	grace    time.Duration // after which a fault must be forgotten
	calm     time.Duration // from then on
	settling time.Duration // without load, for what is to go by itself
	end      time.Duration // the last calm
	sample   time.Duration
}

// isLong reports whether there is time for faults and waits as they are, and not only for short ones.
func isLong() bool { return *duration >= 20*time.Minute }

func planFor(d time.Duration) plan {
	if !isLong() {
		return plan{
			kills: 3, killing: d / 5, weather: d / 2, least: time.Second, most: 4 * time.Second, inARow: 3, grace: 8 * time.Second, calm: 3 * time.Second,
			settling: d / 12, end: d / 10, sample: d / 60,
		}
	}
	return plan{
		kills: 12, killing: d / 6, weather: d * 7 / 10, least: 2 * time.Second, most: 35 * time.Second, inARow: 3, grace: 30 * time.Second, calm: 20 * time.Second,
		settling: 100 * time.Second, end: d / 20, sample: d / 120,
	}
}

func TestSoak(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d", *seed)
	binary := bezoar.Build(t)
	var mu sync.Mutex
	results := make(map[string]*result)
	var worlds = []struct {
		name string
		make func(*testing.T, bezoar.Binary) *world
	}{{"a directory", newDirectory}, {"a bucket", newBucket}}
	t.Run("over", func(t *testing.T) {
		for i, each := range worlds {
			t.Run(each.name, func(t *testing.T) {
				t.Parallel()
				w := each.make(t, binary)
				w.rand = rand.New(rand.NewPCG(*seed, uint64(i)))
				r := w.run(t, planFor(*duration))
				t.Log("\n" + r.String())
				mu.Lock()
				defer mu.Unlock()
				results[each.name] = r
			})
		}
	})
	if *write == "" || t.Failed() {
		return
	}
	var page strings.Builder
	fmt.Fprintf(&page, head, *duration, time.Now().Format("2 January 2006"), clients, *rate)
	for _, each := range worlds {
		fmt.Fprintf(&page, "\n## Over %s\n\n%s", each.name, results[each.name])
	}
	if err := os.WriteFile(*write, []byte(page.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// head is the head of the page.
const head = `# Soak

<!-- written by make soak -->

` + "`make soak`" + ` runs two servers for long while everything around them breaks in turn, and reads every body that they serve. A run of two minutes is among the tests.
This is one of %v, ended on %s, on a machine of 2 cores with other work beside it: %d clients at each server, which pause between requests, %v requests a second in all.
Some clients break off in the middle of a body.

What fails it: another answer than 200 or 404 to a GET, and 200, 403 or 409 to a PUT; a connection that is dropped, save by a server that is killed; a byte that nobody
uploaded; an answer that takes half a minute; an acknowledged entry that is not there when nothing is broken, or at the end, from another server over the same bucket; an upload that is
refused when nothing is broken; memory, descriptors or goroutines at the end, without load, above those near the start.
`
