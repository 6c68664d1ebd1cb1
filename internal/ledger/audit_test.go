package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// A Ledger is where a chain lies.
var _ audit.Chain = (*Ledger)(nil)

var auditKey = audit.NewKey("3f9a1c22b07e", []byte(strings.Repeat("k", 32)))

func auditEvent(n int) audit.Event {
	return audit.Event{
		Time: time.Date(2026, 11, 25, 0, 0, n, 0, time.UTC), Action: audit.Uploaded, Actor: audit.Actor{Kind: "ci", RunID: fmt.Sprint(n % 3), Actor: `o"ä\` + "\x00\xff"},
		Subject: fmt.Sprint(n), Workspace: "web", Scope: "branch/\xff", Details: audit.Details{"size": n}, Replica: "one",
	}
}

func appendAudit(t *testing.T, l *Ledger, from, to int) audit.Head {
	t.Helper()
	var events []audit.Event
	for n := from; n < to; n++ {
		events = append(events, auditEvent(n))
	}
	head, err := l.AppendAudit(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// verifyAudit verifies the whole chain of a ledger.
func verifyAudit(t *testing.T, l *Ledger, keys audit.Keys, want *audit.Hash) (audit.Report, *audit.Break) {
	t.Helper()
	v := audit.NewVerifier(keys, want)
	if err := audit.Read(t.Context(), l, 0, v); err != nil {
		t.Fatal(err)
	}
	report, err := v.End()
	if err == nil {
		return report, nil
	}
	b, ok := errors.AsType[*audit.Break](err)
	if !ok {
		t.Fatal(err)
	}
	return report, b
}

// TestOneChainOfMany: servers and commands that append at the same time make one chain, and none of their events is missing.
func TestOneChainOfMany(t *testing.T) { onEvery(t, testOneChainOfMany) }

func testOneChainOfMany(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	const ledgers, writers, batches, size = 3, 8, 4, 7
	var all sync.WaitGroup
	for i := range ledgers {
		l := db.open(t, dir)
		db.hurry(t, l)
		for j := range writers {
			all.Go(func() {
				for k := range batches {
					var events []audit.Event
					for n := range size {
						e := auditEvent(n)
						e.Subject = fmt.Sprintf("%d/%d/%d/%d", i, j, k, n)
						events = append(events, e)
					}
					if _, err := l.AppendAudit(t.Context(), events); err != nil {
						t.Error(err)
					}
				}
				// A command's event comes in the transaction of what it does.
				if err := l.CreateToken(t.Context(), newToken(fmt.Sprintf("t%d-%d", i, j), "web")); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	l := db.open(t, dir)
	report, broken := verifyAudit(t, l, nil, nil)
	if want := int64(ledgers * writers * (batches*size + 1)); broken != nil || report.Rows != want || report.Head.Seq != want {
		t.Fatalf("%v %+v, want %d rows", broken, report, want)
	}
	if head, err := l.AuditHead(t.Context()); err != nil || head != report.Head {
		t.Errorf("%v %v", head, err)
	}
	// The events of a batch stand together and in their order.
	rows, _, err := l.AuditChain(t.Context(), 0, 10000)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, r := range rows {
		seen[r.Subject] = true
		if r.Action == audit.Uploaded && !strings.HasSuffix(r.Subject, "/0") && rows[i-1].Subject[:6] != r.Subject[:6] {
			t.Errorf("%s behind %s", r.Subject, rows[i-1].Subject)
		}
	}
	if int64(len(seen)) != report.Rows {
		t.Errorf("%d of %d events", len(seen), report.Rows)
	}
}

// TestTamperingWithALedger: whatever is changed in a column by somebody who can write to the database is found at its row.
func TestTamperingWithALedger(t *testing.T) { onEvery(t, testTamperingWithALedger) }

func testTamperingWithALedger(t *testing.T, db testDatabase) {
	for _, c := range []struct {
		change string
		kind   audit.BreakKind
		seq    int64
	}{
		{`UPDATE audit SET time = time + 1 WHERE seq = 5`, audit.Changed, 5},
		{`UPDATE audit SET action = 'denied' WHERE seq = 5`, audit.Changed, 5},
		{`UPDATE audit SET actor = replace(actor, '"1"', '"2"') WHERE seq = 5`, audit.Changed, 5},
		{`UPDATE audit SET actor = replace(actor, ',', ', ') WHERE seq = 5`, audit.Changed, 5},
		{`UPDATE audit SET subject = '' WHERE seq = 5`, audit.Changed, 5},
		{`UPDATE audit SET workspace = 'library' WHERE seq = 5`, audit.Changed, 5},
		{`UPDATE audit SET scope = 'trusted' WHERE seq = 5`, audit.Changed, 5},
		{`UPDATE audit SET details = '{}' WHERE seq = 5`, audit.Changed, 5},
		{`UPDATE audit SET replica = 'two' WHERE seq = 5`, audit.Changed, 5},
		{`UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = 6) WHERE seq = 5`, audit.Changed, 5},
		{`UPDATE audit SET seq = 50 WHERE seq = 5`, audit.Reordered, 5},
		{`DELETE FROM audit WHERE seq = 5`, audit.Missing, 5},
		{`DELETE FROM audit WHERE seq <= 2`, audit.Missing, 1},
		{`DELETE FROM audit WHERE seq > 5`, audit.Truncated, 6},
		{`DELETE FROM audit`, audit.Truncated, 1},
		{`UPDATE audit SET seq = 50 WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 7; UPDATE audit SET seq = 7 WHERE seq = 50`, audit.Reordered, 5},
		{`UPDATE audit_seals SET hash = (SELECT hash FROM audit WHERE seq = 6)`, audit.Forged, 8},
		{`UPDATE audit_seals SET seq = 7`, audit.Forged, 7},
		{`UPDATE audit_seals SET kind = 'anchor'`, audit.Forged, 8},
		{`UPDATE audit_seals SET time = time + 1`, audit.Forged, 8},
		{`UPDATE audit_seals SET signature = hash`, audit.Forged, 8},
	} {
		dir := t.TempDir()
		l := db.open(t, dir)
		db.hurry(t, l)
		head := appendAudit(t, l, 0, 8)
		if err := l.AddAuditSeal(t.Context(), auditKey.Sign(audit.SealHead, head, time.Now())); err != nil {
			t.Fatal(err)
		}
		keys := audit.PublicKeys([]audit.Key{auditKey})
		if report, broken := verifyAudit(t, l, keys, &head.Hash); broken != nil || report.Seals != 1 {
			t.Fatalf("%v %+v", broken, report)
		}
		raw := db.raw(t, dir)
		for statement := range strings.SplitSeq(c.change, ";") {
			execute(t, raw, statement)
		}
		if _, got := verifyAudit(t, l, keys, nil); got == nil || got.Kind != c.kind || got.Seq != c.seq {
			t.Errorf("%s: %v, want row %d: %s", c.change, got, c.seq, c.kind)
		}
	}
}

// TestCommandsAreOnRecord: what changes tokens and revocations is on record with it, by who it was, or neither is.
func TestCommandsAreOnRecord(t *testing.T) { onEvery(t, testCommandsAreOnRecord) }

func testCommandsAreOnRecord(t *testing.T, db testDatabase) {
	dir := t.TempDir()
	l := db.open(t, dir)
	by := l.By(audit.Actor{Kind: audit.KindOperator, User: "jo", Host: "desk"}, "desk")
	token := newToken("ci", "web")
	if err := by.CreateToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if err := by.CreateToken(t.Context(), newToken("ci", "web")); !errors.Is(err, ErrTokenExists) {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing changes
		if _, err := by.RevokeToken(t.Context(), "ci", "", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	r, err := trust.NewRevocation(trust.RevokeRun, "17", "web", "leaked", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := by.CreateRevocation(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := l.LiftRevocation(t.Context(), r.ID, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	rows, _, err := l.AuditChain(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range rows {
		got = append(got, fmt.Sprint(row.Action, " ", row.Subject, " ", row.Workspace, " ", row.Actor))
	}
	jo := ` web {"kind":"operator","user":"jo","host":"desk"}`
	want := []string{
		"token.created " + token.ID + jo, "token.revoked " + token.ID + jo, "revocation.made " + r.ID + jo, "revocation.lifted " + r.ID + ` web {"kind":"unknown"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	if err := by.Note(t.Context(), audit.Event{Action: audit.Purged, Subject: "run 17"}); err != nil {
		t.Fatal(err)
	}
	rows, _, err = l.AuditEvents(t.Context(), AuditFilter{Action: audit.Purged, Actor: "jo"}, "", 10)
	if err != nil || len(rows) != 1 || rows[0].Replica != "desk" || time.Since(rows[0].Time) > time.Hour {
		t.Errorf("%+v %v", rows, err)
	}

	// What cannot be put on record is not done.
	execute(t, db.raw(t, dir), `DROP TABLE audit`)
	if err := by.CreateToken(t.Context(), newToken("other", "web")); err == nil {
		t.Error("a token that is not on record")
	}
	if tokens, err := l.Tokens(t.Context()); err != nil || len(tokens) != 1 {
		t.Errorf("%d tokens, %v", len(tokens), err)
	}
}

func TestAuditQueries(t *testing.T) { onEvery(t, testAuditQueries) }

func testAuditQueries(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	appendAudit(t, l, 0, 20)
	other := auditEvent(20)
	other.Action, other.Workspace, other.Actor = audit.Denied, "library", audit.Actor{Kind: "token", TokenName: `ci "1"`}
	if _, err := l.AppendAudit(t.Context(), []audit.Event{other}); err != nil {
		t.Fatal(err)
	}
	at := func(n int) time.Time { return auditEvent(n).Time }
	for _, c := range []struct {
		filter AuditFilter
		want   []int
	}{
		{AuditFilter{Action: audit.Denied}, []int{20}},
		{AuditFilter{Workspace: "library"}, []int{20}},
		{AuditFilter{Workspace: "web", Since: at(17)}, []int{19, 18, 17}},
		{AuditFilter{Until: at(2)}, []int{1, 0}},
		{AuditFilter{Actor: "2", Since: at(10), Until: at(15)}, []int{14, 11}},
		{AuditFilter{Actor: `ci "1"`}, []int{20}},
		{AuditFilter{Actor: `o"ä\` + "\x00\xff", Since: at(18)}, []int{19, 18}},
		{AuditFilter{Actor: "ci", Action: audit.Denied}, nil},
		{AuditFilter{Actor: "CI \"1\""}, nil},
	} {
		for _, limit := range []int{1, 2, 100} {
			var got []int
			cursor := Cursor("")
			for {
				rows, next, err := l.AuditEvents(t.Context(), c.filter, cursor, limit)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range rows {
					got = append(got, int(r.Seq)-1)
				}
				if cursor = next; next == "" {
					break
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%+v by %d: %v, want %v", c.filter, limit, got, c.want)
			}
		}
	}
	if _, _, err := l.AuditEvents(t.Context(), AuditFilter{}, "x", 1); !errors.Is(err, ErrCursor) {
		t.Error(err)
	}
}

// TestTrimmingALedger: what is old goes in steps, and the rest verifies from the anchor on; what nobody sealed yet stays.
func TestTrimmingALedger(t *testing.T) { onEvery(t, testTrimmingALedger) }

func testTrimmingALedger(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	keys := audit.PublicKeys([]audit.Key{auditKey})
	sign := func(h audit.Head) audit.Seal { return auditKey.Sign(audit.SealAnchor, h, time.Now()) }
	trim := func(before time.Time, limit int) (int64, int64) {
		t.Helper()
		anchor, n, err := l.TrimAudit(t.Context(), before, limit, sign)
		if err != nil {
			t.Fatal(err)
		}
		return anchor.Seq, n
	}
	appendAudit(t, l, 0, 4)
	late := auditEvent(100) // a clock that was ahead
	if _, err := l.AppendAudit(t.Context(), []audit.Event{late}); err != nil {
		t.Fatal(err)
	}
	head := appendAudit(t, l, 5, 10)
	if _, n := trim(auditEvent(1000).Time, 100); n != 0 {
		t.Errorf("%d rows went that nobody sealed", n)
	}
	if err := l.AddAuditSeal(t.Context(), auditKey.Sign(audit.SealHead, head, time.Now())); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][2]int64{{3, 3}, {4, 1}, {0, 0}} { // the late one keeps what is behind it
		if seq, n := trim(auditEvent(9).Time, 3); seq != want[0] || n != want[1] {
			t.Errorf("%d rows up to %d, want %v", n, seq, want)
		}
		if report, broken := verifyAudit(t, l, keys, &head.Hash); broken != nil || report.Head != head {
			t.Errorf("%v %+v", broken, report)
		}
	}
	if seq, n := trim(auditEvent(1000).Time, 100); seq != 9 || n != 5 { // all but what was sealed last
		t.Errorf("%d rows up to %d", n, seq)
	}
	head = appendAudit(t, l, 10, 12)
	if report, broken := verifyAudit(t, l, keys, &head.Hash); broken != nil || report.First != 10 || report.Rows != 3 || report.Seals != 2 {
		t.Errorf("%v %+v", broken, report)
	}
	if _, broken := verifyAudit(t, l, audit.Keys{}, nil); broken == nil || broken.Kind != audit.Forged {
		t.Errorf("an anchor of nobody: %v", broken)
	}
}

// A chain is read in pages, and the seals come with the rows that they seal.
func TestAuditChainPages(t *testing.T) { onEvery(t, testAuditChainPages) }

func testAuditChainPages(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	for n := range 6 {
		if err := l.AddAuditSeal(t.Context(), auditKey.Sign(audit.SealHead, appendAudit(t, l, n, n+1), time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	for limit := 1; limit <= 7; limit++ {
		var got []string
		for after := int64(0); ; {
			rows, seals, err := l.AuditChain(t.Context(), after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range seals {
				got = append(got, fmt.Sprint(s.Seq))
			}
			if len(seals) != len(rows) {
				t.Errorf("%d rows, %d seals", len(rows), len(seals))
			}
			if len(rows) < limit {
				break
			}
			after = rows[len(rows)-1].Seq
		}
		if strings.Join(got, "") != "123456" {
			t.Errorf("by %d: %q", limit, got)
		}
	}
}
