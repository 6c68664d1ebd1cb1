package audit

import (
	"fmt"
	"time"
)

// BreakKind says what is wrong with a chain.
type BreakKind string

// The kinds of breaks.
const (
	// Changed is a row that is not what its hash was made of.
	Changed BreakKind = "changed"
	// Missing are rows that are not there, although later ones are.
	Missing BreakKind = "missing"
	// Reordered is a row that stands in the place of another one, which is elsewhere; or one that is there twice.
	Reordered BreakKind = "reordered"
	// Truncated is a chain that ends before a place where it has been, by a seal or by a head that was given.
	Truncated BreakKind = "truncated"
	// Rewritten is a chain that is whole in itself, and is not the one that was sealed.
	Rewritten BreakKind = "rewritten"
	// Forged is a seal whose signature is not good, or the anchor of a trimmed chain that nobody known has signed.
	Forged BreakKind = "forged"
	// Unsealed is a chain that servers wrote to and that has no good seal, which they make at once: somebody removed them all.
	Unsealed BreakKind = "unsealed"
	// Damaged is a line of a file that is no row and no seal.
	Damaged BreakKind = "damaged"
)

// Break is the first place at which a chain is not whole.
type Break struct {
	Kind BreakKind
	// Seq is that of the row that is broken, or of the first one that is missing.
	Seq  int64
	Text string
}

func (b *Break) Error() string { return fmt.Sprintf("row %d: %s: %s", b.Seq, b.Kind, b.Text) }

// Report tells what was verified.
type Report struct {
	Rows int64
	// First is the number of the first row, Head the last one that is good.
	First int64
	Head  Head
	// Seals counts those that are good, Unchecked those that are signed with a key that is not known here; LastSeal is the last good one.
	Seals, Unchecked int64
	LastSeal         Seal
}

// Verifier takes the rows and seals of a chain in their order, each seal behind the row that it seals and an anchor before the first, and finds the first
// break. Its memory does not grow with the chain.
type Verifier struct {
	keys   Keys
	want   *Hash
	report Report

	head    Head // the last good row, or what the chain begins behind
	resumed bool
	served  bool   // a server wrote to it
	found   bool   // the head that was asked for was seen
	pending *Break // the first break
	ahead   Seal   // the good seal that is the farthest beyond the rows so far
}

// NewVerifier begins at the beginning of a chain. Keys may be nil: then no signature is looked at. A wanted head, if there is one, has to be in the
// chain.
func NewVerifier(keys Keys, want *Hash) *Verifier { return &Verifier{keys: keys, want: want} }

// Resume begins behind a row that was verified before.
// It says nothing of what is before that, nor whether there are seals.
func Resume(keys Keys, after Head) *Verifier {
	return &Verifier{keys: keys, head: after, resumed: true}
}

// Row takes the next row.
func (v *Verifier) Row(r *Row) {
	v.report.Rows++
	if v.report.First == 0 {
		v.report.First = r.Seq
	}
	next := v.head.Seq + 1
	if v.pending != nil {
		v.lookFor(r, next)
		return
	}
	switch {
	case r.Seq > next:
		v.fail(Missing, next, fmt.Sprintf("the rows from %d to %d are not there", next, r.Seq-1))
		v.lookFor(r, next)
	case r.Seq < next:
		v.fail(Reordered, r.Seq, fmt.Sprintf("it stands behind row %d", v.head.Seq))
	case r.after(v.head.Hash) != r.Hash:
		v.fail(Changed, next, "it is not what its hash was made of, behind the row before it")
	default:
		v.head = r.Head()
		v.see(r.Hash)
		v.served = v.served || r.Action == ServerStarted
	}
}

// lookFor tells a row that was moved from one that was changed or removed: it is elsewhere.
func (v *Verifier) lookFor(r *Row, next int64) {
	if v.pending.Seq != next || v.pending.Kind != Changed && v.pending.Kind != Missing {
		return
	}
	moved := *r
	moved.Seq = next
	if moved.after(v.head.Hash) == r.Hash {
		v.pending.Kind = Reordered
		v.pending.Text = fmt.Sprintf("it is elsewhere, as row %d", r.Seq)
	}
}

// Seal takes the next seal.
func (v *Verifier) Seal(s *Seal) {
	if v.pending != nil {
		return
	}
	verdict := good
	if v.keys != nil {
		verdict = v.keys.verify(s)
	}
	switch {
	case verdict == forged:
		v.fail(Forged, s.Seq, "the signature of its seal is not good")
	case s.Kind == SealAnchor:
		v.anchor(s, verdict)
	case verdict == unknownKey:
		v.report.Unchecked++
	case s.Kind != SealHead:
		v.fail(Forged, s.Seq, "its seal is of no kind that there is")
	case s.Seq > v.head.Seq:
		if s.Seq > v.ahead.Seq {
			v.ahead = *s
		}
	case s.Seq < v.head.Seq:
		v.report.Unchecked++ // out of its place: the row is no more at hand
	case s.Hash != v.head.Hash:
		v.fail(Rewritten, s.Seq, "the chain is whole and is not the one that was sealed on "+s.Time.UTC().Format(time.RFC3339))
	default:
		v.report.Seals++
		v.report.LastSeal = *s
	}
}

func (v *Verifier) anchor(s *Seal, verdict verdict) {
	switch {
	case verdict == unknownKey:
		v.fail(Forged, s.Seq, "the chain was trimmed up to here, it says, and nobody known has signed that: the key "+s.Key+" is not in the key file")
	case s.Seq > v.head.Seq: // also between rows: those up to it went while the chain was read
		v.head = s.Head
		v.see(s.Hash)
		v.report.Seals++
		v.report.LastSeal = *s
	}
}

// Fail notes that the next row cannot be read.
func (v *Verifier) Fail(text string) { v.fail(Damaged, v.head.Seq+1, text) }

func (v *Verifier) fail(kind BreakKind, seq int64, text string) {
	if v.pending == nil {
		v.pending = &Break{kind, seq, text}
	}
}

func (v *Verifier) see(h Hash) { v.found = v.found || v.want != nil && *v.want == h }

// Head is the last row that is good.
func (v *Verifier) Head() Head { return v.head }

// End says what was verified, and the first break as an error: a [*Break].
func (v *Verifier) End() (Report, error) {
	v.report.Head = v.head
	next := v.head.Seq + 1
	if v.ahead.Seq > v.head.Seq {
		v.fail(Truncated, next, fmt.Sprintf("the chain ends here, and was sealed up to row %d on %s", v.ahead.Seq, v.ahead.Time.UTC().Format(time.RFC3339)))
	}
	if v.want != nil && !v.found {
		v.fail(Truncated, next, "the chain ends here, and the head that it should have is not in it: its end was cut off, or it was made anew from some row on")
	}
	if v.keys != nil && v.served && !v.resumed && v.report.Seals == 0 {
		v.fail(Unsealed, v.head.Seq, "the chain has no good seal, and servers make one when they start: somebody removed them, or the key file is another server's")
	}
	if v.pending != nil {
		return v.report, v.pending
	}
	return v.report, nil
}
