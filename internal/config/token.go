package config

import (
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// Token is a static token, known by its hash alone.
type Token struct {
	Name      TokenName       `name:"name" required:"true" example:"ci" help:"Name of the token, for logs: letters, digits and . _ - @"`
	Workspace cache.Workspace `name:"workspace" default:"default" help:"Workspace that it opens"`
	Access    string          `name:"access" required:"true" enum:"read,isolated,trusted" example:"trusted" help:"What it may do"`
	Developer Developer       `name:"developer" example:"jo" help:"Whose token it is, with access isolated: it writes what all tokens of that person read, instead of what it alone reads"`
	Hash      trust.TokenHash `name:"hash" required:"true" example:"sha256:..." help:"sha256: and the SHA-256 of the token in 64 hexadecimal digits"`
	Expires   time.Time       `name:"expires" example:"2027-01-01" help:"When it ends: a date (its first moment in UTC) or a time as in RFC 3339; never, if left out"`
}

// TokenName is the name of a token; see [trust.ParseTokenName].
type TokenName string

// Developer is the name of a person; see [trust.ParseDeveloper].
type Developer string

// String tells the token without its hash.
func (t Token) String() string {
	s := string(t.Name) + " (workspace " + string(t.Workspace) + ", " + t.Access
	if t.Developer != "" {
		s += ", developer " + string(t.Developer)
	}
	if !t.Expires.IsZero() {
		s += ", expires " + t.Expires.Format(time.RFC3339Nano)
	}
	return s + ")"
}

func parseDeveloper(text string) (any, error) {
	name, err := trust.ParseDeveloper(text)
	if err != nil {
		return nil, &flaw{quoted(text) + " is no name: " + err.Error(), "write for example jo"}
	}
	return Developer(name), nil
}

func parseTokenName(text string) (any, error) {
	if trust.HoldsToken(text) {
		return nil, &flaw{"is a token, not its name (not shown)", "write for example ci"}
	}
	name, err := trust.ParseTokenName(text)
	if err != nil {
		return nil, &flaw{quoted(text) + " is no name: " + err.Error(), "write for example ci"}
	}
	return TokenName(name), nil
}

func parseWorkspace(text string) (any, error) {
	w, err := cache.ParseWorkspace(text)
	if err != nil {
		return nil, &flaw{quoted(text) + " is " + err.Error(), "write for example " + string(cache.DefaultWorkspace)}
	}
	return w, nil
}

// parseTokenHash shows nothing of text: whoever mixes up a token and its hash must not find it in a log.
func parseTokenHash(text string) (any, error) {
	const hint = "write sha256: and 64 hexadecimal digits, as from: printf %s \"$TOKEN\" | sha256sum"
	if trust.HoldsToken(text) {
		return nil, &flaw{"is a token, not its hash (not shown)", hint}
	}
	h, err := trust.ParseTokenHash(text)
	if err != nil {
		return nil, &flaw{"is not the hash of a token (not shown)", hint}
	}
	return h, nil
}

func parseExpiry(text string) (any, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t, err = time.Parse(time.DateOnly, text)
	}
	// The bounds keep a slip of the keyboard out, and years that RFC 3339 cannot write in UTC.
	if t = t.UTC(); err != nil || t.Year() < 2000 || t.Year() > 9998 {
		return nil, &flaw{quoted(text) + " is not a date", "write for example 2027-01-01 or 2027-01-01T12:00:00Z"}
	}
	return t, nil
}

// parseTokenLine splits the one-line form of a token, name=ci;access=read;hash=..., into its fields.
func parseTokenLine(text string, at Source) (node, error) {
	const hint = "write name=ci;workspace=web;access=trusted;hash=sha256:...;expires=2027-01-01"
	n := node{at: at, kind: mapping}
	for part := range strings.SplitSeq(strings.TrimSuffix(text, ";"), ";") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return node{}, &flaw{"is not a list of field=value with semicolons between them (not shown)", hint}
		}
		n.pairs = append(n.pairs, pair{key: key, at: at, value: node{at: at, kind: plain, text: value}})
	}
	return n, nil
}
