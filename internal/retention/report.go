package retention

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Line is what goes, or went, from one scope for one reason.
type Line struct {
	Workspace cache.Workspace
	Scope     cache.Scope
	Reason    Reason
	Entries   int64
	Bytes     int64
}

// Report is what came of a look.
type Report struct {
	// Lines are by workspace, scope and reason.
	Lines []Line
	// Entries and Bytes are their sums.
	Entries, Bytes int64
	// Other counts entries that stayed because the store has another one under the key than the ledger knows, Failed those that could not be deleted.
	Other, Failed int64
	// Lacking is how many bytes the store is beyond the bound for the disk in the end.
	Lacking int64
	// AgesWait is until when no age is believed, because the clock or the ledger made a jump; zero: they are, or there is no bound for them.
	AgesWait time.Time
}

// tally gathers lines.
type tally struct {
	lines map[Line]*Line // by a line without its numbers
}

func (t *tally) add(key cache.Key, reason Reason, bytes int64) {
	if t.lines == nil {
		t.lines = make(map[Line]*Line)
	}
	id := Line{Workspace: key.Workspace, Scope: key.Scope, Reason: reason}
	line := t.lines[id]
	if line == nil {
		line = new(id)
		t.lines[id] = line
	}
	line.Entries++
	line.Bytes += bytes
}

func (t *tally) sorted() []Line {
	var lines []Line
	for _, line := range t.lines {
		lines = append(lines, *line)
	}
	slices.SortFunc(lines, func(a, b Line) int {
		return cmp.Or(strings.Compare(string(a.Workspace), string(b.Workspace)), strings.Compare(string(a.Scope), string(b.Scope)),
			cmp.Compare(slices.Index(Reasons[:], a.Reason), slices.Index(Reasons[:], b.Reason)))
	})
	return lines
}
