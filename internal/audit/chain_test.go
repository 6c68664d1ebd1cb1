package audit

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testTime = time.Date(2026, 11, 25, 8, 30, 0, 125e6, time.UTC)

// The example of docs/audit.md: whoever computes hashes by that page gets these.
func TestVector(t *testing.T) {
	first := Head{}.Append(Event{
		Time: testTime, Action: Uploaded, Actor: Actor{Kind: "ci", RepositoryID: "456789", RunID: "17650000001"}, Subject: "1234567890123456789", Workspace: "web",
		Scope: "trusted", Details: Details{"sha256": strings.Repeat("ab", 32), "size": 4711}, Replica: "cache-1/0a1b2c3d",
	})
	second := first.Head().Append(Event{Time: testTime.Add(time.Second), Action: ServerStopped, Actor: Actor{Kind: KindServer, Host: "cache-1"}, Replica: "cache-1/0a1b2c3d"})
	const hashed = `14:bezoar audit 1,64:0000000000000000000000000000000000000000000000000000000000000000,1:1,24:2026-11-25T08:30:00.125Z,6:upload,` +
		`61:{"kind":"ci","repository_id":"456789","run_id":"17650000001"},19:1234567890123456789,3:web,7:trusted,` +
		`89:{"sha256":"abababababababababababababababababababababababababababababababab","size":4711},16:cache-1/0a1b2c3d,`
	if diff := cmp.Diff(hashed, string(first.encode(Hash{}))); diff != "" {
		t.Error(diff)
	}
	seal := NewKey("3f9a1c22b07e", []byte("01234567890123456789012345678901")).Sign(SealHead, second.Head(), testTime.Add(time.Minute))
	want, err := os.ReadFile("../../docs/examples/audit.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), first.Line()+"\n"+second.Line()+"\n"+seal.Line()+"\n"); diff != "" {
		t.Error(diff)
	}
}

// anyText has all that may come from outside in it: no UTF-8, NUL, separators of the encoding, backslashes.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.StringOfN(rapid.RuneFrom([]rune{'0', '1', ':', ',', '\\', 'x', 'a', '"', 0}), 0, 12, -1),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 6), func(b []byte) string { return string(b) }),
	)
}

func anyEvent(t *rapid.T, name string) Event {
	text := func(of string) string { return anyText().Draw(t, name+" "+of) }
	e := Event{
		Time:   time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(t, name+" time")).UTC(),
		Action: Action(text("action")), Subject: text("subject"), Workspace: cache.Workspace(text("workspace")), Scope: cache.Scope(text("scope")), Replica: text("replica"),
		Actor: Actor{Kind: text("kind"), TokenID: text("token"), Actor: text("actor")},
	}
	if rapid.Bool().Draw(t, name+" has details") {
		e.Details = Details{"a": text("a"), "b": text("b")}
	}
	return e
}

// TestNoTwoEventsEncodeAlike: what differs in anything has another encoding, at the same place of the chain and at another.
func TestNoTwoEventsEncodeAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyEvent(t, "a")
		b := a
		// Most pairs of random events differ in everything: two fields that trade some of their bytes are harder to tell apart.
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			b = anyEvent(t, "b")
		case 1:
			all := a.Subject + string(a.Workspace)
			at := rapid.IntRange(0, len(all)).Draw(t, "at")
			b.Subject, b.Workspace = all[:at], cache.Workspace(all[at:])
		case 2:
			b.Scope, b.Replica = cache.Scope(a.Replica), string(a.Scope)
		case 3:
			b.Actor.TokenID, b.Actor.Actor = a.Actor.Actor, a.Actor.TokenID
		}
		seqA, seqB := rapid.Int64Range(0, 3).Draw(t, "seq a"), rapid.Int64Range(0, 3).Draw(t, "seq b")
		ra, rb := Head{Seq: seqA}.Append(a), Head{Seq: seqB}.Append(b)
		same := seqA == seqB && reflect.DeepEqual(a, b)
		if got := string(ra.encode(Hash{})) == string(rb.encode(Hash{})); got != same {
			t.Fatalf("same: %t, encoded alike: %t\n%q\n%q", same, got, ra.encode(Hash{}), rb.encode(Hash{}))
		}
	})
}

// TestLinesAreReadAsWritten: an export has the rows and seals that are in the chain, whatever is in them.
func TestLinesAreReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := Head{}.Append(anyEvent(t, "e"))
		got, _, err := parseLine([]byte(row.Line()))
		if err != nil {
			t.Fatalf("%v: %s", err, row.Line())
		}
		if diff := cmp.Diff(&row, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestSecretsStayOut(t *testing.T) {
	const token = "bzr_0123456789abcdef"
	row := Head{}.Append(Event{
		Subject: token, Scope: "branch/" + token, Replica: token, Actor: Actor{Kind: "ci", Ref: "refs/heads/" + token},
		Details: Details{"reason": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", "read": []string{token}},
	})
	for _, secret := range []string{"bzr_", "eyJ"} {
		if strings.Contains(row.Line(), secret) {
			t.Errorf("%s is in %s", secret, row.Line())
		}
	}
}

func TestLongTextsAreCut(t *testing.T) {
	row := Head{}.Append(Event{Subject: strings.Repeat("ä\x00\xff\\", 5000), Details: Details{"s": strings.Repeat("x", 1<<20)}})
	if len(row.Subject) > maxText+4 || len(row.Details) > maxText+20 || !strings.HasSuffix(row.Subject, `\…`) {
		t.Errorf("%d bytes, %d bytes", len(row.Subject), len(row.Details))
	}
}

// FuzzLines: no file makes the reader panic, and what is read as whole was written as such.
func FuzzLines(f *testing.F) {
	chain, key := testChain(3)
	var text strings.Builder
	for i := range chain {
		fmt.Fprintln(&text, chain[i].Line())
	}
	s := key.Sign(SealHead, chain[2].Head(), testTime)
	fmt.Fprintln(&text, s.Line())
	f.Add(text.String())
	f.Add(`{"seal":"anchor","seq":1,"time":"","hash":""}`)
	f.Fuzz(func(t *testing.T, file string) {
		v := NewVerifier(PublicKeys([]Key{key}), nil)
		if err := Lines(strings.NewReader(file), v); err != nil {
			t.Fatal(err)
		}
		report, err := v.End()
		if err == nil && report.Rows > 0 && report.Head.Seq != report.First+report.Rows-1 {
			t.Errorf("%+v", report)
		}
	})
}

// testChain makes rows that differ in all their columns, and a key.
func testChain(n int) ([]Row, Key) {
	var head Head
	var rows []Row
	for i := range n {
		r := head.Append(Event{
			Time: testTime.Add(time.Duration(i) * time.Second), Action: Uploaded, Actor: Actor{Kind: "ci", RunID: fmt.Sprint(i)}, Subject: fmt.Sprint("hash", i),
			Workspace: cache.Workspace(fmt.Sprint("web", i)), Scope: cache.Scope(fmt.Sprint("pr/", i)), Details: Details{"size": i}, Replica: fmt.Sprint("cache-", i),
		})
		rows = append(rows, r)
		head = r.Head()
	}
	return rows, NewKey("000000000001", []byte(strings.Repeat("k", 32)))
}
