//go:build e2e

package faults_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// TestSomeFaults does a few cells of the matrix, so that it stays honest between its runs.
func TestSomeFaults(t *testing.T) {
	binary := bezoar.Build(t)
	withClock := sync.OnceValue(func() bezoar.Binary { return clocked(t, binary) })
	for on, names := range map[shelf][]string{
		onDisk: {
			"disk full/during upload", "ledger locked (SQLite)/before the answer, a miss", "server killed (-9), restarted at once/during upload",
			"server killed (-9), restarted after 3 s/as the build begins",
		},
		s3:         {"bucket answers 503/mid-body", "bucket resets/before the answer, a hit", "way to the bucket refuses/between builds"},
		s3WithTier: {"bucket sends half bodies/mid-body", "bucket answers garbage/before the answer, a hit"},
	} {
		var cells []cell
		for _, name := range names {
			all := matrix(on)
			i := slices.IndexFunc(all, func(c cell) bool { return c.cause.name+"/"+string(c.moment) == name })
			if i < 0 {
				t.Fatalf("there is no cell %q", name)
			}
			cells = append(cells, all[i])
		}
		play(t, newHouse(t, on, binary, withClock), cells, func(result) {})
	}
}
