package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// scalar is a value that takes no fields.
type scalar interface {
	// kinds are the ways in which YAML may write it. The first is that of defaults.
	kinds() []strictyaml.Kind
	// set reads a value of one of these kinds.
	set(n strictyaml.Node) *flaw
}

type (
	version      int
	audience     string
	text         string // for people, or compared byte by byte
	choice       string // one of the field's enum
	yesNo        bool
	id           string // a positive number in decimal digits
	issuer       string // a URL, compared byte by byte
	keys         string // a URL
	branch       string // a name without refs/heads/, or with /* at its end
	githubEvent  string
	gitlabSource string
	providerName string
	claimName    string // at the top, or a JSON Pointer (RFC 6901) that begins with /
	duration     time.Duration
	size         int64
	age          int64 // nanoseconds; -1: never
	claimValue   struct {
		Kind strictyaml.Kind
		Text string
	}
)

const (
	maxText     = 512 // bytes of a value
	maxIDDigits = 20  // as many as an unsigned number of 64 bits has
)

var textOnly = []strictyaml.Kind{strictyaml.Text}

func (version) kinds() []strictyaml.Kind      { return []strictyaml.Kind{strictyaml.Integer} }
func (audience) kinds() []strictyaml.Kind     { return textOnly }
func (text) kinds() []strictyaml.Kind         { return textOnly }
func (choice) kinds() []strictyaml.Kind       { return textOnly }
func (yesNo) kinds() []strictyaml.Kind        { return []strictyaml.Kind{strictyaml.Boolean} }
func (id) kinds() []strictyaml.Kind           { return []strictyaml.Kind{strictyaml.Integer, strictyaml.Text} }
func (issuer) kinds() []strictyaml.Kind       { return textOnly }
func (keys) kinds() []strictyaml.Kind         { return textOnly }
func (branch) kinds() []strictyaml.Kind       { return textOnly }
func (githubEvent) kinds() []strictyaml.Kind  { return textOnly }
func (gitlabSource) kinds() []strictyaml.Kind { return textOnly }
func (providerName) kinds() []strictyaml.Kind { return textOnly }
func (claimName) kinds() []strictyaml.Kind    { return textOnly }
func (duration) kinds() []strictyaml.Kind     { return textOnly }
func (size) kinds() []strictyaml.Kind         { return []strictyaml.Kind{strictyaml.Text, strictyaml.Integer} }
func (age) kinds() []strictyaml.Kind          { return textOnly }
func (claimValue) kinds() []strictyaml.Kind {
	return []strictyaml.Kind{strictyaml.Text, strictyaml.Integer, strictyaml.Boolean}
}

func (v *version) set(n strictyaml.Node) *flaw {
	if n.Text != "1" {
		return &flaw{quoted(n.Text) + " is a version that this server does not know", "write 1"}
	}
	*v = 1
	return nil
}

func (v *audience) set(n strictyaml.Node) *flaw {
	if strings.HasPrefix(strings.ToLower(n.Text), "https://github.com/") {
		return &flaw{quoted(n.Text) + " is the audience that GitHub gives to tokens for nobody in particular", "write a name that only this server uses, for example its URL"}
	}
	*v = audience(n.Text)
	return nil
}

func (v *text) set(n strictyaml.Node) *flaw   { *v = text(n.Text); return nil }    //nolint:unparam // as all scalars
func (v *choice) set(n strictyaml.Node) *flaw { *v = choice(n.Text); return nil }  //nolint:unparam // as all scalars
func (v *yesNo) set(n strictyaml.Node) *flaw  { *v = yesNo(n.True()); return nil } //nolint:unparam // as all scalars

func (v *id) set(n strictyaml.Node) *flaw {
	if !isID(n.Text) {
		return &flaw{quoted(n.Text) + " is no id", "write the number, in decimal digits and without leading zeros"}
	}
	*v = id(n.Text)
	return nil
}

// isID says whether text is a positive number as CIs write ids.
func isID(text string) bool {
	return strictyaml.Digits(text) && text != "0" && len(text) <= maxIDDigits
}

func (v *issuer) set(n strictyaml.Node) *flaw { *v = issuer(n.Text); return checkURL(n.Text) }
func (v *keys) set(n strictyaml.Node) *flaw   { *v = keys(n.Text); return checkURL(n.Text) }

// checkURL refuses what must not be fetched. Nothing is normalised: the issuer is compared with "iss" as it stands.
func checkURL(text string) *flaw {
	const hint = "write for example https://gitlab.example.com"
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return &flaw{quoted(text) + " is not an https URL", hint}
	case u.User != nil:
		return &flaw{"holds a user name or password (not shown)", hint}
	case strings.ContainsAny(text, "?#"):
		return &flaw{quoted(text) + " has a query or a fragment", hint}
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return &flaw{quoted(text) + " is an http URL, and whoever is on the way could put in keys of their own", "write https; http is for this machine alone, as in http://127.0.0.1:8080"}
	}
	return nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// queuePrefix begins the branches that GitHub makes for merge queues.
