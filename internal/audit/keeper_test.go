package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// keep runs a keeper until the test's end, and returns it with the log.
func keep(t *testing.T, chain Chain, opts KeeperOptions) (*Keeper, *bytes.Buffer, context.CancelFunc) {
	t.Helper()
	var log bytes.Buffer
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	k := NewKeeper(chain, opts)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	return k, &log, func() { cancel(); <-done }
}

func grow(t *testing.T, chain Chain, n int) {
	t.Helper()
	var events []Event
	for i := range n {
		action := Uploaded
		if i == 0 {
			action = ServerStarted
		}
		events = append(events, Event{Time: time.Now(), Action: action, Subject: fmt.Sprint(i)})
	}
	if _, err := chain.AppendAudit(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

func testKeys(letters string) (keys []Key) {
	for _, l := range letters {
		keys = append(keys, NewKey(strings.Repeat(string(l), 12), []byte(strings.Repeat(string(l), 32))))
	}
	return keys
}

// TestSealing: a chain is sealed at the start, whenever something came, and by one of two servers; each seal is in the log.
func TestSealing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := &fakeChain{}
		keys := testKeys("a")
		grow(t, chain, 3)
		k, log, stop := keep(t, chain, KeeperOptions{Keys: keys})
		synctest.Wait()
		if len(chain.seals) != 1 || !strings.Contains(log.String(), chain.rows[2].Hash.String()) {
			t.Fatalf("%d seals\n%s", len(chain.seals), log)
		}
		pass(time.Second)
		_, _, stopOther := keep(t, chain, KeeperOptions{Keys: keys})
		for range 3 {
			grow(t, chain, 2500) // more than a page
			pass(DefaultSealEvery)
		}
		pass(time.Hour)
		if n := len(chain.seals); n != 4 {
			t.Errorf("%d seals", n)
		}
		stop()
		stopOther()
		grow(t, chain, 1)
		if err := k.Seal(t.Context()); err != nil {
			t.Error(err)
		}
		report, err := chain.verify(t, PublicKeys(keys))
		if err != nil || report.LastSeal.Seq != 7504 || report.Rows != 7504 || report.Seals != 5 {
			t.Errorf("%v %+v", err, report)
		}
	})
}

// TestAKeeperSeesWhatIsDoneBehindItsBack: also if the seals are removed or fit.
func TestAKeeperSeesWhatIsDoneBehindItsBack(t *testing.T) {
	for name, c := range map[string]struct {
		tamper func(chain *fakeChain)
		kind   BreakKind
	}{
		"a new row is changed":         {func(chain *fakeChain) { chain.rows[12].Subject = "x" }, Changed},
		"a new row is removed":         {func(chain *fakeChain) { chain.rows = append(chain.rows[:12:12], chain.rows[13:]...) }, Missing},
		"cut off":                      {func(chain *fakeChain) { chain.rows = chain.rows[:5] }, Truncated},
		"cut off, seals and all":       {func(chain *fakeChain) { chain.rows, chain.seals = chain.rows[:5], nil }, Truncated},
		"made anew, without seals":     {func(chain *fakeChain) { chain.rechain(3); chain.seals = nil }, Rewritten},
		"trimmed by nobody":            {func(chain *fakeChain) { chain.rows = chain.rows[12:] }, Missing},
		"trimmed by somebody":          {func(chain *fakeChain) { chain.forge(SealAnchor, 12); chain.rows = chain.rows[12:] }, Missing},
		"a seal that nobody here made": {func(chain *fakeChain) { chain.forge(SealHead, 14) }, Forged},
		"all is gone":                  {func(chain *fakeChain) { chain.rows, chain.seals = nil, nil }, Truncated},
		"a seal of more than there is": {func(chain *fakeChain) {
			chain.seals = append(chain.seals, testKeys("a")[0].Sign(SealHead, Head{Seq: 99}, testTime))
		}, Truncated},
	} {
		synctest.Test(t, func(t *testing.T) {
			chain := &fakeChain{}
			grow(t, chain, 10)
			k, log, stop := keep(t, chain, KeeperOptions{Keys: testKeys("a")})
			synctest.Wait()
			if err := k.Degraded(); err != nil {
				t.Fatal(err)
			}
			grow(t, chain, 10)
			chain.mu.Lock()
			c.tamper(chain)
			seals := len(chain.seals)
			chain.mu.Unlock()
			pass(DefaultSealEvery)
			b, ok := errors.AsType[*Break](k.Degraded())
			if !ok || b.Kind != c.kind {
				t.Errorf("%s: %v, want %s", name, k.Degraded(), c.kind)
			}
			pass(10 * DefaultSealEvery)
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 || len(chain.seals) != seals {
				t.Errorf("%s: %d alarms, %d seals", name, n, len(chain.seals)-seals)
			}
			stop()
		})
	}
}

