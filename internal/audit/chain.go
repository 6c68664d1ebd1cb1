package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// label keeps the hashes of rows apart from any other use of SHA-256, and names the form of what is hashed.
const label = "bezoar audit 1"

// timeLayout is how a time is hashed and exported: in UTC, always with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Hash binds a row, and with it all before it. That of no row at all is 32 zero bytes.
type Hash [sha256.Size]byte

// String returns 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Row is an event in its place in the chain. Its texts are hashed byte by byte as they are here, so that nobody need agree on a form of JSON.
type Row struct {
	// Seq counts the rows of the chain from 1 on.
	Seq    int64
	Time   time.Time
	Action Action
	// Actor and Details are JSON: an [Actor] and [Details].
	Actor                     string
	Subject, Workspace, Scope string
	Details                   string
	Replica                   string
	Hash                      Hash
}

// Head is the end of a chain, or of a part of it.
type Head struct {
	Seq  int64
	Hash Hash
}

// Append puts an event behind a head. It returns the row, whose hash is the next head's.
func (h Head) Append(e Event) Row {
	r := e.row()
	r.Seq = h.Seq + 1
	r.Hash = r.after(h.Hash)
	return r
}

// Head is the chain's end if this row is its last.
func (r *Row) Head() Head { return Head{r.Seq, r.Hash} }

// after is the hash that the row has behind one with that hash.
func (r *Row) after(previous Hash) Hash { return sha256.Sum256(r.encode(previous)) }

// encode is what is hashed of a row: eleven texts, each as a netstring, which is its length in bytes in decimal digits, a colon, the bytes and a comma.
// No two rows encode alike, since the lengths say where each text ends.
func (r *Row) encode(previous Hash) []byte {
	return netstrings(label, previous.String(), strconv.FormatInt(r.Seq, 10), r.Time.UTC().Format(timeLayout), string(r.Action), r.Actor, r.Subject,
		r.Workspace, r.Scope, r.Details, r.Replica)
}

func netstrings(texts ...string) []byte {
	n := 0
	for _, t := range texts {
		n += len(t) + 12
	}
	b := make([]byte, 0, n)
	for _, t := range texts {
		b = strconv.AppendInt(b, int64(len(t)), 10)
		b = append(b, ':')
		b = append(b, t...)
		b = append(b, ',')
	}
	return b
}
