package audit

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bezoar-cache/bezoar/internal/trust"
)

// maxText bounds each text of an event, in bytes; a scope's name has up to 512.
const maxText = 1 << 10

// redacted stands where a token would be. None should ever come here; this keeps a mistake elsewhere from being kept for good.
const redacted = "[redacted]"

// row is the event in the form in which it is kept, without its place.
func (e *Event) row() Row {
	at := e.Time.UTC().Truncate(time.Millisecond)
	if at.Year() < 1970 || at.Year() > 9999 { // no clock shows it
		at = time.Unix(0, 0).UTC()
	}
	return Row{
		Time: at, Action: Action(clean(string(e.Action))), Actor: e.Actor.text(), Subject: clean(e.Subject),
		Workspace: clean(string(e.Workspace)), Scope: clean(string(e.Scope)), Details: e.Details.text(), Replica: clean(e.Replica),
	}
}

// isClean tells of most texts that clean would change nothing of them.
func isClean(s string) bool {
	if len(s) > maxText-4 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c == 0 || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// clean makes a text one that every database and JSON can hold: bytes that are no UTF-8, and NUL, become \x and two digits, and a backslash two of
// them, so that different texts stay different. What is too long is cut, which shows.
func clean(s string) string {
	if trust.HoldsToken(s) || strings.Contains(s, "eyJ") && strings.Count(s, ".") >= 2 {
		return redacted
	}
	if isClean(s) {
		return s
	}
	return cleaned(s)
}

func cleaned(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if b.Len() > maxText-4 {
			b.WriteString(`\…`)
			break
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1, r == 0:
			const digits = "0123456789abcdef"
			b.WriteString(`\x`)
			b.WriteByte(digits[s[i]>>4])
			b.WriteByte(digits[s[i]&15])
		case r == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

func (a Actor) text() string {
	v := reflect.ValueOf(&a).Elem() // all of its fields are texts
	for _, field := range v.Fields() {
		field.SetString(clean(field.String()))
	}
	return plainJSON(a)
}

func (d Details) text() string {
	if len(d) == 0 {
		return "{}"
	}
	d = maps.Clone(d)
	for name, value := range d {
		switch v := value.(type) {
		case string:
			d[name] = clean(v)
		case []string:
			cleaned := make([]string, len(v))
			for i := range v {
				cleaned[i] = clean(v[i])
			}
			d[name] = cleaned
		}
	}
	return plainJSON(d)
}

// plainJSON writes one line and leaves alone what only HTML has trouble with.
func plainJSON(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return `{"error":"this has no JSON form"}` // a bug: what is handed in are texts, numbers and truth values
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// InActor is what the text of an actor holds if one of its values is that one: the value whole, behind a colon and between quotation marks.
func InActor(value string) string { return ":" + plainJSON(clean(value)) }

// ReadActor reads the actor of a row.
func (r *Row) ReadActor() (a Actor, err error) {
	err = json.Unmarshal([]byte(r.Actor), &a)
	return a, err
}
