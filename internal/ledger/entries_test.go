package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
)

// newEntry makes the n-th entry of a job, as a server of a middling company makes them: each run has two jobs of 40 tasks.
func newEntry(n int) cache.Entry {
	digest := func(what string) artifact.Digest { return sha256.Sum256(fmt.Append(nil, what, n)) }
	sha := digest("sha256")
	job, run := n/40, n/80
	scope, ref, event := cache.Trusted, "refs/heads/main", "push"
	if run%3 > 0 {
		pr := strconv.Itoa(1000 + run/5)
		scope, ref, event = cache.Scope("pr/"+pr), "refs/pull/"+pr+"/merge", "pull_request"
	}
	return cache.Entry{
		Key: cache.Key{Workspace: "web", Scope: scope, Hash: cache.Hash(strconv.FormatUint(binary.LittleEndian.Uint64(sha[:]), 10))},
		Record: cache.Record{
			Size: int64(200_000 + n), SHA256: sha, Content: digest("content"), Inflated: int64(900_000 + n), Members: 20 + n%100,
			Created: created.Add(time.Duration(n)*time.Second + 123_456_789),
			Producer: cache.Producer{
				Kind: "ci", Provider: "github", Issuer: "https://token.actions.githubusercontent.com", Subject: "repo:acme@123456/web@456789:ref:" + ref,
				Session: fmt.Sprintf("%032x", job), Repository: "acme/web", RepositoryID: "456789", OwnerID: "123456",
				Event: event, Ref: ref, Commit: fmt.Sprintf("%040x", run), RunID: strconv.Itoa(17_650_000_000 + run), RunAttempt: "1", Job: strconv.Itoa(48_213_570_000 + job),
				WorkflowRef: "acme/web/.github/workflows/ci.yml@" + ref, Actor: "mona", ActorID: "583231",
			},
			Seal: fmt.Sprintf("v1.224fc2afa3a0.%.43s", fmt.Sprintf("%x", sha)),
		},
	}
}

func newEntries(n int) []cache.Entry {
	entries := make([]cache.Entry, n)
	for i := range entries {
		entries[i] = newEntry(i)
	}
	return entries
}

func keysOf(entries []cache.Entry) []cache.Key {
	keys := make([]cache.Key, len(entries))
	for i := range entries {
		keys[i] = entries[i].Key
	}
	return keys
}

