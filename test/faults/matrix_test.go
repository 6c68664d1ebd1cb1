//go:build faults || e2e

package faults_test

import (
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/test/nx"
)

// cellsOf makes the cells of causes. Releases take turns, so that each meets each moment and, over all shelves, each cause.
func cellsOf(causes []cause, turn int) []cell {
	releases := []string{nx.Versions()[0], nx.Versions()[len(nx.Versions())-1]}
	var cells []cell
	for i, c := range causes {
		moments := c.moments
		if moments == nil {
			moments = allMoments
		}
		for j, m := range moments {
			cells = append(cells, cell{c, m, releases[(i+j+turn)%len(releases)]})
		}
	}
	return cells
}

// few are the causes at those of their moments alone.
func few(causes []cause, moments ...moment) []cause {
	for i, c := range causes {
		causes[i].moments = slices.DeleteFunc(slices.Clone(moments), func(m moment) bool { return c.moments != nil && !slices.Contains(c.moments, m) })
	}
	return causes
}

// matrix is all cells of a shelf, those of one kind of server together.
func matrix(on shelf) []cell {
	var cells []cell
	if on == onDisk {
		cells = slices.Concat(cellsOf(diskCauses(), 0), cellsOf(ledgerCauses(), 0), cellsOf(postgresCauses(), 0), cellsOf(issuerCauses(), 0),
			cellsOf(processCauses(), 0), cellsOf(descriptorCauses(), 0), cellsOf(clockCauses(), 0), cellsOf(overloadCauses(), 0), cellsOf(goneCauses(), 0))
	} else {
		// What does not concern the bucket is tried at fewer moments than on a disk.
		turn := map[shelf]int{s3: 0, s3WithTier: 1}[on]
		cells = cellsOf(slices.Concat(bucketCauses(), hugeCauses(),
			few(diskCauses(), beforeMiss, beforeHit, midUpload),
			few(ledgerCauses()[:1], beforeMiss, midUpload),
			few(processCauses()[:3], midUpload, between),
			few(descriptorCauses()[:1], beforeHit, midUpload),
			few(clockCauses()[:2], beforeMiss, beforeHit),
			few(overloadCauses()[1:], beforeMiss, midUpload)), turn)
	}
	slices.SortStableFunc(cells, func(a, b cell) int {
		if a.kind != b.kind {
			return strings.Compare(string(a.kind), string(b.kind))
		}
		switch { // what spoils a server comes last
		case a.spoils == b.spoils:
			return 0
		case a.spoils:
			return 1
		}
		return -1
	})
	return cells
}
