package audit

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxLine bounds a line of an export, in bytes: a row has some twenty texts.
const maxLine = 256 << 10

// line is a row or a seal in an export. The actor and the details are texts of JSON in it, since they are hashed as they are.
type line struct {
	SealKind  SealKind `json:"seal,omitempty"`
	Seq       int64    `json:"seq"`
	Time      string   `json:"time"`
	Action    *Action  `json:"action,omitempty"`
	Actor     *string  `json:"actor,omitempty"`
	Subject   *string  `json:"subject,omitempty"`
	Workspace *string  `json:"workspace,omitempty"`
	Scope     *string  `json:"scope,omitempty"`
	Details   *string  `json:"details,omitempty"`
	Replica   *string  `json:"replica,omitempty"`
	Hash      string   `json:"hash"`
	Key       string   `json:"key,omitempty"`
	Signature string   `json:"signature,omitempty"`
}

// Line is the row as a line of an export, without a line break.
func (r *Row) Line() string {
	return plainJSON(line{
		Seq: r.Seq, Time: r.Time.UTC().Format(timeLayout), Action: &r.Action, Actor: &r.Actor, Subject: &r.Subject, Workspace: &r.Workspace,
		Scope: &r.Scope, Details: &r.Details, Replica: &r.Replica, Hash: r.Hash.String(),
	})
}

// Line is the seal as a line of an export, without a line break.
func (s *Seal) Line() string {
	return plainJSON(line{
		SealKind: s.Kind, Seq: s.Seq, Time: s.Time.UTC().Format(timeLayout), Hash: s.Hash.String(), Key: s.Key, Signature: hex.EncodeToString(s.Signature),
	})
}

// Lines gives a verifier all lines of an export. Its error is that of the reader; a line that is none of an export is a break.
func Lines(r io.Reader, v *Verifier) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLine)
	n := 0
	for scanner.Scan() {
		n++
		row, seal, err := parseLine(scanner.Bytes())
		switch {
		case err != nil:
			v.Fail(fmt.Sprintf("line %d: %v", n, err))
			return nil
		case row != nil:
			v.Row(row)
		default:
			v.Seal(seal)
		}
	}
	if err := scanner.Err(); errors.Is(err, bufio.ErrTooLong) {
		v.Fail(fmt.Sprintf("line %d is longer than any of an export", n+1))
	} else if err != nil {
		return err
	}
	return nil
}

var errNotAsWritten = errors.New("this is no line that an export writes")

// parseLine reads a row or a seal. It takes a line only in the very form in which it was written, so that no two programs read different things in it.
func parseLine(text []byte) (*Row, *Seal, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, nil, errNotAsWritten
	}
	at, errTime := time.Parse(timeLayout, l.Time)
	hash, errHash := ParseHash(l.Hash)
	signature, errSignature := hex.DecodeString(l.Signature)
	if err := errors.Join(errTime, errHash, errSignature); err != nil {
		return nil, nil, errNotAsWritten
	}
	if l.SealKind != "" {
		s := &Seal{Kind: l.SealKind, Head: Head{l.Seq, hash}, Time: at, Key: l.Key, Signature: signature}
		if s.Line() != string(text) {
			return nil, nil, errNotAsWritten
		}
		return nil, s, nil
	}
	for _, field := range []*string{l.Actor, l.Subject, l.Workspace, l.Scope, l.Details, l.Replica} {
		if field == nil || l.Action == nil {
			return nil, nil, errNotAsWritten
		}
	}
	r := &Row{
		Seq: l.Seq, Time: at, Action: *l.Action, Actor: *l.Actor, Subject: *l.Subject, Workspace: *l.Workspace, Scope: *l.Scope,
		Details: *l.Details, Replica: *l.Replica, Hash: hash,
	}
	if r.Line() != string(text) {
		return nil, nil, errNotAsWritten
	}
	return r, nil, nil
}

// ParseHash reads 64 hexadecimal digits.
func ParseHash(text string) (h Hash, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) {
		return h, errors.New("a hash of the audit log is 64 hexadecimal digits")
	}
	copy(h[:], b)
	return h, nil
}
