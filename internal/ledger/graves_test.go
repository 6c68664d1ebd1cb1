package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// grave is a row as Buried tells it.
type grave struct {
	ID [16]byte
	At time.Time
}

func graveID(trusted bool, n int) [16]byte {
	id := [16]byte{14: byte(n >> 8), 15: byte(n)}
	if trusted {
		id[0] = 0x80
	}
	return id
}

func buried(t *testing.T, l *Ledger, after int64, limit int) (all []grave, last int64) {
	t.Helper()
	last, err := l.Buried(t.Context(), after, limit, func(id [16]byte, at time.Time) { all = append(all, grave{id, at.UTC()}) })
	if err != nil {
		t.Fatal(err)
	}
	return all, last
}

func mustBury(t *testing.T, l *Ledger, at time.Time, forget [2]time.Time, ids ...[16]byte) {
	t.Helper()
	if err := l.Bury(t.Context(), ids, at, forget); err != nil {
		t.Fatal(err)
	}
}

func TestGravesComeBackInSteps(t *testing.T) { onEvery(t, testGravesComeBackInSteps) }

func testGravesComeBackInSteps(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	l, other := db.open(t, dir), db.open(t, dir)
	before := version(t, l)
	if all, last := buried(t, l, 0, 10); len(all) != 0 || last != 0 {
		t.Fatal(all, last)
	}
	at := created.Add(456 * time.Microsecond)
	mustBury(t, l, at, [2]time.Time{}, graveID(true, 1), graveID(false, 2))
	mustBury(t, other, at.Add(time.Second), [2]time.Time{}, graveID(true, 3))
	mustBury(t, l, at, [2]time.Time{})
	want := []grave{{graveID(true, 1), created}, {graveID(false, 2), created}, {graveID(true, 3), created.Add(time.Second)}}
	all, last := buried(t, l, 0, 10)
	if diff := cmp.Diff(want, all); diff != "" {
		t.Fatal(diff)
	}
	first, mark := buried(t, other, 0, 2)
	rest, end := buried(t, other, mark, 2)
	if diff := cmp.Diff(want, append(first, rest...)); diff != "" || end != last {
		t.Fatal(diff, end, last)
	}
	if more, mark := buried(t, l, last, 2); len(more) != 0 || mark != last {
		t.Fatal(more, mark)
	}
	// The same once more is a row more, for who has it already, and does no harm.
	mustBury(t, l, at, [2]time.Time{}, graveID(true, 1))
	if more, _ := buried(t, l, last, 2); len(more) != 1 || more[0].ID != graveID(true, 1) {
		t.Fatal(more)
	}
	if version(t, l) != before {
		t.Error("graves move the version, by which every server reads all tokens anew")
	}
}

// TestManyAreBuried in more than one transaction.
func TestManyAreBuried(t *testing.T) { onEvery(t, testManyAreBuried) }

func testManyAreBuried(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	ids := make([][16]byte, 2*buryStep+1)
	for i := range ids {
		ids[i] = graveID(i%2 == 0, i)
	}
	mustBury(t, l, created, [2]time.Time{}, ids...)
	all, last := buried(t, l, 0, len(ids)+1)
	if len(all) != len(ids) || last != int64(len(ids)) {
		t.Fatalf("%d are buried, the last has the number %d", len(all), last)
	}
	for i, g := range all {
		if g.ID != ids[i] {
			t.Fatalf("number %d is %x", i, g.ID)
		}
	}
}

// TestGravesAreForgotten by kind, a few with each that comes, and their numbers are not given again.
func TestGravesAreForgotten(t *testing.T) { onEvery(t, testGravesAreForgotten) }

