package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// Problem is one thing that is wrong with a policy or with a file of tests.
type Problem struct {
	// Name is that of the file, At the place in it.
	Name string
	At   strictyaml.Position
	// Key is the field, with the place inside the file: "workspaces.web.github.trusted.branches[0]".
	Key string
	// What is wrong, and what to write instead.
	What, Hint string
}

// Error returns the problem in one line.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Name)
	if p.At.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.At.Line, p.At.Column)
	}
	if p.Key != "" {
		b.WriteString(": " + p.Key)
	}
	return b.String() + ": " + p.What + "; " + p.Hint
}

// Problems are all problems of a file, from top to bottom.
type Problems []*Problem

// Error returns the only problem, or a heading and a line for each of the first 100.
func (ps Problems) Error() string { return strictyaml.ListProblems(ps[0].Name, ps) }

// Unwrap returns the problems, for errors.As.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b *Problem) int {
		if a.At.Line != b.At.Line {
			return a.At.Line - b.At.Line
		}
		return a.At.Column - b.At.Column
	})
}

// flaw is a problem before it is known where it was written.
type flaw struct{ what, hint string }

// secretLike finds what may be a token, of ours or of a CI, that somebody put in the wrong place.
var secretLike = regexp.MustCompile(`(bz[a-z]_|eyJ)[A-Za-z0-9_-]{16,}`)

// quoted shows a text in one line of printable ASCII, cut short, and not at all if it may hold a secret.
func quoted(text string) string {
	const longest = 100
	if secretLike.MatchString(text) {
		return "a value that is not shown, because it may be a secret"
	}
	if r := []rune(text); len(r) > longest {
		return strconv.QuoteToASCII(string(r[:longest])) + "..."
	}
	return strconv.QuoteToASCII(text)
}
