package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust"
)

// userVar makes the test binary use an id in the directory data many times at once, and tell how often it won.
const userVar = "LEDGER_TEST_USE"

const usesInAProcess = 10

func userProcess() error {
	l, err := OpenExisting(context.Background(), "data")
	if err != nil {
		return err
	}
	won, err := useAtOnce(context.Background(), l, usesInAProcess)
	_, printed := fmt.Fprintln(os.Stdout, won)
	return errors.Join(err, printed, l.Close())
}

// useAtOnce uses one id in n goroutines and counts those that got it.
func useAtOnce(ctx context.Context, l *Ledger, n int) (won int, err error) {
	var count atomic.Int32
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			switch e := l.UseOnce(ctx, "the one", time.Now().Add(time.Hour)); {
			case e == nil:
				count.Add(1)
			case !errors.Is(e, trust.ErrReplayed):
				mu.Lock()
				err = errors.Join(err, e)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return int(count.Load()), err
}

// However many come at once, through handles of one process and through processes: one wins.
func TestOneOfManyUsesAnID(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "data")
	openTest(t, dir)
	var total atomic.Int32
	start := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		l := openTest(t, dir)
		wg.Go(func() {
			<-start
			won, err := useAtOnce(t.Context(), l, usesInAProcess)
			if err != nil {
				t.Error(err)
			}
			total.Add(int32(won))
		})
	}
	for range 2 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Dir, cmd.Env = parent, append(os.Environ(), userVar+"=1")
		wg.Go(func() {
			<-start
			out, err := cmd.Output()
			switch text := strings.TrimSpace(string(out)); {
			case err != nil:
				t.Errorf("%v: %s", err, out)
			case text == "1":
				total.Add(1)
			case text != "0":
				t.Errorf("a process won %s times", text)
			}
		})
	}
	close(start)
	wg.Wait()
	if total.Load() != 1 {
		t.Fatalf("%d won", total.Load())
	}
}

func TestUseOnce(t *testing.T) { onEvery(t, testUseOnce) }

func testUseOnce(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	now := created
	l.now = func() time.Time { return now }
	before := version(t, l)
	for _, id := range []string{"a", "b", "", "A", "a ", strings.Repeat("x", 10_000)} {
		if err := l.UseOnce(t.Context(), id, now.Add(time.Hour)); err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		if err := l.UseOnce(t.Context(), id, now.Add(2*time.Hour)); !errors.Is(err, trust.ErrReplayed) {
			t.Fatalf("%q again: %v", id, err)
		}
	}
	// One that is over on arrival is taken once too.
	if err := l.UseOnce(t.Context(), "late", now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := l.UseOnce(t.Context(), "late", now.Add(-time.Hour)); !errors.Is(err, trust.ErrReplayed) {
		t.Fatalf("late again: %v", err)
	}
	if version(t, l) != before {
		t.Error("uses move the version, by which every server reads all tokens anew")
	}
}

func count(t *testing.T, l *Ledger) (n int) {
	t.Helper()
	if err := l.db.QueryRowContext(t.Context(), `SELECT count(*) FROM used_identities`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// What is over goes, a little with each that comes; what is not over stays, however much comes.
func TestUsesArePruned(t *testing.T) { onEvery(t, testUsesArePruned) }

func testUsesArePruned(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	now := created
	l.now = func() time.Time { return now }
	use := func(id string, kept time.Time) {
		t.Helper()
		if err := l.UseOnce(t.Context(), id, kept.Add(-pruneDelay)); err != nil {
			t.Fatal(err)
		}
	}
	const many = 40
	for i := range many {
		use(fmt.Sprint("short ", i), now.Add(time.Minute))
	}
	use("long", now.Add(time.Hour))
	now = now.Add(time.Minute)
	use("at the end", now.Add(time.Hour)) // kept is included
	if n := count(t, l); n != many+2 {
		t.Fatalf("%d are left", n)
	}
	now = now.Add(time.Millisecond)
	for i := range many/pruneStep + 1 {
		use(fmt.Sprint("next ", i), now.Add(time.Hour))
		if n, least := count(t, l), many+2+(i+1)*(1-pruneStep); n < least {
			t.Fatalf("%d are left where %d had to be: more than a small step", n, least)
		}
	}
	if n := count(t, l); n != 2+many/pruneStep+1 {
		t.Fatalf("%d are left", n)
	}
	for _, id := range []string{"long", "at the end", "next 0"} {
		if err := l.UseOnce(t.Context(), id, now.Add(time.Hour)); !errors.Is(err, trust.ErrReplayed) {
			t.Errorf("%s: %v", id, err)
		}
	}
	// In a long life the ledger holds what is not over, and no more than a step beyond that.
	for i := range 60 {
		now = now.Add(time.Second)
		use(fmt.Sprint("steady ", i), now.Add(10*time.Second))
	}
	if n := count(t, l); n > 2+many/pruneStep+1+10+pruneStep {
		t.Fatalf("%d are left", n)
	}
}

func TestAnIDLeavesNoTrace(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	if err := l.UseOnce(t.Context(), "https://issuer.example jti-4711-of-somebody", created); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(l.Place() + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "4711") {
			t.Errorf("%s%s holds it", FileName, suffix)
		}
	}
}

func TestUseOnceOfALockedLedger(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	execute(t, l.db, `PRAGMA busy_timeout = 0`)
	holder, err := raw(t, dir).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if _, err := holder.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	if err := l.UseOnce(t.Context(), "a", created); !errors.Is(err, ErrLocked) || errors.Is(err, trust.ErrReplayed) {
		t.Fatalf("got %v", err)
	}
	if _, err := holder.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if err := l.UseOnce(t.Context(), "a", created); err != nil {
		t.Fatalf("what failed before counts as used: %v", err)
	}
}
