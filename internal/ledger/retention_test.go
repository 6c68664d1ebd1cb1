package ledger

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/retention"
)

// known is what retention sees of a scope, by a query of everything, page by page.
func coldest(t *testing.T, l *Ledger, q retention.Query, page int) (all []retention.Entry) {
	t.Helper()
	q.Limit = page
	for {
		entries, err := l.Coldest(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, entries...); len(entries) < page {
			return all
		}
		q.After = &entries[page-1]
	}
}

func heldScopes(t *testing.T, l *Ledger, page int) (all []retention.Scope) {
	t.Helper()
	for after := int64(0); ; {
		scopes, err := l.Held(t.Context(), after, page)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, scopes...); len(scopes) < page {
			return all
		}
		after = scopes[page-1].ID
	}
}

func hashes(entries []retention.Entry) (all []cache.Hash) {
	for _, e := range entries {
		all = append(all, e.Key.Hash)
	}
	return all
}

func TestColdest(t *testing.T) { onEvery(t, testColdest) }

func testColdest(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	now := created.Add(100 * 24 * time.Hour).Truncate(time.Second)
	l.now = func() time.Time { return now }
	random := rand.New(rand.NewPCG(1, 2))
	all := newEntries(300)
	used := map[cache.Key]time.Time{}
	for i := range all {
		all[i].Record.Created = created.Add(time.Duration(random.IntN(50)) * time.Minute) // many at the same time
		used[all[i].Key] = now
	}
	record(t, l, all...)
	uses := map[cache.Key]time.Time{{Workspace: "web", Scope: "trusted", Hash: "unknown"}: now}
	for i := range all {
		if i%3 > 0 {
			uses[all[i].Key] = now.Add(time.Duration(2+random.IntN(5)) * time.Hour)
			used[all[i].Key] = uses[all[i].Key]
		}
	}
	if err := l.RecordUses(t.Context(), uses); err != nil {
		t.Fatal(err)
	}
	scopes := heldScopes(t, l, 1)
	var bytes, entries int64
	for _, s := range scopes {
		bytes, entries = bytes+s.Bytes, entries+s.Entries
		for _, before := range []time.Duration{0, 1, 4 * time.Hour, 100 * time.Hour} {
			byUse, byAge := now.Add(before), created.Add(before)
			var wantUse, wantAge []cache.Entry
			for _, e := range all {
				if e.Key.Scope == s.Scope && used[e.Key].Before(byUse.Truncate(time.Second)) {
					wantUse = append(wantUse, e)
				}
				if e.Key.Scope == s.Scope && e.Record.Created.Before(byAge) {
					wantAge = append(wantAge, e)
				}
			}
			slices.SortStableFunc(wantUse, func(a, b cache.Entry) int {
				return cmp.Or(used[a.Key].Compare(used[b.Key]), cmp.Compare(a.Record.Size, b.Record.Size))
			})
			slices.SortStableFunc(wantAge, func(a, b cache.Entry) int { return a.Record.Created.Compare(b.Record.Created) })
			for order, want := range map[retention.Order][]cache.Entry{retention.ByUse: wantUse, retention.ByAge: wantAge} {
				q := retention.Query{Scope: s.ID, Order: order, Before: map[retention.Order]time.Time{retention.ByUse: byUse, retention.ByAge: byAge}[order]}
				for _, page := range []int{3, 1000} {
					got := coldest(t, l, q, page)
					var hashesWanted []cache.Hash
					for _, e := range want {
						hashesWanted = append(hashesWanted, e.Key.Hash)
					}
					if diff := gocmp.Diff(hashesWanted, hashes(got)); diff != "" {
						t.Fatalf("order %d, before %v, pages of %d (-want +got):\n%s", order, before, page, diff)
					}
				}
			}
		}
		one := coldest(t, l, retention.Query{Scope: s.ID, Before: now.Add(1000 * time.Hour)}, 1000)[0]
		at := slices.IndexFunc(all, func(e cache.Entry) bool { return e.Key == one.Key })
		if r := all[at].Record; one.Size != r.Size || one.Seal != r.Seal || !one.Created.Equal(r.Created) || !one.Used.Equal(used[one.Key]) {
			t.Errorf("%+v is not %+v, used %v", one, r, used[one.Key])
		}
		single, err := l.HeldBy(t.Context(), s.Workspace, s.Scope)
		if err != nil || single != s {
			t.Errorf("%+v %v, want %+v", single, err, s)
		}
	}
	var want int64
	for _, e := range all {
		want += e.Record.Size
	}
	if bytes != want || entries != int64(len(all)) || len(scopes) < 2 {
		t.Errorf("%d scopes hold %d entries with %d bytes, want %d with %d", len(scopes), entries, bytes, len(all), want)
	}
	if _, err := l.HeldBy(t.Context(), "web", "pr/none"); !errors.Is(err, cache.ErrNotExist) {
		t.Error(err)
	}
}

