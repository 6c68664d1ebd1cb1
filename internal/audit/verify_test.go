package audit

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// record is a row or a seal in the order in which a verifier gets them.
type record any

// verify runs a verifier over records and returns the break, or nil.
func verify(t *testing.T, keys Keys, want *Hash, records []record) (Report, *Break) {
	t.Helper()
	v := NewVerifier(keys, want)
	for _, r := range records {
		switch r := r.(type) {
		case Row:
			v.Row(&r)
		case Seal:
			v.Seal(&r)
		}
	}
	report, err := v.End()
	if err == nil {
		return report, nil
	}
	b, ok := errors.AsType[*Break](err)
	if !ok {
		t.Fatal(err)
	}
	return report, b
}

func rowsOf(rows []Row) (all []record) {
	for _, r := range rows {
		all = append(all, r)
	}
	return all
}

func wantBreak(t *testing.T, name string, got *Break, kind BreakKind, seq int64) {
	t.Helper()
	if got == nil || got.Kind != kind || got.Seq != seq {
		t.Errorf("%s: %v, want row %d: %s", name, got, seq, kind)
	}
}

// TestTampering: whatever somebody does to the rows is found, at the row and by its kind.
func TestTampering(t *testing.T) {
	rows, key := testChain(9)
	keys := PublicKeys([]Key{key})
	head := rows[8].Hash
	other := testTime.Add(time.Hour)
	for _, c := range []struct {
		name   string
		tamper func(all []record) []record
		kind   BreakKind // empty: whole
		seq    int64
	}{
		{"nothing", func(all []record) []record { return all }, "", 0},
		{"time", change(func(r *Row) { r.Time = r.Time.Add(time.Millisecond) }), Changed, 5},
		{"action", change(func(r *Row) { r.Action = Denied }), Changed, 5},
		{"actor", change(func(r *Row) { r.Actor = `{"kind":"ci","run_id":"5"}` }), Changed, 5},
		{"space in the actor", change(func(r *Row) { r.Actor = strings.ReplaceAll(r.Actor, ":", ": ") }), Changed, 5},
		{"subject", change(func(r *Row) { r.Subject += "0" }), Changed, 5},
		{"workspace", change(func(r *Row) { r.Workspace = "library" }), Changed, 5},
		{"scope", change(func(r *Row) { r.Scope = "trusted" }), Changed, 5},
		{"details", change(func(r *Row) { r.Details = `{}` }), Changed, 5},
		{"replica", change(func(r *Row) { r.Replica = "" }), Changed, 5},
		{"bytes between columns", change(func(r *Row) { r.Workspace, r.Scope = r.Workspace+r.Scope[:1], r.Scope[1:] }), Changed, 5},
		{"hash", change(func(r *Row) { r.Hash[31] ^= 1 }), Changed, 5},
		{"hash and content", change(func(r *Row) { r.Subject = "x"; r.Hash = r.after(rows[3].Hash) }), Changed, 6},
		{"number", change(func(r *Row) { r.Seq = 100 }), Reordered, 5},
		{"one is gone", func(all []record) []record { return slices.Delete(all, 4, 5) }, Missing, 5},
		{"several are gone", func(all []record) []record { return slices.Delete(all, 2, 6) }, Missing, 3},
		{"the first is gone", func(all []record) []record { return all[1:] }, Missing, 1},
		{"one is there twice", func(all []record) []record { return slices.Insert(all, 4, all[3]) }, Reordered, 4},
		{"two lines changed places", func(all []record) []record { all[4], all[6] = all[6], all[4]; return all }, Reordered, 5},
		{"two neighbours changed places", func(all []record) []record { all[4], all[5] = all[5], all[4]; return all }, Reordered, 5},
		{"two rows changed numbers", func(all []record) []record {
			a, b := all[4].(Row), all[6].(Row)
			a.Seq, b.Seq = b.Seq, a.Seq
			all[4], all[6] = b, a
			return all
		}, Reordered, 5},
		{"one is gone and the others moved up", func(all []record) []record {
			all = slices.Delete(all, 4, 5)
			for i := 4; i < len(all); i++ {
				r := all[i].(Row)
				r.Seq--
				all[i] = r
			}
			return all
		}, Changed, 5},
		{"the end is gone", func(all []record) []record { return all[:7] }, Truncated, 8},
		{"all is gone", func([]record) []record { return nil }, Truncated, 1},
		{"all was made anew", func([]record) []record { return rechained(rows, 4, other) }, Truncated, 10},
	} {
		_, got := verify(t, keys, &head, c.tamper(rowsOf(rows)))
		if c.kind == "" {
			if got != nil {
				t.Errorf("%s: %v", c.name, got)
			}
			continue
		}
		wantBreak(t, c.name, got, c.kind, c.seq)
		// The same in a file.
		var file strings.Builder
		for _, r := range c.tamper(rowsOf(rows)) {
			row := r.(Row)
			file.WriteString(row.Line() + "\n")
		}
		v := NewVerifier(keys, &head)
		if err := Lines(strings.NewReader(file.String()), v); err != nil {
			t.Fatal(err)
		}
		_, err := v.End()
		got, _ = errors.AsType[*Break](err)
		wantBreak(t, c.name+" in a file", got, c.kind, c.seq)
	}
}

