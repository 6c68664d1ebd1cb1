package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// listing yields entries as a store does, and runs a step before each of them, if it is there.
func listing(entries []cache.Entry, before map[int]func()) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		for i := range len(entries) + 1 {
			if step := before[i]; step != nil {
				step()
			}
			if i < len(entries) && !yield(entries[i], nil) {
				return
			}
		}
	}
}

func reconcile(t *testing.T, l *Ledger, seq iter.Seq2[cache.Entry, error], options ReconcileOptions, want Reconciled) {
	t.Helper()
	got, err := l.Reconcile(t.Context(), seq, options)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func TestReconcile(t *testing.T) { onEvery(t, testReconcile) }

func testReconcile(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	const many = reconcileBatch + 100
	all := newEntries(many)
	known := slices.Clone(all[:many-50]) // 50 are not known, 3 known wrongly, 20 gone
	known[1].Record.Producer.RunID = "666"
	known[reconcileBatch].Record.Seal = ""
	known[reconcileBatch+1].Record.Created = known[reconcileBatch+1].Record.Created.Add(1)
	for i := range 20 {
		known = append(known, newEntry(many+1000+i))
	}
	record(t, l, known...)

	want := Reconciled{Listed: many, Added: 50, Corrected: 3, Forgotten: 20}
	reconcile(t, l, listing(all, nil), ReconcileOptions{DryRun: true}, want)
	wantKnown(t, l, known...)
	reconcile(t, l, listing(all, nil), ReconcileOptions{}, want)
	wantKnown(t, l, all...)
	if scopes, producers := counts(t, l); scopes != scopesOf(all) || producers != (many+39)/40 {
		t.Errorf("%d scopes, %d producers", scopes, producers)
	}
	reconcile(t, l, listing(all, nil), ReconcileOptions{}, Reconciled{Listed: many})
	reconcile(t, l, listing(nil, nil), ReconcileOptions{}, Reconciled{Forgotten: many})
	wantKnown(t, l)
	reconcile(t, l, listing(all, nil), ReconcileOptions{}, Reconciled{Listed: many, Added: many})
	wantKnown(t, l, all...)
}

func scopesOf(entries []cache.Entry) int {
	scopes := make(map[cache.Scope]bool)
	for i := range entries {
		scopes[entries[i].Key.Scope] = true
	}
	return len(scopes)
}

// What a server records while the listing goes on counts more than the listing.
func TestReconcileWhileServersWork(t *testing.T) { onEvery(t, testReconcileWhileServersWork) }

func testReconcileWhileServersWork(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	l, server := db.open(t, dir), db.open(t, dir)
	const many = 2 * reconcileBatch
	all := newEntries(many)
	record(t, l, all...)
	unlisted, replaced, again := newEntry(many+1), all[3], all[4]
	replaced.Record.Producer.RunID = "999"
	forgotten := all[many-1]
	after := all[:many-1]
	reconcile(t, l, listing(all[:many-2], map[int]func(){
		// The first batch is not written yet.
		10:             func() { record(t, server, unlisted, replaced) },
		reconcileBatch: func() { record(t, server, again) },
		many - 10:      func() { record(t, server, after[many-2]) }, // it is not in the listing
		many - 2 - 1:   func() { record(t, server, unlisted) },
		len(all[:many]) - 2: func() {
			if err := server.ForgetEntries(t.Context(), []cache.Key{forgotten.Key}); err != nil {
				t.Error(err)
			}
		},
	}), ReconcileOptions{}, Reconciled{Listed: many - 2})
	want := append(slices.Clone(all[:many-1]), unlisted)
	want[3] = replaced
	wantKnown(t, l, want...)
}

// What cannot be read is not gone.
func TestReconcileWithErrors(t *testing.T) { onEvery(t, testReconcileWithErrors) }

func testReconcileWithErrors(t *testing.T, db testDatabase) {
	trouble := errors.New("input/output error")
	for name, c := range map[string]struct {
		key     cache.Key
		err     error
		want    Reconciled
		end     error
		forgets bool
	}{
		"a part of the store": {cache.Key{}, trouble, Reconciled{Listed: 1, Errors: 1}, ErrIncomplete, false},
		"a damaged entry":     {cache.Key{}, fmt.Errorf("x: %w", cache.ErrDamaged), Reconciled{Listed: 1, Errors: 1, Forgotten: 2}, nil, true},
		"a seal":              {newEntry(1).Key, errors.New("its seal is broken"), Reconciled{Listed: 1, Unfit: 1, Forgotten: 1}, nil, false},
		"an unknown entry":    {newEntry(9).Key, errors.New("its seal is broken"), Reconciled{Listed: 1, Unfit: 1, Forgotten: 2}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := db.open(t, t.TempDir())
			record(t, l, newEntries(3)...)
			var reported []error
			seq := func(yield func(cache.Entry, error) bool) {
				_ = yield(cache.Entry{Key: c.key, Record: newEntry(77).Record}, c.err) && yield(newEntry(0), nil)
			}
			got, err := l.Reconcile(t.Context(), seq, ReconcileOptions{Report: func(key cache.Key, err error) {
				if key != c.key {
					t.Errorf("reported of %q", key)
				}
				reported = append(reported, err)
			}})
			if !errors.Is(err, c.end) || c.end != nil && !errors.Is(err, trouble) {
				t.Errorf("ended with %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(reported) != 1 || !errors.Is(reported[0], c.err) {
				t.Errorf("reported %v", reported)
			}
			known := list(t, l, Filter{}, 10)
			if kept := slices.ContainsFunc(known, func(e cache.Entry) bool { return e.Key == newEntry(1).Key && e.Record.Seal == newEntry(1).Record.Seal }); kept == c.forgets {
				t.Errorf("the entry is kept: %v", kept)
			}
		})
	}
}

func TestReconcileBrokenOff(t *testing.T) { onEvery(t, testReconcileBrokenOff) }

func testReconcileBrokenOff(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	all := newEntries(2 * reconcileBatch)
	record(t, l, all...)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := l.Reconcile(ctx, listing(all[:reconcileBatch], map[int]func(){5: cancel}), ReconcileOptions{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	// A listing that its context ended without a word.
	ctx, cancel = context.WithCancel(t.Context())
	if _, err := l.Reconcile(ctx, listing(all[:1], map[int]func(){1: cancel}), ReconcileOptions{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	wantKnown(t, l, all...)
}

// Whatever happened before, the ledger has afterwards what the store has.
func TestReconcileAlwaysAgrees(t *testing.T) { onEvery(t, testReconcileAlwaysAgrees) }

func testReconcileAlwaysAgrees(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	db.hurry(t, l)
	rapid.Check(t, func(rt *rapid.T) {
		if _, err := l.Reconcile(t.Context(), listing(nil, nil), ReconcileOptions{}); err != nil {
			rt.Fatal(err)
		}
		stored := make(map[int]cache.Entry)
		entry := func() (int, cache.Entry) {
			n := rapid.IntRange(0, 7).Draw(rt, "entry")
			e := newEntry(n * 20)
			e.Record.Producer.RunID = rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "run")
			return n, e
		}
		for range rapid.IntRange(0, 20).Draw(rt, "steps") {
			n, e := entry()
			var err error
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0: // stored and recorded
				stored[n] = e
				err = l.RecordEntries(t.Context(), []cache.Entry{e})
			case 1: // stored alone
				stored[n] = e
			case 2: // forgotten alone
				err = l.ForgetEntries(t.Context(), []cache.Key{e.Key})
			case 3: // deleted alone
				delete(stored, n)
			case 4:
				var all []cache.Entry
				for _, e := range stored {
					all = append(all, e)
				}
				_, err = l.Reconcile(t.Context(), listing(all, nil), ReconcileOptions{})
				if err == nil {
					known, _, errList := l.Entries(t.Context(), Filter{}, "", 100)
					err = errList
					if len(known) != len(all) {
						rt.Fatalf("%d known, %d stored", len(known), len(all))
					}
					for _, e := range all {
						if !slices.Contains(known, e) {
							rt.Fatalf("%+v is not known", e)
						}
					}
				}
			}
			if err != nil {
				rt.Fatal(err)
			}
		}
	})
}

func TestBits(t *testing.T) {
	var b bits
	set := []int64{1, 63, 64, bitsBlock - 1, bitsBlock, 10*bitsBlock + 65, 1 << 60}
	for _, n := range set {
		if b.has(n) {
			t.Errorf("%d was there", n)
		}
		b.set(n)
	}
	for _, n := range set {
		if !b.has(n) || slices.Contains(set, n+1) != b.has(n+1) {
			t.Errorf("%d: %v, the next: %v", n, b.has(n), b.has(n+1))
		}
	}
}