const queuePrefix = "gh-readonly-queue/"

func (v *branch) set(n strictyaml.Node) *flaw {
	name := strings.TrimSuffix(n.Text, "/*")
	switch {
	case strings.HasPrefix(name+"/", "refs/"):
		return &flaw{quoted(n.Text) + " begins with refs/", "write the name of the branch alone, for example main"}
	case strings.HasPrefix(name+"/", queuePrefix):
		return &flaw{quoted(n.Text) + " is of a merge queue, whose code is not merged yet", "write merge_queue: trusted, if that is what you want"}
	case strings.ContainsAny(name, "*?["):
		return &flaw{quoted(n.Text) + " is a pattern", "write each name out; the one pattern that there is, is /* at the end, for one more part: release/*"}
	case !isBranch(name):
		return &flaw{quoted(n.Text) + " cannot be the name of a branch", "write it as git branch shows it, for example main"}
	}
	*v = branch(n.Text)
	return nil
}

// isBranch knows the rules of git-check-ref-format(1), as far as they keep slips out.
func isBranch(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return name[0] != '-' && name != "@" && !strings.HasSuffix(name, ".") &&
		!strings.Contains(name, "..") && !strings.Contains(name, "@{") && !strings.ContainsAny(name, " ~^:\\")
}

// pattern returns what stands before the last part of a branch with /* at its end.
func (v branch) pattern() (string, bool) { return strings.CutSuffix(string(v), "*") }

// matches says whether a full ref is the branch: byte by byte, and for a pattern with exactly one part more.
func (v branch) matches(ref string) bool {
	name, ok := strings.CutPrefix(ref, headsPrefix)
	if before, isPattern := v.pattern(); isPattern {
		last, below := strings.CutPrefix(name, before)
		return ok && below && last != "" && !strings.Contains(last, "/")
	}
	return ok && name == string(v)
}

// known are the values of events and sources that may be trusted, and words for those that never may.
func known(value, field string, allowed []string, never func(string) string) *flaw {
	if slices.Contains(allowed, value) {
		return nil
	}
	if why := never(value); why != "" {
		return &flaw{quoted(value) + " must never be trusted: " + why, "take it out; the values are " + strings.Join(allowed, ", ")}
	}
	return &flaw{quoted(value) + " is none of the " + field + " that can be trusted", strictyaml.Suggest(value, allowed, "the values are "+strings.Join(allowed, ", "))}
}

var (
	trustableEvents  = []string{"push", "schedule", "workflow_dispatch", "repository_dispatch"}
	trustableSources = []string{"push", "schedule", "parent_pipeline"}
)

func (v *githubEvent) set(n strictyaml.Node) *flaw {
	*v = githubEvent(n.Text)
	return known(n.Text, "events", trustableEvents, func(event string) string {
		switch {
		case event == "merge_group":
			return "its code is not merged yet; merge_queue: trusted says that it is to be trusted all the same"
		case strings.HasPrefix(event, "pull_request"), slices.Contains(besideEvents, event):
			return "it runs on the default branch or a merged ref for whatever somebody else set off"
		}
		return ""
	})
}

func (v *gitlabSource) set(n strictyaml.Node) *flaw {
	*v = gitlabSource(n.Text)
	return known(n.Text, "sources", trustableSources, func(source string) string {
		switch {
		case source == "merge_request_event", source == "external_pull_request_event":
			return "its code is not merged yet"
		case slices.Contains(byHandSources, source):
			return "whoever starts it chooses its variables"
		}
		return ""
	})
}

func (v *providerName) set(n strictyaml.Node) *flaw {
	// The same letters as in a workspace's name.
	if _, err := cache.ParseWorkspace(n.Text); err != nil {
		return &flaw{quoted(n.Text) + " cannot be the name of a CI", "write a-z, 0-9, - and _ only, for example buildkite"}
	}
	*v = providerName(n.Text)
	return nil
}

func (v *claimName) set(n strictyaml.Node) *flaw {
	*v = claimName(n.Text)
	return checkClaimName(n.Text)
}

func checkClaimName(name string) *flaw {
	if slices.Contains([]string{"iss", "aud", "exp", "iat", "nbf", "jti"}, name) {
		return &flaw{quoted(name) + " says nothing about who built what", "write another claim"}
	}
	return checkPointer(name)
}