// change changes the fifth row.
func change(do func(*Row)) func([]record) []record {
	return func(all []record) []record {
		r := all[4].(Row)
		do(&r)
		all[4] = r
		return all
	}
}

// rechained are the rows from there on with another time, under hashes that fit: what somebody makes who can write everywhere.
func rechained(rows []Row, from int, at time.Time) (all []record) {
	rows = slices.Clone(rows)
	for i := from; i < len(rows); i++ {
		rows[i].Time = at
		rows[i].Hash = rows[i].after(rows[i-1].Hash)
	}
	return rowsOf(rows)
}

// TestSeals: who can write to the ledger and has no key changes nothing of what was sealed.
func TestSeals(t *testing.T) {
	rows, key := testChain(9)
	rows[0] = Head{}.Append(Event{Time: testTime, Action: ServerStarted})
	rows[0].Hash = rows[0].after(Hash{})
	for i := 1; i < len(rows); i++ {
		rows[i].Hash = rows[i].after(rows[i-1].Hash)
	}
	keys := PublicKeys([]Key{key})
	own := NewKey(key.ID, []byte(strings.Repeat("a", 32))) // somebody else's under the same id
	foreign := NewKey("00000000000f", []byte(strings.Repeat("b", 32)))
	seal := key.Sign(SealHead, rows[5].Head(), testTime)
	with := func(all []record, at int, seals ...Seal) []record {
		for _, s := range seals {
			all = slices.Insert(all, at, record(s))
		}
		return all
	}
	edited := func(do func(*Seal)) Seal {
		s := seal
		do(&s)
		return s
	}
	anchor := key.Sign(SealAnchor, rows[2].Head(), testTime)
	after := func(s ...Seal) []record { return append(with(nil, 0, s...), with(rowsOf(rows[3:]), 3, seal)...) }
	for _, c := range []struct {
		name    string
		records []record
		kind    BreakKind
		seq     int64
	}{
		{"sealed", with(rowsOf(rows), 6, seal), "", 0},
		{"made anew", with(rechained(rows, 4, testTime.Add(time.Hour)), 6, seal), Rewritten, 6},
		{"made anew behind the seal", with(rechained(rows, 7, testTime.Add(time.Hour)), 6, seal), "", 0},
		{"made anew and sealed by a stranger", with(rechained(rows, 4, testTime.Add(time.Hour)), 6, own.Sign(SealHead, rechained(rows, 4, testTime.Add(time.Hour))[5].(Row).head(), testTime)), Forged, 6},
		{"made anew and sealed with a key of nobody", with(rechained(rows, 4, testTime.Add(time.Hour)), 6, foreign.Sign(SealHead, rechained(rows, 4, testTime.Add(time.Hour))[5].(Row).head(), testTime)), Unsealed, 9},
		{"all seals are gone", rowsOf(rows), Unsealed, 9},
		{"cut off before the seal", append(rowsOf(rows[:4]), seal), Truncated, 5},
		{"nothing but a seal", []record{seal}, Truncated, 1},
		{"the hash of a seal", with(rowsOf(rows), 6, edited(func(s *Seal) { s.Hash[0] ^= 1 })), Forged, 6},
		{"the number of a seal", with(rowsOf(rows), 6, edited(func(s *Seal) { s.Seq = 5 })), Forged, 5},
		{"the time of a seal", with(rowsOf(rows), 6, edited(func(s *Seal) { s.Time = s.Time.Add(time.Millisecond) })), Forged, 6},
		{"the signature of a seal", with(rowsOf(rows), 6, edited(func(s *Seal) { s.Signature = slices.Clone(s.Signature); s.Signature[0] ^= 1 })), Forged, 6},
		{"no signature", with(rowsOf(rows), 6, edited(func(s *Seal) { s.Signature = nil })), Forged, 6},
		{"a seal as an anchor", append([]record{edited(func(s *Seal) { s.Kind = SealAnchor })}, rowsOf(rows[6:])...), Forged, 6},
		{"trimmed", after(anchor), "", 0},
		{"trimmed without an anchor", after(), Missing, 1},
		{"trimmed by a stranger", after(own.Sign(SealAnchor, rows[2].Head(), testTime)), Forged, 3},
		{"trimmed by nobody known", after(foreign.Sign(SealAnchor, rows[2].Head(), testTime)), Forged, 3},
		{"trimmed while it was read", append(append(rowsOf(rows[:2]), key.Sign(SealAnchor, rows[4].Head(), testTime)), with(rowsOf(rows[5:]), 1, seal)...), "", 0},
		{"more is gone than was trimmed", append([]record{anchor}, with(rowsOf(rows[5:]), 1, seal)...), Missing, 4},
	} {
		_, got := verify(t, keys, nil, c.records)
		if c.kind == "" {
			if got != nil {
				t.Errorf("%s: %v", c.name, got)
			}
			continue
		}
		wantBreak(t, c.name, got, c.kind, c.seq)
	}
	if report, got := verify(t, nil, nil, with(rowsOf(rows), 6, seal)); got != nil || report.Rows != 9 {
		t.Errorf("without keys: %v, %+v", got, report)
	}
	if _, got := verify(t, nil, nil, with(rechained(rows, 4, testTime.Add(time.Hour)), 6, seal)); got == nil || got.Kind != Rewritten {
		t.Errorf("without keys, a seal that does not fit: %v", got)
	}
}