// A use is written if it says something new, a clock that was wrong gives way, and what is recorded anew begins anew.
func TestRecordUses(t *testing.T) { onEvery(t, testRecordUses) }

func testRecordUses(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	now := created.Add(24 * time.Hour).Truncate(time.Second)
	l.now = func() time.Time { return now }
	e := newEntry(1)
	record(t, l, e)
	for _, c := range []struct{ at, want time.Duration }{
		{59 * time.Minute, 0}, {61 * time.Minute, 61 * time.Minute}, {90 * time.Minute, 61 * time.Minute}, {time.Minute, 61 * time.Minute},
		{1000 * time.Hour, 1000 * time.Hour}, {990 * time.Hour, 1000 * time.Hour}, {3 * time.Hour, 3 * time.Hour},
	} {
		if err := l.RecordUses(t.Context(), map[cache.Key]time.Time{e.Key: now.Add(c.at)}); err != nil {
			t.Fatal(err)
		}
		if got := coldest(t, l, retention.Query{Scope: heldScopes(t, l, 10)[0].ID, Before: now.Add(10_000 * time.Hour)}, 10)[0].Used; !got.Equal(now.Add(c.want)) {
			t.Errorf("used at %v: noted at %v, want %v", c.at, got.Sub(now), c.want)
		}
	}
	now = now.Add(2000 * time.Hour)
	before := coldest(t, l, retention.Query{Scope: heldScopes(t, l, 10)[0].ID, Before: now.Add(time.Hour)}, 10)[0]
	record(t, l, e)
	after := coldest(t, l, retention.Query{Scope: heldScopes(t, l, 10)[0].ID, Before: now.Add(time.Hour)}, 10)[0]
	if !after.Used.Equal(now) || after.ID == before.ID {
		t.Errorf("recorded anew: %+v, was %+v", after, before)
	}
	// What was chosen before is not what is there now.
	if err := l.ForgetByID(t.Context(), []int64{before.ID}); err != nil {
		t.Fatal(err)
	}
	wantKnown(t, l, e)
	if err := l.ForgetByID(t.Context(), []int64{after.ID, after.ID + 1}); err != nil {
		t.Fatal(err)
	}
	wantKnown(t, l)
	if scopes := heldScopes(t, l, 10); len(scopes) > 0 {
		t.Errorf("%+v", scopes)
	}
}

// An entry of a ledger from before uses were noted comes first, and nobody knows when it was used.
func TestUsesBeforeUses(t *testing.T) { onEvery(t, testUsesBeforeUses) }

func testUsesBeforeUses(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	l := db.open(t, dir)
	all := newEntries(3)
	record(t, l, all...)
	execute(t, db.raw(t, dir), `UPDATE entries SET used = 0 WHERE hash = '`+string(all[1].Key.Hash)+`'`)
	got := coldest(t, l, retention.Query{Scope: heldScopes(t, l, 10)[0].ID, Before: time.Now().Add(time.Hour)}, 2)
	if len(got) != 3 || got[0].Key != all[1].Key || !got[0].Used.IsZero() {
		t.Errorf("%+v", got)
	}
	if err := l.RecordUses(t.Context(), map[cache.Key]time.Time{all[1].Key: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if got := coldest(t, l, retention.Query{Scope: heldScopes(t, l, 10)[0].ID, Before: time.Now().Add(time.Hour)}, 2); got[0].Used.IsZero() {
		t.Error("its use is not noted")
	}
}

// Nothing is sorted, and no page costs more than it shows.
func TestRetentionPlans(t *testing.T) {
	l := openTest(t, t.TempDir())
	after := &retention.Entry{ID: 5, Size: 7, Used: created, Created: created}
	for _, c := range []struct {
		q    retention.Query
		want string
	}{
		{retention.Query{Scope: 1, Before: created, After: after, Limit: 10}, "SEARCH e USING INDEX entries_used (scope=? AND (used,size)>(?,?) AND used<?)"},
		{retention.Query{Scope: 1, Order: retention.ByAge, Before: created, After: after, Limit: 10}, "SEARCH e USING INDEX entries_scope (scope=? AND created>? AND created<?)"},
	} {
		query, args := coldestQuery(c.q)
		wantPlan(t, l, query, args, c.want)
	}
	wantPlan(t, l, heldQuery, []any{0, 10}, "SEARCH entries USING COVERING INDEX entries_used (scope>?)")
}

func wantPlan(t *testing.T, l *Ledger, query string, args []any, want string) {
	t.Helper()
	rows, err := l.db.QueryContext(context.Background(), `EXPLAIN QUERY PLAN `+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var a, b, c any
		var step string
		if err := rows.Scan(&a, &b, &c, &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
	}
	text := strings.Join(plan, "\n")
	if rows.Err() != nil || !slices.Contains(plan, want) || strings.Contains(text, "TEMP B-TREE FOR GROUP BY") {
		t.Errorf("%v, want %q in\n%s", rows.Err(), want, text)
	}
}