func testGravesAreForgotten(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	const many = 40
	for i := range many {
		mustBury(t, l, created.Add(time.Duration(i)*time.Second), [2]time.Time{}, graveID(false, i), graveID(true, i))
	}
	_, last := buried(t, l, 0, 1000)
	forget := [2]time.Time{created.Add(many * time.Second)}
	left := func() (n [2]int) {
		all, _ := buried(t, l, 0, 1000)
		for _, g := range all {
			n[g.ID[0]>>7]++
		}
		return n
	}
	for i := 1; left()[0] > 0; i++ {
		was := left()
		mustBury(t, l, created.Add(time.Hour), forget, graveID(true, many+i))
		now := left()
		if now[1] != was[1]+1 {
			t.Fatalf("trusted graves: %d after %d", now[1], was[1])
		}
		if gone := was[0] - now[0]; gone < min(1, was[0]) || gone > 1+pruneStep {
			t.Fatalf("%d went at once", gone)
		}
	}
	// Exactly the time stays.
	forget = [2]time.Time{1: created.Add(3 * time.Second)}
	mustBury(t, l, created.Add(time.Hour), forget, graveID(false, 1))
	if all, _ := buried(t, l, 0, 1); len(all) != 1 || all[0].ID != graveID(true, 3) {
		t.Errorf("the oldest is %v", all)
	}
	execute(t, l.db, `DELETE FROM buried`)
	mustBury(t, l, created, [2]time.Time{}, graveID(true, 1))
	if all, now := buried(t, l, last, 10); len(all) != 1 || now <= last {
		t.Errorf("after all were forgotten: %v, number %d after %d", all, now, last)
	}
}

func TestGravesAtOnce(t *testing.T) { onEvery(t, testGravesAtOnce) }

func testGravesAtOnce(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	const servers, each = 4, 25
	var wg sync.WaitGroup
	for server := range servers {
		l := db.open(t, dir)
		wg.Go(func() {
			for i := range each {
				if err := l.Bury(t.Context(), [][16]byte{graveID(true, server*each+i)}, created, [2]time.Time{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := make(map[[16]byte]bool)
	l, mark := db.open(t, dir), int64(0)
	look := func() (more bool) {
		last, err := l.Buried(t.Context(), mark, 3, func(id [16]byte, _ time.Time) { seen[id] = true })
		if err != nil {
			t.Error(err)
		}
		more, mark = last > mark, last
		return more
	}
	for len(seen) < servers*each/2 && !t.Failed() {
		look()
	}
	wg.Wait()
	for look() {
	}
	if len(seen) != servers*each {
		t.Errorf("who looks meanwhile sees %d of %d", len(seen), servers*each)
	}
}

func TestGravesOfALostLedger(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	if err := os.Rename(l.Place(), filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	if err := l.Bury(t.Context(), [][16]byte{{}}, created, [2]time.Time{}); !errors.Is(err, ErrReplaced) {
		t.Errorf("bury: got %v", err)
	}
	if _, err := l.Buried(t.Context(), 0, 1, nil); !errors.Is(err, ErrReplaced) {
		t.Errorf("buried: got %v", err)
	}
}

func BenchmarkBuried(b *testing.B) {
	l, err := Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	const graves = 1_000_000
	ids := make([][16]byte, graves)
	for i := range ids {
		copy(ids[i][:], fmt.Sprintf("%016d", i*7_919))
	}
	start := time.Now()
	for step := range 100 {
		part := ids[step*graves/100 : (step+1)*graves/100]
		if err := l.Bury(b.Context(), part, created, [2]time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%d were buried in %v", graves, time.Since(start))
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			n, mark := 0, int64(0)
			for last := int64(-1); last != mark; {
				last = mark
				if mark, err = l.Buried(b.Context(), mark, 10_000, func([16]byte, time.Time) { n++ }); err != nil {
					b.Fatal(err)
				}
			}
			if n != graves {
				b.Fatal(n)
			}
		}
	})
	b.Run("nothing new", func(b *testing.B) {
		for b.Loop() {
			if _, err := l.Buried(b.Context(), graves, 10_000, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bury one", func(b *testing.B) {
		for b.Loop() {
			if err := l.Bury(b.Context(), ids[:1], created, [2]time.Time{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
