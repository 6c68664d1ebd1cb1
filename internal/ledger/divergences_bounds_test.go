package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
)

// flood records n divergences of a scope, under hashes that begin with a letter.
func flood(t *testing.T, l *Ledger, scope cache.Scope, letter string, n int) {
	t.Helper()
	var all []cache.Entry
	for i := range n {
		hash := fmt.Sprint(letter, i)
		all = append(all, held(scope, hash, "poison", "eve", "99"), held(cache.Trusted, hash, "genuine", "main", fmt.Sprint(i)))
	}
	record(t, l, all...)
}

// TestAFloodIsCounted: a scope cannot fill the table, nor hold up what others did, and nothing of it is lost without a number.
func TestAFloodIsCounted(t *testing.T) { onEvery(t, testAFloodIsCounted) }

func testAFloodIsCounted(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	db.hurry(t, l)
	l.divergences.scope = 5
	flood(t, l, "pr/1", "a", 12)
	flood(t, l, "pr/2", "b", 1)
	found, beyond := findAll(t, l, 6)
	if found != 6 || len(beyond) != 1 || beyond["pr/1"] != 7 {
		t.Errorf("found %d, beyond %v", found, beyond)
	}
	floods, err := l.DivergenceFloods(t.Context(), "web")
	if err != nil || len(floods) != 1 || floods[0].Count != 7 || floods[0].Scope != "pr/1" || floods[0].Last.IsZero() {
		t.Errorf("%+v %v", floods, err)
	}
	pending, err := l.PendingDivergences(t.Context(), 2)
	if err != nil || len(pending) != 2 || pending[0].Scope != "pr/1" || pending[1].Scope != "pr/2" {
		t.Errorf("the scopes do not take turns: %+v %v", pending, err)
	}
	// One that is settled as first still counts, one that recurs does not.
	for _, d := range divergencesOf(t, l, DivergenceFilter{Scope: "pr/1"}, 10) {
		settle(t, l, d.ID, "x")
	}
	flood(t, l, "pr/1", "c", 1)
	if found, beyond := findAll(t, l, 6); found != 0 || beyond["pr/1"] != 1 {
		t.Errorf("found %d, beyond %v", found, beyond)
	}
}

// TestWhatRecursMakesRoom: a scope that lives long, with a task that always differs, still has room for what is new.
func TestWhatRecursMakesRoom(t *testing.T) { onEvery(t, testWhatRecursMakesRoom) }

func testWhatRecursMakesRoom(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	db.hurry(t, l)
	l.divergences.scope, l.divergences.recurring = 5, 3
	for i := range 4 { // by others
		hash := fmt.Sprint("o", i)
		record(t, l, held(cache.Trusted, hash, "genuine", "main", hash), held("pr/1", hash, "other", "jo", hash))
	}
	flood(t, l, "dev/eve", "a", 12)
	last := divergence.Divergence{}
	for due(t, l) {
		findAll(t, l, 4)
		pending, err := l.PendingDivergences(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range pending {
			last = settle(t, l, d.ID, "x")
		}
	}
	if last.Level != divergence.Recurring {
		t.Fatalf("%+v", last)
	}
	if n := len(divergencesOf(t, l, DivergenceFilter{Scope: "dev/eve", Level: divergence.Recurring}, 100)); n != 3 {
		t.Errorf("%d that recur are kept", n)
	}
	before := last.Times
	flood(t, l, "dev/eve", "b", 1)
	if found, beyond := findAll(t, l, 4); found != 1 || len(beyond) != 0 {
		t.Errorf("found %d, beyond %v", found, beyond)
	}
	if last = settle(t, l, divergencesOf(t, l, DivergenceFilter{}, 1)[0].ID, "x"); last.Times != before+1 {
		t.Errorf("%d times, %d before: what is forgotten counts no more", last.Times, before)
	}
}

// TestAWorkspaceIsBounded: the scope that has most gives up its own.
func TestAWorkspaceIsBounded(t *testing.T) { onEvery(t, testAWorkspaceIsBounded) }

func testAWorkspaceIsBounded(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	db.hurry(t, l)
	l.divergences.workspace, l.divergences.floods = 8, 2
	flood(t, l, "pr/1", "a", 1)
	findAll(t, l, 100)
	victim := divergencesOf(t, l, DivergenceFilter{}, 1)[0]
	for n := 2; n < 6; n++ {
		flood(t, l, cache.Scope(fmt.Sprint("pr/", n)), fmt.Sprint("b", n, "-"), 6)
		findAll(t, l, 100)
	}
	all := divergencesOf(t, l, DivergenceFilter{}, 100)
	if len(all) != 8 || all[7].ID != victim.ID {
		t.Errorf("%d are kept, and the first is %+v", len(all), all[len(all)-1].Key(false))
	}
	floods, err := l.DivergenceFloods(t.Context(), "")
	if err != nil || len(floods) > 3 || len(floods) == 0 {
		t.Errorf("%+v %v", floods, err)
	}
}

func TestOldDivergencesAreForgotten(t *testing.T) { onEvery(t, testOldDivergencesAreForgotten) }

func testOldDivergencesAreForgotten(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	at := created
	l.now = func() time.Time { return at }
	flood(t, l, "pr/1", "a", 3)
	findAll(t, l, 100)
	at = at.Add(l.divergences.age + time.Hour)
	flood(t, l, "pr/2", "b", 1)
	findAll(t, l, 100)
	if all := divergencesOf(t, l, DivergenceFilter{}, 100); len(all) != 1 || all[0].Scope != "pr/2" {
		t.Errorf("%d are there", len(all))
	}
}

// TestAStepLooksAtItsEntries and at what is under their hashes, however many others there are.
func TestAStepLooksAtItsEntries(t *testing.T) {
	l := openTest(t, t.TempDir())
	rows, err := l.db.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+pairsQuery, 1, 0, 500, string(cache.Trusted), 100)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		t.Log(detail)
		if strings.HasPrefix(detail, "SCAN") {
			t.Errorf("it reads a whole table: %s", detail)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
