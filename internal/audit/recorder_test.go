package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// fakeChain is a chain in memory that fails or hangs if told to.
type fakeChain struct {
	mu    sync.Mutex
	rows  []Row
	seals []Seal
	err   error
	hang  bool // until the context ends
}

func (c *fakeChain) set(err error, hang bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.hang = err, hang
}

func (c *fakeChain) trouble(ctx context.Context) error {
	c.mu.Lock()
	hang, err := c.hang, c.err
	c.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (c *fakeChain) head() Head {
	if len(c.rows) > 0 {
		return c.rows[len(c.rows)-1].Head()
	}
	for _, s := range c.seals {
		return s.Head
	}
	return Head{}
}

func (c *fakeChain) AppendAudit(ctx context.Context, events []Event) (Head, error) {
	if err := c.trouble(ctx); err != nil {
		return Head{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		c.rows = append(c.rows, c.head().Append(e))
	}
	return c.head(), nil
}

func (c *fakeChain) AuditChain(ctx context.Context, after int64, limit int) (rows []Row, seals []Seal, err error) {
	if err := c.trouble(ctx); err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rows {
		if r.Seq > after && len(rows) < limit {
			rows = append(rows, r)
		}
	}
	for _, s := range c.seals {
		if s.Seq > after && (len(rows) < limit || s.Seq <= rows[limit-1].Seq) {
			seals = append(seals, s)
		}
	}
	return rows, seals, nil
}

func (c *fakeChain) AddAuditSeal(ctx context.Context, s Seal) error {
	if err := c.trouble(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seals = slices.DeleteFunc(c.seals, func(o Seal) bool { return o.Kind == s.Kind && o.Seq == s.Seq })
	c.seals = append(c.seals, s)
	slices.SortFunc(c.seals, func(a, b Seal) int { return int(a.Seq - b.Seq) })
	return nil
}

func (c *fakeChain) LastAuditSeal(ctx context.Context, kind SealKind) (last Seal, has bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.seals {
		if s.Kind == kind {
			last, has = s, true
		}
	}
	return last, has, nil
}

func (c *fakeChain) TrimAudit(ctx context.Context, before time.Time, limit int, sign func(Head) Seal) (Head, int64, error) {
	last, _, _ := c.LastAuditSeal(ctx, SealHead)
	c.mu.Lock()
	defer c.mu.Unlock()
	var n int
	for n < limit && n < len(c.rows) && c.rows[n].Time.Before(before) && c.rows[n].Seq < last.Seq {
		n++
	}
	if n == 0 {
		return Head{}, 0, nil
	}
	anchor := c.rows[n-1].Head()
	c.rows = c.rows[n:]
	c.seals = slices.DeleteFunc(c.seals, func(s Seal) bool { return s.Seq <= anchor.Seq })
	c.seals = append([]Seal{sign(anchor)}, c.seals...)
	return anchor, int64(n), nil
}

// told returns the action and the subject of each row.
func (c *fakeChain) told() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rows {
		all = append(all, strings.TrimSpace(string(r.Action)+" "+r.Subject))
	}
	return all
}

func (c *fakeChain) verify(t *testing.T, keys Keys) (Report, error) {
	t.Helper()
	v := NewVerifier(keys, nil)
	if err := Read(t.Context(), c, 0, v); err != nil {
		t.Fatal(err)
	}
	return v.End()
}

func details(t *testing.T, r Row) map[string]any {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal([]byte(r.Details), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// pass lets that much time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func upload(n int) Event { return Event{Action: Uploaded, Subject: fmt.Sprint(n)} }

func TestEventsAreWrittenInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := &fakeChain{}
		r := Start(chain, Options{Replica: "one", Batch: 10})
		for i := range 25 {
			r.Note(upload(i))
		}
		pass(time.Second)
		if got := chain.told(); len(got) != 25 || got[0] != "upload 0" || got[24] != "upload 24" {
			t.Errorf("%q", got)
		}
		r.Note(upload(25))
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := chain.told(); len(got) != 26 {
			t.Errorf("after the end: %q", got)
		}
		if _, err := chain.verify(t, nil); err != nil {
			t.Error(err)
		}
		if row := chain.rows[0]; row.Replica != "one" || row.Time.IsZero() {
			t.Errorf("%+v", row)
		}
	})
}

// TestOutage: while the ledger is down nobody waits, what there is no room for is counted, and the count is on record when it is back.
func TestOutage(t *testing.T) {
	for _, hang := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			reg := prometheus.NewRegistry()
			chain := &fakeChain{}
			r := Start(chain, Options{Queue: 20, Batch: 10, Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: reg})
			r.Note(upload(0))
			pass(time.Second)
			chain.set(errors.New("no such table"), hang)
			began := time.Now()
			for i := 1; i <= 100; i++ {
				r.Note(upload(i)) // the clock stands still in here: nothing waits
			}
			if time.Since(began) != 0 {
				t.Error("somebody waited")
			}
			first := time.Now()
			pass(time.Minute)
			if r.Degraded() == nil {
				t.Error("nothing shows")
			}
			for i := range 100 {
				r.Note(upload(101 + i))
			}
			last := time.Now()
			pass(time.Minute)
			chain.set(nil, false)
			pass(time.Minute)
			if err := r.Degraded(); err != nil {
				t.Error(err)
			}
			got := chain.told()
			kept := 0
			var lost []Row
			for i, s := range got {
				if strings.HasPrefix(s, "upload ") {
					kept++
				} else {
					lost = append(lost, chain.rows[i])
				}
			}
			if len(lost) != 1 || lost[0].Action != Lost {
				t.Fatalf("%q", got)
			}
			d := details(t, lost[0])
			if n := int(d["events"].(float64)); n+kept != 201 || n < 100 || d["from"] != first.UTC().Format(timeLayout) || d["to"] != last.UTC().Format(timeLayout) {
				t.Errorf("%d are kept, and lost are %v", kept, d)
			}
			if n := strings.Count(log.String(), "cannot be written"); n != 1 {
				t.Errorf("the log speaks of it %d times:\n%s", n, &log)
			}
			if err := r.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if err := testutil.GatherAndCompare(reg, strings.NewReader(fmt.Sprintf(`
# HELP bezoar_audit_events_total Events of the audit log by what became of them: written, or lost because too many waited or the server ended.
# TYPE bezoar_audit_events_total counter
bezoar_audit_events_total{result="lost"} %d
bezoar_audit_events_total{result="written"} %d
`, 201-kept, len(got))), EventsName); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTheEndInAnOutage: what a server could not write when it ended is in its log, with how much and from when.
func TestTheEndInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		chain := &fakeChain{}
		chain.set(errors.New("no such table"), false)
		r := Start(chain, Options{Queue: 4, Batch: 2, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for i := range 10 {
			r.Note(upload(i))
		}
		r.Deny(Event{Action: Denied, Subject: "revoked"})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := r.Close(ctx)
		// A kind of denials is one event that is lost; those who come later are told apart from those who were in time.
		if err == nil || !strings.Contains(err.Error(), " events from 2000-01-01T00:00:00Z to 2000-01-01T00:00:00Z") || !strings.Contains(err.Error(), "no such table") {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("%s", &log)
		}
		r.Note(upload(10))
		if err := r.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "1 events") {
			t.Errorf("after the end: %v", err)
		}
	})
}

