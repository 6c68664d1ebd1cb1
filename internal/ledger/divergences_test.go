package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
)

// held makes an entry with a content, made by an actor in a run.
func held(scope cache.Scope, hash, content, actor, run string) cache.Entry {
	return cache.Entry{
		Key: cache.Key{Workspace: "web", Scope: scope, Hash: cache.Hash(hash)},
		Record: cache.Record{
			Size: 1, SHA256: sha256.Sum256([]byte(string(scope) + content)), Content: sha256.Sum256([]byte(content)), Created: created,
			Producer: cache.Producer{Kind: "ci", ActorID: actor, RunID: run},
		},
	}
}

// findAll looks until there is nothing left to look at, in steps of so many entries.
func findAll(t *testing.T, l *Ledger, step int) (found int, beyond map[cache.Scope]int) {
	t.Helper()
	beyond = map[cache.Scope]int{}
	for {
		f, err := l.FindDivergences(t.Context(), step)
		if err != nil {
			t.Fatal(err)
		}
		found += f.New
		for _, b := range f.Beyond {
			beyond[b.Scope] += b.Count
		}
		if !f.More {
			return found, beyond
		}
	}
}

func divergencesOf(t *testing.T, l *Ledger, filter DivergenceFilter, page int) (all []divergence.Divergence) {
	t.Helper()
	for after := Cursor(""); ; {
		some, next, err := l.Divergences(t.Context(), filter, after, page)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, some...); next == "" {
			return all
		}
		after = next
	}
}

func due(t *testing.T, l *Ledger) bool {
	t.Helper()
	d, err := l.DivergencesDue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func settle(t *testing.T, l *Ledger, id int64, signature string) divergence.Divergence {
	t.Helper()
	c := divergence.Comparison{State: divergence.Compared, Members: []divergence.Member{}, Differing: 1}
	if signature == "" {
		c.State = divergence.Gone
	} else {
		c.Signature = sha256.Sum256([]byte(signature))
	}
	d, settled, err := l.SettleDivergence(t.Context(), id, c)
	if err != nil || !settled {
		t.Fatal(settled, err)
	}
	return d
}

func TestDivergencesAreFoundOnce(t *testing.T) { onEvery(t, testDivergencesAreFoundOnce) }

func testDivergencesAreFoundOnce(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	l := db.open(t, dir)
	if due(t, l) {
		t.Error("something is due in an empty ledger")
	}
	main := held(cache.Trusted, "1", "genuine", "1", "10")
	odd := held("branch/refs/heads/\xff'ü", "1", "poison", "2", "20")
	early := held("pr/1", "2", "poison", "2", "21")
	elsewhere := held("pr/1", "1", "poison", "2", "22")
	elsewhere.Key.Workspace = "library"
	opaque, opaqueSame := held("pr/1", "3", "", "2", "23"), held("pr/2", "3", "", "2", "24")
	mainOpaque := held(cache.Trusted, "3", "", "1", "11")
	opaque.Record.Opaque, opaqueSame.Record.Opaque, mainOpaque.Record.Opaque = true, true, true
	opaqueSame.Record.SHA256 = mainOpaque.Record.SHA256
	record(t, l, main, odd, elsewhere, held("pr/9", "1", "genuine", "2", "25"), // after main's
		early, held("pr/1", "7", "alone", "2", "26"), held("pr/2", "7", "other", "2", "27"), // before main's, and without it
		held(cache.Trusted, "2", "genuine", "1", "10"),
		opaque, opaqueSame, mainOpaque)
	if !due(t, l) {
		t.Error("nothing is due though entries were recorded")
	}
	if found, _ := findAll(t, l, 3); found != 3 {
		t.Errorf("found %d", found)
	}
	got := divergencesOf(t, l, DivergenceFilter{}, 2)
	keys := []string{}
	for i := range got {
		keys = append(keys, got[i].Key(false).String())
		if got[i].Level != divergence.Pending || got[i].Found.IsZero() {
			t.Errorf("%+v", got[i])
		}
	}
	want := []string{opaque.Key.String(), early.Key.String(), odd.Key.String()}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Fatal(diff)
	}
	first := got[2]
	if diff := cmp.Diff([]cache.Record{main.Record, odd.Record}, []cache.Record{first.Trusted, first.Other}); diff != "" {
		t.Error(diff)
	}
	for id := range slices.Values([]int64{got[0].ID, got[1].ID, got[2].ID}) {
		settle(t, l, id, "")
	}
	if due(t, l) {
		t.Error("something is due after all was looked at and settled")
	}

	// The same entries again, as when they are noted anew; in another process.
	other := db.open(t, dir)
	record(t, other, main, odd)
	if found, _ := findAll(t, other, 100); found != 0 {
		t.Errorf("%d were found again", found)
	}
	// Deleted and made again, it is another attempt.
	if err := l.ForgetEntries(t.Context(), []cache.Key{odd.Key}); err != nil {
		t.Fatal(err)
	}
	odd.Record.Created = created.Add(time.Hour)
	record(t, l, odd)
	if found, _ := findAll(t, l, 100); found != 1 {
		t.Errorf("%d were found after it was made again", found)
	}
	if d, err := l.Divergence(t.Context(), first.ID); err != nil || d.Comparison.State != divergence.Gone || d.Level != divergence.First {
		t.Errorf("%+v %v", d, err)
	}
	if _, err := l.Divergence(t.Context(), 1<<40); !errors.Is(err, ErrNoDivergence) {
		t.Error(err)
	}
}

