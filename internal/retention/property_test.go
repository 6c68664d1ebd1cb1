package retention_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/retention"
)

// action is one thing that happens; what it means depends on kind.
type action struct {
	kind string
	key  cache.Key
	size int64
	pass time.Duration
}

var scopes = []string{"trusted", "pr/1", "pr/2", "run/3"}

func actions(t *rapid.T) []action {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) action {
		return action{
			kind: rapid.SampledFrom([]string{"put", "put", "put", "read", "upload", "pass", "look"}).Draw(t, "kind"),
			key:  key(rapid.SampledFrom(scopes).Draw(t, "scope"), fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "hash"))),
			size: rapid.Int64Range(1, 100).Draw(t, "size"),
			pass: time.Duration(rapid.OneOf(rapid.IntRange(1, 90), rapid.IntRange(1, 40*60)).Draw(t, "minutes")) * time.Minute,
		}
	}), 1, 80).Draw(t, "actions")
}

// bounds draws limits; each may be none.
func bounds(t *rapid.T) (retention.Limits, retention.Disk) {
	bytes := func(name string) int64 { return rapid.SampledFrom([]int64{0, 1, 50, 150, 400}).Draw(t, name) }
	span := func(name string) time.Duration {
		return time.Duration(rapid.SampledFrom([]int{0, 1, 5, 24, 72}).Draw(t, name)) * time.Hour
	}
	return retention.Limits{
		Trusted:      retention.Ages{MaxAge: span("trusted age"), MaxUnused: span("trusted unused")},
		Others:       retention.Ages{MaxAge: span("age"), MaxUnused: span("unused")},
		TrustedBytes: bytes("trusted quota"), PerScope: bytes("per scope"), UntrustedTotal: bytes("untrusted total"),
	}, retention.Disk{MaxBytes: bytes("disk")}
}

// history is what a run of actions left behind.
type history struct {
	*world
	limits retention.Limits
	disk   retention.Disk
	used   map[cache.Key]time.Time // when an entry was really last used
	made   map[cache.Key]time.Time
	// uploads is what uploads to untrusted scopes hold that are under way.
	uploads int64
}

// onDisk gives the history a disk of that size, with so much room as there has to be.
func (h *history) onDisk(size, minFree int64) {
	h.disk.MinFree = minFree
	h.disk.Unfinished = func() (int64, error) { return h.uploads, nil }
	h.disk.Free = func() (int64, error) {
		free := size - h.uploads
		for _, e := range h.entries {
			free -= e.Size
		}
		return free, nil
	}
}

func newHistory(t testingT, limits retention.Limits, disk retention.Disk) *history {
	h := &history{world: begun(t), limits: limits, disk: disk, used: map[cache.Key]time.Time{}, made: map[cache.Key]time.Time{}}
	h.pass(t, 10*day) // uses count for longer than any bound
	return h
}

func (h *history) do(t testingT, a action) {
	switch a.kind {
	case "put":
		if h.put(a.key, a.size) {
			h.used[a.key], h.made[a.key] = h.now, h.now
		}
	case "read":
		if h.has(a.key) {
			h.read(a.key)
			h.used[a.key] = h.now
		}
	case "upload":
		if a.key.Scope != cache.Trusted {
			h.uploads = 10 * a.size
		}
	case "pass":
		h.pass(t, a.pass)
	case "look":
		before := maps.Clone(h.stored)
		report := h.look(t, h.limits, h.disk)
		h.wantSpared(t, before)
		h.wantBounds(t, report)
	}
}

func (h *history) ages(k cache.Key) retention.Ages {
	if k.Scope == cache.Trusted {
		return h.limits.Trusted
	}
	return h.limits.Others
}

// wantSpared: nothing is lost that was just used, or that no bound speaks of.
func (h *history) wantSpared(t testingT, before map[cache.Key]string) {
	t.Helper()
	bounded := h.disk.MaxBytes > 0 || h.disk.MinFree > 0
	for k := range before {
		if h.has(k) {
			continue
		}
		ages, most := h.ages(k), h.limits.PerScope+h.limits.UntrustedTotal
		if k.Scope == cache.Trusted {
			most = h.limits.TrustedBytes
		}
		old := ages.MaxAge > 0 && h.now.Sub(h.made[k]) > ages.MaxAge
		unused := ages.MaxUnused > 0 && h.now.Sub(h.used[k]) > ages.MaxUnused
		tooMuch := (most > 0 || bounded) && h.now.Sub(h.used[k]) > retention.Spare
		if !old && !unused && !tooMuch {
			t.Fatalf("%q was lost: made %v ago, used %v ago, with %+v %+v", k, h.now.Sub(h.made[k]), h.now.Sub(h.used[k]), h.limits, h.disk)
		}
	}
}