func checkPointer(name string) *flaw {
	const hint = "write the claim's name, or a JSON Pointer such as /kubernetes.io/namespace"
	if rest, ok := strings.CutPrefix(name, "/"); ok {
		if !strings.Contains(rest, "/") {
			return &flaw{quoted(name) + " is a JSON Pointer to a claim that is not inside another one", "write its name alone, so that each claim has one name"}
		}
		for part := range strings.SplitSeq(rest, "/") {
			if part == "" || strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(part), "~") {
				return &flaw{quoted(name) + " is no JSON Pointer", hint}
			}
		}
	}
	return nil
}

// path returns the names that lead to the claim.
func (v claimName) path() []string {
	rest, ok := strings.CutPrefix(string(v), "/")
	if !ok {
		return []string{string(v)}
	}
	parts := strings.Split(rest, "/")
	for i, part := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
	}
	return parts
}

func (v *claimValue) set(n strictyaml.Node) *flaw {
	if n.Kind == strictyaml.Integer && !strictyaml.Digits(strings.TrimPrefix(n.Text, "-")) {
		return &flaw{quoted(n.Text) + " is not written as tokens write numbers", "write decimal digits, or put it in quotes if the claim is a text"}
	}
	*v = claimValue{Kind: n.Kind, Text: n.Text}
	if n.Kind == strictyaml.Boolean {
		v.Text = fmt.Sprint(n.True())
	}
	return nil
}

// equals compares with a claim: the same type, and the same bytes.
func (v claimValue) equals(claim any) bool {
	switch c := claim.(type) {
	case string:
		return v.Kind == strictyaml.Text && c == v.Text
	case bool:
		return v.Kind == strictyaml.Boolean && fmt.Sprint(c) == v.Text
	case json.Number:
		return v.Kind == strictyaml.Integer && string(c) == v.Text
	}
	return false
}

func (v claimValue) String() string {
	if v.Kind == strictyaml.Text {
		return quoted(v.Text)
	}
	return v.Text
}

func (v *duration) set(n strictyaml.Node) *flaw {
	d, err := time.ParseDuration(n.Text)
	if err != nil {
		return &flaw{quoted(n.Text) + " is not a duration", "write a number with a unit: 30m, 1h"}
	}
	if d < time.Minute || d > 24*time.Hour {
		return &flaw{quoted(n.Text) + " is too short or too long", "write 1m to 24h"}
	}
	*v = duration(d)
	return nil
}

func (v *size) set(n strictyaml.Node) *flaw {
	bytes, ok := strictyaml.ParseSize(n.Text)
	if !ok || bytes == 0 {
		return &flaw{quoted(n.Text) + " is not a size", "write a whole number of bytes, or with a unit: 500MB, 200GiB (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB, PiB)"}
	}
	*v = size(bytes)
	return nil
}

const (
	never  = -1
	day    = 24 * time.Hour
	minAge = time.Hour
	maxAge = 3650 * day
)

func (v *age) set(n strictyaml.Node) *flaw {
	const hint = "write days or hours, such as 30d or 12h, or never"
	if n.Text == "never" {
		*v = never
		return nil
	}
	var number string
	unit := day
	if digits, ok := strings.CutSuffix(n.Text, "d"); ok {
		number = digits
	} else if digits, ok := strings.CutSuffix(n.Text, "h"); ok {
		number, unit = digits, time.Hour
	} else {
		return &flaw{quoted(n.Text) + " is not a number of days or hours", hint}
	}
	count, err := strconv.ParseInt(number, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || !strictyaml.Digits(number) {
		return &flaw{quoted(n.Text) + " is not a number of days or hours", hint}
	}
	if count < int64(minAge/unit) || count > int64(maxAge/unit) || count == 0 {
		return &flaw{quoted(n.Text) + " is too short or too long", "write 1h to 3650d, or never"}
	}
	*v = age(time.Duration(count) * unit)
	return nil
}

// bound is the age, 0 for never.
func (v age) bound() time.Duration { return time.Duration(max(0, v)) }

// plausible refuses texts that no field can have, and that no message should show.
func plausible(text string) *flaw {
	switch {
	case text == "":
		return &flaw{"is empty", "write a value, or take the line out"}
	case len(text) > maxText:
		return &flaw{fmt.Sprintf("is longer than %d bytes", maxText), "write a shorter value"}
	case !clean(text):
		return &flaw{"holds a character that cannot be printed or compared", "write it on one line, without control characters"}
	}
	return nil
}

// clean says whether a text can be shown and compared. U+FFFD is what a decoder leaves of bytes that are no text: of two texts with it nobody knows whether they were the same.
func clean(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || unicode.IsControl(r) })
}
