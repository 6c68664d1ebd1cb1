package policy

import (
	"encoding/json"
	"fmt"
	"strings"
)

const (
	// maxClaim bounds a claim that is judged or recorded, in bytes.
	maxClaim = 1024

	missing = "missing"
)

// Condition is one thing that a rule asks for. All its texts are printable ASCII, whatever the claims hold.
type Condition struct {
	// Rule names the rule that asked.
	Rule string `json:"rule"`
	// Text says what was asked, such as `repository_id is "456789"`.
	Text string `json:"text"`
	// Met says whether it was so; Got is what was there.
	Met bool   `json:"met"`
	Got string `json:"got"`
}

// look is one look at the claims of an identity. It writes down what was looked at, and what was found.
type look struct {
	claims     map[string]any
	used       map[string]any
	rule       string
	conditions []Condition
	unmet      int // conditions of the present rule that are not met
	// wrong counts the conditions up to the first one about a claim that is needed and missing, or of a wrong type; 0: none is.
	wrong int
}

// malformed says whether the claims are not those of a token of this kind.
func (l *look) malformed() bool { return l.wrong > 0 }

// refuse writes down that a claim is not what every token has.
func (l *look) refuse(v any, ok bool, format string, args ...any) {
	l.that(false, got(v, ok), format, args...)
	if l.wrong == 0 {
		l.wrong = len(l.conditions)
	}
}

// carry looks at claims for the sake of a later policy: a session is judged again by what it carries.
func (l *look) carry(names ...claimName) {
	for _, name := range names {
		l.claim(name)
	}
}

// begin starts the conditions of another rule.
func (l *look) begin(rule string) { l.rule, l.unmet = rule, 0 }

// met says whether all conditions of the present rule are met.
func (l *look) met() bool { return l.unmet == 0 }

// that writes down a condition.
func (l *look) that(met bool, got, format string, args ...any) bool {
	if !met {
		l.unmet++
	}
	l.conditions = append(l.conditions, Condition{Rule: l.rule, Text: fmt.Sprintf(format, args...), Met: met, Got: got})
	return met
}

// event writes down the event by which a row applies: whoever asks why the ref of main was not enough has to see it.
func (l *look) event(name claimName, event, which string) {
	l.that(true, quoted(event), "%s is %s, %s", name, quoted(event), which)
}

// claim returns a claim, and remembers that it was looked at if it may be shown and kept.
func (l *look) claim(name claimName) (any, bool) {
	path, in, out := name.path(), l.claims, l.used
	for _, step := range path[:len(path)-1] {
		inner, ok := in[step].(map[string]any)
		if !ok {
			return nil, false
		}
		in = inner
	}
	last := path[len(path)-1]
	v, ok := in[last]
	if !ok || !keepable(v) {
		return v, ok
	}
	for _, step := range path[:len(path)-1] {
		inner, ok := out[step].(map[string]any)
		if !ok {
			inner = map[string]any{}
			out[step] = inner
		}
		out = inner
	}
	out[last] = v
	return v, ok
}

// keepable says whether a claim can be kept in a session and shown in a record.
func keepable(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) <= maxClaim && clean(v)
	case json.Number:
		return len(v) <= maxIDDigits
	case bool:
		return true
	}
	return false
}

// need returns a claim that must be a text.
func (l *look) need(name claimName) string {
	v, ok := l.claim(name)
	s, isText := v.(string)
	if isText && s != "" && keepable(v) {
		return s
	}
	l.refuse(v, ok, "%s is a text of 1 to %d bytes that can be shown", name, maxClaim)
	return ""
}

// needID returns a claim that must be a number in a text, as all CIs write their ids.
func (l *look) needID(name claimName) string {
	v, ok := l.claim(name)
	if s, isText := v.(string); isText && isID(s) {
		return s
	}
	l.refuse(v, ok, "%s is an id: a text of digits", name)
	return ""
}

// is asks whether a claim is one of some texts, byte by byte. A claim that is no text at all is a wrong token.
func (l *look) is(name claimName, want ...string) {
	v, ok := l.claim(name)
	s, isText := v.(string)
	if ok && !isText {
		l.refuse(v, ok, "%s is a text", name)
	}
	met := false
	shown := make([]string, len(want))
	for i, w := range want {
		met = met || isText && s == w
		shown[i] = quoted(w)
	}
	l.that(met, got(v, ok), "%s is %s", name, oneOf(shown))
}

// record returns a claim for the record of what is stored: empty, if it is not there. A number of ids is taken as well; anything else is a wrong token.
func (l *look) record(name claimName) string {
	if name == "" {
		return ""
	}
	v, ok := l.claim(name)
	if !ok || v == nil {
		return ""
	}
	if n, isNumber := v.(json.Number); isNumber && keepable(v) {
		return string(n)
	}
	if s, isText := v.(string); isText && keepable(v) {
		return s
	}
	l.refuse(v, ok, "%s is a text of at most %d bytes that can be shown, if it is there", name, maxClaim)
	return ""
}

// got shows what a claim is.
func got(v any, ok bool) string {
	if !ok {
		return missing
	}
	switch v := v.(type) {
	case string:
		return quoted(v)
	case json.Number:
		if len(v) > maxIDDigits {
			return "a long number"
		}
		return "the number " + string(v)
	case bool:
		return fmt.Sprintf("%v, which is no text", v)
	case nil:
		return "null"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return "of a type that tokens do not have"
}

// oneOf names alternatives, but not a hundred of them.
func oneOf(all []string) string {
	const most = 10
	if len(all) > most {
		all = append(all[:most:most], fmt.Sprintf("one of %d more", len(all)-most))
	}
	return strings.Join(all, " or ")
}

// texts turns values into plain texts.
func texts[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = string(v)
	}
	return out
}