func TestDivergenceFilters(t *testing.T) { onEvery(t, testDivergenceFilters) }

func testDivergenceFilters(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	at := created
	l.now = func() time.Time { return at }
	for i, hash := range []string{"1", "2", "3"} {
		at = created.Add(time.Duration(i) * time.Hour)
		record(t, l, held(cache.Trusted, hash, "genuine", "1", "10"), held(cache.Scope("pr/"+hash), hash, "poison", "2", "20"))
		findAll(t, l, 10)
	}
	settle(t, l, divergencesOf(t, l, DivergenceFilter{Hash: "3"}, 10)[0].ID, "x")
	for _, c := range []struct {
		filter DivergenceFilter
		want   string
	}{
		{DivergenceFilter{}, "3 2 1"},
		{DivergenceFilter{Workspace: "web"}, "3 2 1"},
		{DivergenceFilter{Workspace: "docs"}, ""},
		{DivergenceFilter{Scope: "pr/2"}, "2"},
		{DivergenceFilter{Level: divergence.First}, "3"},
		{DivergenceFilter{Level: divergence.Pending, Workspace: "web"}, "2 1"},
		{DivergenceFilter{Since: created.Add(time.Hour)}, "3 2"},
		{DivergenceFilter{Until: created.Add(time.Hour)}, "1"},
	} {
		got := ""
		for _, d := range divergencesOf(t, l, c.filter, 1) {
			got += " " + string(d.Hash)
		}
		if want := " " + c.want; got != want && got != c.want {
			t.Errorf("%+v: %q, want %q", c.filter, got, want)
		}
	}
	if _, _, err := l.Divergences(t.Context(), DivergenceFilter{}, "no", 1); !errors.Is(err, ErrCursor) {
		t.Error(err)
	}
}

// TestDivergencesAgainstAModel: whatever is recorded and in whatever order, with looks in between by any of several servers, each pair that differs is found once.
func TestDivergencesAgainstAModel(t *testing.T) { onEvery(t, testDivergencesAgainstAModel) }

func testDivergencesAgainstAModel(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	servers := []*Ledger{db.open(t, dir), db.open(t, dir)}
	for _, l := range servers {
		db.hurry(t, l)
		l.divergences.scope, l.divergences.step = 1000, 3
	}
	random := rand.New(rand.NewPCG(1, 2))
	scopes := []cache.Scope{cache.Trusted, "pr/1", "pr/2", "dev/jo"}
	known := map[cache.Key]cache.Entry{}
	want := map[artifact.Digest]bool{}
	total := 0
	for range 150 {
		l := servers[random.IntN(2)]
		switch random.IntN(4) {
		case 0:
			found, _ := findAll(t, l, 1+random.IntN(4))
			total += found
		default:
			e := held(scopes[random.IntN(4)], strconv.Itoa(random.IntN(6)), strconv.Itoa(random.IntN(2)), "1", "1")
			e.Record.Created = created.Add(time.Duration(random.IntN(3)) * time.Second)
			known[e.Key] = e
			record(t, l, e)
			// What differs from what is there is found at the next look; looks come before anything takes its place.
			found, _ := findAll(t, l, 2)
			total += found
		}
		for _, trusted := range known {
			for _, other := range known {
				if trusted.Key.Scope == cache.Trusted && other.Key.Scope != cache.Trusted && trusted.Key.Hash == other.Key.Hash && divergence.Differ(&trusted.Record, &other.Record) {
					d := divergence.Divergence{Workspace: "web", Hash: other.Key.Hash, Scope: other.Key.Scope, Trusted: trusted.Record, Other: other.Record}
					want[d.Pair()] = true
				}
			}
		}
	}
	got := map[artifact.Digest]bool{}
	for _, d := range divergencesOf(t, servers[0], DivergenceFilter{}, 7) {
		got[d.Pair()] = true
	}
	if diff := cmp.Diff(want, got); diff != "" || total != len(want) || len(want) < 10 {
		t.Errorf("%d were found, %d are to be found\n%s", total, len(want), diff)
	}
}