func record(t *testing.T, l *Ledger, entries ...cache.Entry) {
	t.Helper()
	if err := l.RecordEntries(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

// list returns all that a filter finds, in pages of a size.
func list(t *testing.T, l *Ledger, filter Filter, page int) (all []cache.Entry) {
	t.Helper()
	for after := Cursor(""); ; {
		entries, next, err := l.Entries(t.Context(), filter, after, page)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) > page {
			t.Fatalf("%d entries on a page of %d", len(entries), page)
		}
		if all = append(all, entries...); next == "" {
			return all
		}
		after = next
	}
}

// wantKnown fails unless the ledger knows exactly these, in any order.
func wantKnown(t *testing.T, l *Ledger, want ...cache.Entry) {
	t.Helper()
	got := list(t, l, Filter{}, 1000)
	byKey := func(a, b cache.Entry) int { return strings.Compare(a.Key.String(), b.Key.String()) }
	want = slices.SortedFunc(slices.Values(want), byKey)
	slices.SortFunc(got, byKey)
	if diff := cmp.Diff(want, got, cmp.Transformer("none", func(e []cache.Entry) []cache.Entry { return append([]cache.Entry{}, e...) })); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func counts(t *testing.T, l *Ledger) (scopes, producers int) {
	t.Helper()
	if err := l.db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM scopes), (SELECT count(*) FROM producers)`).Scan(&scopes, &producers); err != nil {
		t.Fatal(err)
	}
	return scopes, producers
}

func TestEntriesComeBackAsTheyWere(t *testing.T) { onEvery(t, testEntriesComeBackAsTheyWere) }

func testEntriesComeBackAsTheyWere(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	odd := cache.Entry{
		Key:    cache.Key{Workspace: "web", Scope: "branch/refs/heads/\xff'ü;--", Hash: "A_-z"},
		Record: cache.Record{Opaque: true, Created: created, Producer: cache.Producer{Kind: "token", TokenID: "0123456789ab", TokenName: "a\"b", Developer: "jo"}},
	}
	all := append(newEntries(3), odd, cache.Entry{
		Key: cache.Key{Workspace: "library", Scope: cache.Trusted, Hash: odd.Key.Hash}, Record: cache.Record{Created: created, Producer: cache.Producer{Kind: "anonymous"}},
	})
	before := version(t, l)
	record(t, l, all...)
	wantKnown(t, l, all...)
	if version(t, l) != before {
		t.Error("entries move the version, by which every server reads all tokens anew")
	}

	// Again, and with another record.
	all[0].Record.Producer.RunID, all[0].Record.Seal, all[3].Record.Size = "1", "v1.another", 7
	record(t, l, all[0], all[3])
	record(t, l, all...)
	wantKnown(t, l, all...)
	if err := l.RecordEntries(t.Context(), nil); err != nil {
		t.Fatal(err)
	}

	if err := l.ForgetEntries(t.Context(), []cache.Key{odd.Key, {Workspace: "web", Scope: cache.Trusted, Hash: "0"}, odd.Key}); err != nil {
		t.Fatal(err)
	}
	wantKnown(t, l, append(slices.Clone(all[:3]), all[4])...)
	if err := l.ForgetEntries(t.Context(), keysOf(all)); err != nil {
		t.Fatal(err)
	}
	wantKnown(t, l)
	if err := l.ForgetEntries(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

// What entries share goes with the last of them.
func TestEntriesThatTakeEachOthersPlace(t *testing.T) { onEvery(t, testEntriesThatTakeEachOthersPlace) }

// testEntriesThatTakeEachOthersPlace has keys more than once among what is recorded at once: the last of each counts.
func testEntriesThatTakeEachOthersPlace(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	entries := newEntries(3*entriesChunk + 7)
	var all []cache.Entry
	for i, e := range entries {
		if i%3 == 0 {
			earlier := e
			earlier.Record.Size++
			all = append(all, earlier)
			if i%2 == 0 {
				all = append(all, earlier)
			}
		}
		all = append(all, e)
	}
	record(t, l, all...)
	got := list(t, l, Filter{}, 1000)
	slices.Reverse(got)
	if diff := cmp.Diff(entries, got); diff != "" {
		t.Error(diff)
	}
}

func TestNothingUnusedIsKept(t *testing.T) { onEvery(t, testNothingUnusedIsKept) }

func testNothingUnusedIsKept(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	all := newEntries(160) // two runs of two jobs each, one in trusted, one of a pull request
	record(t, l, all...)
	if scopes, producers := counts(t, l); scopes != 2 || producers != 4 {
		t.Fatalf("%d scopes, %d producers", scopes, producers)
	}
	if err := l.ForgetEntries(t.Context(), keysOf(all[:119])); err != nil {
		t.Fatal(err)
	}
	if scopes, producers := counts(t, l); scopes != 1 || producers != 2 {
		t.Fatalf("%d scopes, %d producers", scopes, producers)
	}
	if err := l.ForgetEntries(t.Context(), keysOf(all)); err != nil {
		t.Fatal(err)
	}
	if scopes, producers := counts(t, l); scopes != 0 || producers != 0 {
		t.Fatalf("%d scopes, %d producers", scopes, producers)
	}
}

// Times that nanoseconds do not reach.
func TestTimesOutOfReach(t *testing.T) { onEvery(t, testTimesOutOfReach) }

func testTimesOutOfReach(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	for i, at := range []time.Time{{}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		e := newEntry(i)
		e.Record.Created = at
		record(t, l, e)
	}
	got := list(t, l, Filter{Until: time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)}, 10)
	if len(got) != 1 || got[0].Record.Created.Year() != 1970 {
		t.Fatal(got)
	}
	if got := list(t, l, Filter{Since: time.Time{}.Add(1)}, 10); len(got) != 2 {
		t.Fatal(got)
	}
}

func TestFilters(t *testing.T) { onEvery(t, testFilters) }

func testFilters(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	all := newEntries(200)
	byToken := newEntry(1000)
	byToken.Key.Workspace, byToken.Record.Producer = "library", cache.Producer{Kind: "token", TokenID: "0123456789ab", TokenName: "ci"}
	fork := newEntry(1001)
	fork.Record.Producer = cache.Producer{Kind: "ci", RepositoryID: "77", SourceID: "456789", RunID: all[0].Record.Producer.RunID, ActorID: "9", Ref: "refs/merge-requests/1/head"}
	elsewhere := fork
	elsewhere.Key.Scope = "run/1"
	all = append(all, byToken, fork, elsewhere)
	record(t, l, all...)
	run, pr := all[0].Record.Producer.RunID, all[199].Key.Scope
	for name, c := range map[string]struct {
		filter Filter
		match  func(e *cache.Entry) bool
	}{
		"all":                   {Filter{}, func(*cache.Entry) bool { return true }},
		"workspace":             {Filter{Workspace: "library"}, func(e *cache.Entry) bool { return e.Key.Workspace == "library" }},
		"scope":                 {Filter{Scope: pr}, func(e *cache.Entry) bool { return e.Key.Scope == pr }},
		"scope of a workspace":  {Filter{Workspace: "web", Scope: pr}, func(e *cache.Entry) bool { return e.Key.Scope == pr }},
		"scope of another":      {Filter{Workspace: "library", Scope: pr}, func(*cache.Entry) bool { return false }},
		"run":                   {Filter{Run: run}, func(e *cache.Entry) bool { return e.Record.Producer.RunID == run }},
		"run in a scope":        {Filter{Run: run, Workspace: "web", Scope: "trusted"}, func(e *cache.Entry) bool { return e.Record.Producer.RunID == run && e.Key.Scope == "trusted" }},
		"token":                 {Filter{Token: "0123456789ab"}, func(e *cache.Entry) bool { return e.Record.Producer.TokenID != "" }},
		"actor":                 {Filter{Actor: "9"}, func(e *cache.Entry) bool { return e.Record.Producer.ActorID == "9" }},
		"repository":            {Filter{Repository: "456789"}, func(e *cache.Entry) bool { return e.Record.Producer.Kind == "ci" }},
		"source":                {Filter{Repository: "77"}, func(e *cache.Entry) bool { return e.Record.Producer.SourceID != "" }},
		"ref":                   {Filter{Ref: "refs/heads/main"}, func(e *cache.Entry) bool { return e.Record.Producer.Ref == "refs/heads/main" }},
		"hash":                  {Filter{Hash: fork.Key.Hash}, func(e *cache.Entry) bool { return e.Key.Hash == fork.Key.Hash }},
		"hash and run and more": {Filter{Hash: all[0].Key.Hash, Run: run, Repository: "456789", Ref: "refs/heads/main", Workspace: "web"}, func(e *cache.Entry) bool { return e.Key.Hash == all[0].Key.Hash }},
		"since":                 {Filter{Since: all[100].Record.Created}, func(e *cache.Entry) bool { return !e.Record.Created.Before(all[100].Record.Created) }},
		"until":                 {Filter{Until: all[100].Record.Created}, func(e *cache.Entry) bool { return e.Record.Created.Before(all[100].Record.Created) }},
		"nobody":                {Filter{Run: "' OR 1=1 --"}, func(*cache.Entry) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			var want []cache.Entry
			for i := range all {
				if c.match(&all[i]) {
					want = append(want, all[i])
				}
			}
			// Newest first, and of the same instant whichever was recorded last.
			slices.SortStableFunc(want, func(a, b cache.Entry) int { return a.Record.Created.Compare(b.Record.Created) })
			slices.Reverse(want)
			for _, page := range []int{7, 1000} {
				if diff := cmp.Diff(want, list(t, l, c.filter, page)); diff != "" {
					t.Fatalf("pages of %d (-want +got):\n%s", page, diff)
				}
			}
		})
	}
}

// Between one page and the next, entries come and go; none that stays is left out or shown twice.
func TestPagesWhileEntriesChange(t *testing.T) { onEvery(t, testPagesWhileEntriesChange) }

func testPagesWhileEntriesChange(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	all := newEntries(60)
	for i := range all {
		all[i].Record.Created = created.Add(time.Duration(i/10) * time.Second) // ten at a time
	}
	record(t, l, all...)
	seen := make(map[cache.Key]int)
	after := Cursor("")
	for page := 0; ; page++ {
		entries, next, err := l.Entries(t.Context(), Filter{}, after, 7)
		if err != nil {
			t.Fatal(err)
		}
		for i := range entries {
			seen[entries[i].Key]++
		}
		if next == "" {
			break
		}
		after = next
		if err := l.ForgetEntries(t.Context(), keysOf(all[page:page+1])); err != nil {
			t.Fatal(err)
		}
		record(t, l, newEntry(1000+page))
	}
	for i := range all {
		if n := seen[all[i].Key]; n != 1 && (i >= 9 || n > 1) {
			t.Errorf("entry %d was shown %d times", i, n)
		}
	}
	for _, bad := range []Cursor{"x", "1", "1.", ".", "1.2.3", "1;1", "'"} {
		if _, _, err := l.Entries(t.Context(), Filter{}, bad, 7); !errors.Is(err, ErrCursor) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// How a question is answered must not grow with the number of entries where few fit it, nor sort many.
func TestPlans(t *testing.T) {
	l := openTest(t, t.TempDir())
	for _, c := range []struct {
		filter Filter
		want   string
		sorted bool
	}{
		{Filter{}, "SCAN e USING INDEX entries_created", false},
		{Filter{Workspace: "web"}, "SCAN e USING INDEX entries_created", false},
		{Filter{Workspace: "web", Scope: "pr/1"}, "SEARCH e USING INDEX entries_scope (scope=?)", false},
		{Filter{Repository: "1", Ref: "r"}, "SCAN e USING INDEX entries_created", false},
		{Filter{Since: created, Workspace: "web"}, "SEARCH e USING INDEX entries_created (created>?)", false},
		{Filter{Run: "1"}, "SEARCH e USING INDEX entries_producer (producer=?)", true},
		{Filter{Run: "1"}, "SEARCH producers USING INDEX producers_run (run_id=?)", true},
		{Filter{Token: "1", Since: created, Workspace: "web", Scope: "trusted"}, "SEARCH e USING INDEX entries_producer (producer=? AND created>?)", true},
		{Filter{Token: "1"}, "SEARCH producers USING INDEX producers_token (token_id=?)", true},
		{Filter{Actor: "1"}, "SEARCH producers USING INDEX producers_actor (actor_id=?)", true},
		{Filter{Hash: "1", Run: "1", Workspace: "web", Scope: "pr/1"}, "SEARCH e USING INDEX sqlite_autoindex_entries_1 (hash=?)", true},
	} {
		plan := planOf(t, l, &c.filter)
		text := strings.Join(plan, "\n")
		if !slices.Contains(plan, c.want) || strings.Contains(text, "TEMP B-TREE FOR ORDER BY") != c.sorted {
			t.Errorf("%+v: want %q in\n%s", c.filter, c.want, text)
		}
	}
}

// TestSealsArePlanned to be looked for by their hashes, whatever their scope has.
func TestSealsArePlanned(t *testing.T) {
	l := openTest(t, t.TempDir())
	rows, err := l.db.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+l.sealsQuery(2), "1", "2", 1)
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
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(plan, "SEARCH entries USING INDEX sqlite_autoindex_entries_1 (hash=?)") {
		t.Error(plan)
	}
}

func planOf(t *testing.T, l *Ledger, filter *Filter) (plan []string) {
	t.Helper()
	where, args := filter.where(l.statements())
	query := entriesQuery
	if len(where) > 0 {
		query += `WHERE ` + strings.Join(where, ` AND `)
	}
	rows, err := l.db.QueryContext(t.Context(), numbered(`EXPLAIN QUERY PLAN `+query+` ORDER BY e.created DESC, e.id DESC LIMIT 10`), args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var a, b, c any
		var step string
		if err := rows.Scan(&a, &b, &c, &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestEntriesOfALockedLedger(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	execute(t, l.db, `PRAGMA busy_timeout = 0`)
	record(t, l, newEntry(1))
	holder, err := raw(t, dir).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if _, err := holder.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	if err := l.RecordEntries(t.Context(), newEntries(1)); !errors.Is(err, ErrLocked) {
		t.Errorf("record: %v", err)
	}
	if err := l.ForgetEntries(t.Context(), keysOf(newEntries(1))); !errors.Is(err, ErrLocked) {
		t.Errorf("forget: %v", err)
	}
	wantKnown(t, l, newEntry(1)) // it can be read
}

// What is written to a file that lost its name, nobody sees.
func TestEntriesOfAReplacedLedger(t *testing.T) {
	l := openTest(t, t.TempDir())
	if err := os.Rename(l.Place(), filepath.Join(filepath.Dir(l.Place()), "other.db")); err != nil {
		t.Fatal(err)
	}
	if err := l.RecordEntries(t.Context(), newEntries(1)); !errors.Is(err, ErrReplaced) {
		t.Errorf("record: %v", err)
	}
	if err := l.ForgetEntries(t.Context(), keysOf(newEntries(1))); !errors.Is(err, ErrReplaced) {
		t.Errorf("forget: %v", err)
	}
}

// BenchmarkEntries tells what an entry takes: bytes in the file, and seconds.
func BenchmarkEntries(b *testing.B) {
	const many = 100_000
	all := newEntries(many)
	for b.Loop() {
		dir := b.TempDir()
		l, err := Open(b.Context(), dir)
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for batch := range slices.Chunk(all, 1000) {
			if err := l.RecordEntries(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(time.Since(began).Microseconds())/many, "µs/recorded")
		began = time.Now()
		listing := func(yield func(cache.Entry, error) bool) {
			for i := range all {
				if !yield(all[i], nil) {
					return
				}
			}
		}
		if got, err := l.Reconcile(context.Background(), listing, ReconcileOptions{}); err != nil || got.Listed != many || got.Added+got.Corrected+got.Forgotten > 0 {
			b.Fatal(got, err)
		}
		b.ReportMetric(float64(time.Since(began).Microseconds())/many, "µs/reconciled")
		began = time.Now()
		if got, _, err := l.Entries(b.Context(), Filter{Run: all[many/2].Record.Producer.RunID}, "", 1000); err != nil || len(got) != 80 {
			b.Fatal(len(got), err)
		}
		b.ReportMetric(float64(time.Since(began).Microseconds()), "µs/run")
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		info, err := os.Stat(l.Place())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/many, "bytes/entry")
	}
}

func TestSeals(t *testing.T) { onEvery(t, testSeals) }

func testSeals(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	all := newEntries(6 * sealsChunk)
	// One whose hash is in another scope, too, and one that is only there.
	for i, scope := range []cache.Scope{"run/1", "run/2"} {
		all[i].Key.Hash, all[i].Key.Scope = all[5*sealsChunk+i].Key.Hash, scope
	}
	known := all[:5*sealsChunk]
	record(t, l, known...)
	var got []cache.Entry
	if err := l.Seals(t.Context(), keysOf(all), func(e cache.Entry) { got = append(got, e) }); err != nil {
		t.Fatal(err)
	}
	var want []cache.Entry
	for _, e := range known {
		want = append(want, cache.Entry{Key: e.Key, Record: cache.Record{Seal: e.Record.Seal, Created: e.Record.Created}})
	}
	byKey := func(a, b cache.Entry) int { return strings.Compare(a.Key.String(), b.Key.String()) }
	slices.SortFunc(got, byKey)
	slices.SortFunc(want, byKey)
	if diff := cmp.Diff(want, got); diff != "" || want[0].Record.Seal == "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := l.Seals(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
}