// rechain makes all rows anew from one on.
func (c *fakeChain) rechain(from int) {
	for i := from; i < len(c.rows); i++ {
		c.rows[i].Subject = "forged"
		c.rows[i].Hash = c.rows[i].after(c.rows[i-1].Hash)
	}
}

// forge puts a seal in that somebody else made.
func (c *fakeChain) forge(kind SealKind, seq int64) {
	c.seals = append(c.seals, NewKey(testKeys("a")[0].ID, []byte(strings.Repeat("z", 32))).Sign(kind, c.rows[seq-1].Head(), testTime))
}

// TestTrimming: what is old goes, what is left verifies, and that it went is on record.
func TestTrimming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := &fakeChain{}
		keys := testKeys("a")
		_, _, stop := keep(t, chain, KeeperOptions{Keys: keys, Keep: 24 * time.Hour, Replica: "one"})
		for range 100 {
			grow(t, chain, 100)
			pass(time.Hour)
		}
		stop()
		report, err := chain.verify(t, PublicKeys(keys))
		if err != nil || report.First < 7000 || report.First > 7700 {
			t.Errorf("%v %+v", err, report)
		}
		trimmed := 0
		for _, r := range chain.rows {
			if r.Action == Trimmed {
				trimmed++
			}
		}
		if trimmed == 0 {
			t.Error("it is not on record")
		}

		// With another key file nothing is known of the anchor, and with a new active key it is signed anew.
		if _, err := chain.verify(t, PublicKeys(testKeys("b"))); err == nil {
			t.Error("an anchor of nobody is taken")
		}
		if err := NewKeeper(chain, KeeperOptions{Keys: testKeys("ba")}).Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		k := NewKeeper(chain, KeeperOptions{Keys: testKeys("ba")})
		k.head = Head{} // as at a start before which all seals of heads are gone
		if err := k.verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := chain.verify(t, PublicKeys(testKeys("b"))); err != nil {
			t.Errorf("after the rotation: %v", err)
		}
	})
}

// TestAKeeperWaitsForTheLedger: trouble shows and goes, soon after it is over.
func TestAKeeperWaitsForTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := &fakeChain{}
		grow(t, chain, 1)
		chain.set(errors.New("locked"), false)
		k, _, stop := keep(t, chain, KeeperOptions{Keys: testKeys("a")})
		pass(time.Second)
		if err := k.Degraded(); err == nil || !strings.Contains(err.Error(), "locked") {
			t.Error(err)
		}
		chain.set(nil, false)
		pass(lookAgain)
		if err := k.Degraded(); err != nil || len(chain.seals) != 1 {
			t.Errorf("%v, %d seals", err, len(chain.seals))
		}
		stop()
	})
}

// TestAKeeperTellsOfALedgerThatHangs: a look that comes to no end in its time is trouble, too.
func TestAKeeperTellsOfALedgerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := &fakeChain{}
		grow(t, chain, 1)
		chain.set(nil, true)
		k, _, stop := keep(t, chain, KeeperOptions{Keys: testKeys("a")})
		pass(roundTimeout + time.Second)
		if err := k.Degraded(); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		chain.set(nil, false)
		pass(roundTimeout + lookAgain)
		if err := k.Degraded(); err != nil || len(chain.seals) != 1 {
			t.Errorf("%v, %d seals", err, len(chain.seals))
		}
		stop()
	})
}