// wantBounds: they hold, but for what is spared.
func (h *history) wantBounds(t testingT, report retention.Report) {
	t.Helper()
	spared := func(e retention.Entry) bool {
		return !e.Used.Before(h.now.Add(-retention.Spare - retention.Granularity))
	}
	sums, cold, total := map[cache.Scope]int64{}, map[cache.Scope]int64{}, int64(0)
	for _, e := range h.entries {
		ages := h.ages(e.Key)
		if ages.MaxAge > 0 && h.now.Sub(e.Created) > ages.MaxAge {
			t.Fatalf("%q is %v old and stayed", e.Key, h.now.Sub(e.Created))
		}
		if ages.MaxUnused > 0 && h.now.Sub(e.Used) > ages.MaxUnused+retention.Granularity+time.Second {
			t.Fatalf("%q is unused for %v and stayed", e.Key, h.now.Sub(e.Used))
		}
		sums[e.Key.Scope] += e.Size
		if !spared(e) {
			cold[e.Key.Scope] += e.Size
		}
		if e.Key.Scope != cache.Trusted {
			total += e.Size
		}
	}
	for scope, sum := range sums {
		most := h.limits.PerScope
		if scope == cache.Trusted {
			most = h.limits.TrustedBytes
		}
		if most > 0 && sum > most && cold[scope] > 0 {
			t.Fatalf("the scope %s holds %d of %d, and %d of it could have gone", scope, sum, most, cold[scope])
		}
	}
	// The largest scope pays first, and nobody for what is spared in another one: so the largest has nothing left to pay with.
	if most := h.limits.UntrustedTotal; most > 0 && total > most {
		h.wantLargestSpent(t, sums, cold)
	}
	if most := h.disk.MaxBytes; most > 0 && sums[cache.Trusted] > most && cold[cache.Trusted] > 0 && report.Lacking == 0 {
		t.Fatalf("the trusted scope holds %d, the disk %d", sums[cache.Trusted], most)
	}
}

func (h *history) wantLargestSpent(t testingT, sums, cold map[cache.Scope]int64) {
	t.Helper()
	var largest cache.Scope
	for scope, sum := range sums {
		if scope != cache.Trusted && (largest == "" || sum > sums[largest]) {
			largest = scope
		}
	}
	if sums[largest] > 0 && cold[largest] == sums[largest] {
		t.Fatalf("%s holds the most, %d, all of it cold, and the untrusted scopes too much: %v", largest, sums[largest], sums)
	}
}

func TestBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits, disk := bounds(t)
		h := newHistory(t, limits, disk)
		for _, a := range append(actions(t), action{kind: "look"}) {
			h.do(t, a)
		}
	})
}

// TestNonInterference: whatever happens in untrusted scopes, the trusted one holds the same; and what happens in the trusted one changes nothing for those, but for the
// disk that all share.
func TestNonInterference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits, disk := bounds(t)
		with, without := newHistory(t, limits, disk), newHistory(t, limits, disk)
		if size := rapid.SampledFrom([]int64{0, 200, 1000}).Draw(t, "size of the disk"); size > 0 {
			with.onDisk(size, 50)
			without.onDisk(size, 50)
		}
		for _, a := range append(actions(t), action{kind: "look"}) {
			with.do(t, a)
			if a.kind == "pass" || a.kind == "look" || a.key.Scope == cache.Trusted {
				without.do(t, a)
			}
			if with.left("trusted") != without.left("trusted") {
				t.Fatalf("after %+v the trusted scope holds %q, and %q without the others", a, with.left("trusted"), without.left("trusted"))
			}
		}
	})
}

// TestScopesStandAlone: without a bound that several share, no scope feels another one.
func TestScopesStandAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits, _ := bounds(t)
		limits.UntrustedTotal = 0
		all, alone := newHistory(t, limits, retention.Disk{}), newHistory(t, limits, retention.Disk{})
		for _, a := range append(actions(t), action{kind: "look"}) {
			all.do(t, a)
			if a.kind == "pass" || a.kind == "look" || a.key.Scope == "pr/1" {
				alone.do(t, a)
			}
		}
		if all.left("pr/1") != alone.left("pr/1") {
			t.Fatalf("pr/1 holds %q, and %q alone", all.left("pr/1"), alone.left("pr/1"))
		}
	})
}
