package doctor

import (
	"context"
	"regexp"
	"strings"
)

// placeholder matches what people leave in place of a token, and what CI systems leave when they expand nothing.
var placeholder = regexp.MustCompile(`(?i)^(\$\{?[a-z_{(].*|%[a-z_]+%|<.*>|\*+|x{3,}|change-?me|(my|your)[-_ ]?(access[-_ ]?)?token.*|token|secret|todo|undefined|null|none)$`)

// checkTokenFormat looks at the token as a header value. Nx's client makes the header when it starts and panics
// if it cannot: nx 20.8.4 and 24.0.6 then abort the whole process ("from_str should not throw here.").
func (e *exam) checkTokenFormat(context.Context) {
	f := Finding{ID: IDTokenFormat, Details: Details{"set": e.token.Set, "empty": e.token.Value == ""}}
	t := e.token.Value
	control := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
	switch {
	case !e.token.Set:
		e.ok(IDTokenFormat, f.Details, "no token is set: requests carry no credential")
		return
	case t == "":
		f.Status, f.Title = Warn, "the token is set but empty"
		f.Means = "Nx sends a bare \"Bearer\". That is usual for a fork's pull request, which gets no secrets; elsewhere a secret is missing."
		f.Do = "If this build should have a token, check the name of the secret and who may read it."
	case strings.ContainsFunc(t, control):
		f.Status, f.Title = Fail, "the token has a line break or another control character in it"
		f.Means = "Nx crashes as it starts, before the first task."
		f.Do = "Store the secret anew without the line break, for example with printf instead of echo."
		e.blocked = "the token cannot be sent"
	case len(t) >= 2 && strings.ContainsRune("\"'`", rune(t[0])) && t[0] == t[len(t)-1]:
		f.Status, f.Title = Warn, "the token is in quotes"
		f.Means = "Nx sends the quotes as a part of it: the server sees another token."
		f.Do = "Remove the quotes from the secret."
	case strings.TrimSpace(t) == "":
		f.Status, f.Title = Warn, "the token is nothing but blanks"
		f.Means = "Nx sends a bare \"Bearer\"."
		f.Do = "Store the secret anew."
	case strings.TrimSpace(t) != t:
		f.Status, f.Title = Warn, "the token begins or ends with blanks"
		f.Means = "Nx sends them. Some servers and proxies trim them, some refuse the token."
		f.Do = "Remove the blanks from the secret."
	case strings.HasPrefix(strings.ToLower(t), "bearer "):
		f.Status, f.Title = Warn, "the token begins with \"Bearer\""
		f.Means = "Nx writes that word itself: the server sees it twice."
		f.Do = "Remove it from the secret."
	case placeholder.MatchString(t):
		f.Status, f.Title = Warn, "the token looks like a placeholder that nobody replaced"
		f.Means = "The server most likely does not know it."
		f.Do = "Check how " + TokenVariable + " gets its value."
	case strings.ContainsAny(t, " \t") || strings.ContainsFunc(t, func(r rune) bool { return r > 0x7e }):
		f.Status, f.Title = Warn, "the token has blanks or letters beyond ASCII in it"
		f.Means = "No common kind of token has (RFC 6750, section 2.1). Proxies may refuse the header."
		f.Do = "Check that the secret is the token and nothing else."
	default:
		e.ok(IDTokenFormat, f.Details, "the token is well-formed")
		return
	}
	e.add(f)
}