// TestManyUnderOneHash: a step ends also in the middle of what one entry differs from.
func TestManyUnderOneHash(t *testing.T) { onEvery(t, testManyUnderOneHash) }

func testManyUnderOneHash(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	l.divergences.step = 4
	var all []cache.Entry
	for n := range 10 {
		all = append(all, held(cache.Scope(fmt.Sprint("pr/", n)), "1", "poison", "2", "20"))
	}
	record(t, l, append(all, held(cache.Trusted, "1", "genuine", "1", "10"))...)
	if found, _ := findAll(t, l, 500); found != 10 {
		t.Errorf("found %d", found)
	}
	if found := len(divergencesOf(t, l, DivergenceFilter{}, 100)); found != 10 {
		t.Errorf("%d are there", found)
	}
}

// TestRecurring: what recurs is what others than the maker made, under several hashes, against several runs of main.
func TestRecurring(t *testing.T) { onEvery(t, testRecurring) }

func testRecurring(t *testing.T, db testDatabase) {
	type past struct{ hash, actor, run, signature string }
	honest := []past{{"1", "jo", "10", "x"}, {"2", "kim", "11", "x"}, {"3", "jo", "12", "x"}}
	for _, c := range []struct {
		name  string
		past  []past
		actor string
		want  divergence.Level
		times int
	}{
		{"nothing before", nil, "eve", divergence.First, 1},
		{"twice before", honest[:2], "eve", divergence.First, 3},
		{"others did", honest, "eve", divergence.Recurring, 4},
		{"its maker did", []past{{"1", "eve", "10", "x"}, {"2", "eve", "11", "x"}, {"3", "eve", "12", "x"}, {"4", "eve", "13", "x"}}, "eve", divergence.First, 5},
		{"its maker and others, not enough", append([]past{{"4", "eve", "13", "x"}, {"5", "eve", "14", "x"}}, honest[:2]...), "eve", divergence.First, 5},
		{"one run of main", []past{{"1", "jo", "10", "x"}, {"2", "jo", "10", "x"}, {"3", "jo", "10", "x"}}, "eve", divergence.First, 4},
		{"other members", []past{{"1", "jo", "10", "x"}, {"2", "jo", "11", "y"}, {"3", "jo", "12", "y"}}, "eve", divergence.First, 2},
		{"one hash in many scopes", []past{{"1", "jo", "10", "x"}, {"1", "jo", "10", "x"}, {"1", "kim", "10", "x"}, {"2", "jo", "11", "x"}}, "eve", divergence.First, 3},
		{"members are not known", []past{{"1", "jo", "10", ""}, {"2", "jo", "11", ""}, {"3", "jo", "12", ""}}, "eve", divergence.First, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := db.open(t, t.TempDir())
			made := 0
			upload := func(p past) divergence.Divergence {
				made++
				scope := cache.Scope(fmt.Sprint("pr/", made))
				record(t, l, held(cache.Trusted, p.hash, "genuine", "main", p.run), held(scope, p.hash, "poison", p.actor, "99"))
				findAll(t, l, 10)
				return settle(t, l, divergencesOf(t, l, DivergenceFilter{Scope: scope}, 1)[0].ID, p.signature)
			}
			for _, p := range c.past {
				upload(p)
			}
			got := upload(past{"77", c.actor, "77", "x"})
			again, err := l.Divergence(t.Context(), got.ID)
			if diff := cmp.Diff(got, again); diff != "" || err != nil {
				t.Error(diff, err)
			}
			if got.Level != c.want || got.Times != c.times {
				t.Errorf("%s, %d times, want %s, %d", got.Level, got.Times, c.want, c.times)
			}
			if got = upload(past{"88", c.actor, "88", ""}); got.Level != divergence.First || got.Times != 0 {
				t.Errorf("with members that are not known: %s, %d times", got.Level, got.Times)
			}
		})
	}
}