func (r Row) head() Head { return r.Head() }

// TestDamagedLines: what an export does not write is no part of one, also if some program would read the same in it.
func TestDamagedLines(t *testing.T) {
	rows, key := testChain(2)
	good := rows[0].Line()
	seal := key.Sign(SealHead, rows[0].Head(), testTime)
	for name, line := range map[string]string{
		"no JSON": "hello", "empty": "", "a list": "[]", "an object": "{}", "a space": strings.Replace(good, `"seq":1`, `"seq": 1`, 1),
		"a field twice": strings.Replace(good, `"seq":1`, `"seq":2,"seq":1`, 1), "another case": strings.Replace(good, `"seq"`, `"SEQ"`, 1),
		"a field more": strings.Replace(good, `{`, `{"x":1,`, 1), "a field less": strings.Replace(good, `"replica":"cache-0",`, "", 1),
		"a time without milliseconds": strings.Replace(good, ".125Z", "Z", 1), "a short hash": strings.Replace(good, rows[0].Hash.String(), "00", 1),
		"an upper case hash": strings.Replace(good, rows[0].Hash.String(), strings.ToUpper(rows[0].Hash.String()), 1),
		"a seal with more":   strings.Replace(seal.Line(), `{`, `{"action":"upload",`, 1), "too long": strings.Repeat("x", maxLine+1),
	} {
		v := NewVerifier(nil, nil)
		if err := Lines(strings.NewReader(good+"\n"+line+"\n"), v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, err := v.End()
		b, _ := errors.AsType[*Break](err)
		wantBreak(t, name, b, Damaged, 2)
	}
}

func TestPublicKeys(t *testing.T) {
	_, key := testChain(0)
	keys, err := ParsePublicKeys([]string{key.Public()})
	seal := key.Sign(SealHead, Head{Seq: 1}, testTime)
	if err != nil || keys.verify(&seal) != good {
		t.Errorf("%v %v", keys, err)
	}
	for _, bad := range []string{"", ":", key.Public()[1:30], "000000000001:zz", strings.Repeat("0", 64)} {
		if _, err := ParsePublicKeys([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
