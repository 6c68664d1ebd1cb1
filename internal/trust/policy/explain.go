package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Explain writes the decision for people: the grant, each condition with what was there, and the claims. Nothing of a claim gets
// through that is no printable ASCII.
func (d Decision) Explain(w io.Writer) error {
	var b bytes.Buffer
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", label, fmt.Sprintf(format, args...))
	}
	if d.Allowed {
		line("decision", "allowed")
		line("workspace", "%s", d.Grant.Workspace)
		line("reads", "%s", scopes(d.Grant.Read, "nothing: every read is a miss"))
		line("writes", "%s", scopes([]cache.Scope{d.Grant.Write}, "nothing"))
	} else {
		line("decision", "denied")
	}
	if d.Rule != "" {
		line("rule", "%s", d.Rule)
	}
	line("reason", "%s", d.Reason)
	if d.Allowed {
		line("token", "%s", map[bool]string{true: "may be the bearer itself, or be exchanged for a session", false: "has to be exchanged for a session"}[d.Bearer])
	}
	rule := ""
	for _, c := range d.Conditions {
		if c.Rule != rule {
			rule = c.Rule
			fmt.Fprintf(&b, "\n%s\n", rule)
		}
		mark := "met    "
		if !c.Met {
			mark = "NOT MET"
		}
		fmt.Fprintf(&b, "  %s  %s", mark, c.Text)
		if !c.Met {
			b.WriteString("; there is " + c.Got)
		}
		b.WriteByte('\n')
	}
	if len(d.Claims) > 0 {
		b.WriteString("\nclaims that were looked at or recorded\n")
		writeClaims(&b, "  ", d.Claims)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// scopes shows names of scopes, quoted if there is anything in them that a terminal or an eye could take for something else.
func scopes(all []cache.Scope, otherwise string) string {
	var shown []string
	for _, s := range all {
		if q := fmt.Sprintf("%+q", string(s)); s != "" && (q != `"`+string(s)+`"` || strings.ContainsAny(string(s), ", ")) {
			shown = append(shown, q)
		} else if s != "" {
			shown = append(shown, string(s))
		}
	}
	if shown == nil {
		return otherwise
	}
	return strings.Join(shown, ", then ")
}

func writeClaims(b *bytes.Buffer, indent string, claims map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		label := shownClaim(claimName(name))
		switch v := claims[name].(type) {
		case map[string]any:
			fmt.Fprintf(b, "%s%s\n", indent, label)
			writeClaims(b, indent+"  ", v)
		case string:
			fmt.Fprintf(b, "%s%s: %s\n", indent, label, quoted(v))
		default:
			fmt.Fprintf(b, "%s%s: %v\n", indent, label, v)
		}
	}
}

// MarshalJSON writes the decision for programs.
func (d Decision) MarshalJSON() ([]byte, error) {
	out := struct {
		Allowed    bool            `json:"allowed"`
		Workspace  cache.Workspace `json:"workspace,omitempty"`
		Read       []cache.Scope   `json:"read"`
		Write      cache.Scope     `json:"write"`
		Provider   Provider        `json:"provider,omitempty"`
		Bearer     bool            `json:"bearer"`
		Rule       string          `json:"rule,omitempty"`
		Reason     string          `json:"reason"`
		Conditions []Condition     `json:"conditions"`
		Claims     map[string]any  `json:"claims"`
		Producer   cache.Producer  `json:"producer"`
	}{
		d.Allowed, d.Grant.Workspace, d.Grant.Read, d.Grant.Write, d.Provider, d.Bearer, d.Rule, d.Reason, d.Conditions, d.Claims, d.Grant.Producer,
	}
	if out.Read == nil {
		out.Read = []cache.Scope{}
	}
	if out.Conditions == nil {
		out.Conditions = []Condition{}
	}
	return json.Marshal(out)
}