// TestDenialsAreCounted: a flood is one row for each identity, cause and minute, and pushes nothing else out.
func TestDenialsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := &fakeChain{}
		r := Start(chain, Options{Queue: 10})
		run := func(id string) Actor { return ActorOf(cache.Producer{Kind: "ci", RunID: id}) }
		for i := range 5000 {
			r.Deny(Event{Action: Denied, Subject: "unknown_credential", Actor: Actor{Kind: KindUnknown}, Details: Details{"remote": fmt.Sprint("10.0.0.", i%250)}})
		}
		pass(30 * time.Second)
		r.Deny(Event{Action: Denied, Subject: "not_allowed", Actor: run("1")})
		r.Deny(Event{Action: Denied, Subject: "not_allowed", Actor: run("2")})
		r.Deny(Event{Action: Denied, Subject: "unknown_credential", Actor: Actor{Kind: KindUnknown}})
		r.Note(upload(1))
		pass(2 * time.Minute)
		r.Deny(Event{Action: Denied, Subject: "not_allowed", Actor: run("1")})
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
		var got []string
		for _, row := range chain.rows {
			a, err := row.ReadActor()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(row.Action, row.Subject, a.RunID, details(t, row)))
		}
		want := []string{
			"upload1map[]",
			"deniedunknown_credentialmap[count:5001 last:2000-01-01T00:00:30.000Z remote:10.0.0.0]",
			"deniednot_allowed1map[count:1]", "deniednot_allowed2map[count:1]", "deniednot_allowed1map[count:1]",
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("got\n%q, want\n%q", got, want)
		}
	})
}

// TestManyIdentitiesAreCountedTogether: no number of identities takes more than so much memory and so many rows.
func TestManyIdentitiesAreCountedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := &fakeChain{}
		r := Start(chain, Options{})
		const n = 3 * maxDenials
		for i := range n {
			r.Deny(Event{Action: Denied, Subject: "not_allowed", Actor: Actor{Kind: "ci", RunID: fmt.Sprint(i)}})
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
		total, others := 0, 0
		for _, row := range chain.rows {
			d := details(t, row)
			total += int(d["count"].(float64))
			if d["others"] == true {
				others++
			}
		}
		if len(chain.rows) != maxDenials+1 || total != n || others != 1 {
			t.Errorf("%d rows, %d in all, %d of others", len(chain.rows), total, others)
		}
	})
}
