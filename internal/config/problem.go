package config

import (
	"fmt"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/trust"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Source is where it was written.
	Source Source
	// Key is the setting, with the place inside it: "tokens[0].hash".
	Key string
	// What is wrong. It never holds a secret.
	What string
	// Hint says what to write instead.
	Hint string
}

// Error returns the problem in one line.
func (p *Problem) Error() string {
	var b strings.Builder
	if where := p.Source.where(); where != "" {
		b.WriteString(where + ": ")
	}
	// The name of a flag or variable says the key already, unless the problem is inside a list.
	if p.Key != "" && (p.Source.Layer == File || p.Source.Layer == Default || strings.ContainsAny(p.Key, "[.")) {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.What)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Problems are all problems of a configuration: those of the file from top to bottom, then of the
// environment, of flags, and of settings that do not go together.
type Problems []*Problem

// maxShown bounds the problems in one message.
const maxShown = 100

// Error returns the only problem, or a heading and a line for each of the first 100.
func (ps Problems) Error() string {
	if len(ps) == 1 {
		return ps[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the configuration has %d problems:", len(ps))
	for _, p := range ps[:min(len(ps), maxShown)] {
		b.WriteString("\n  " + p.Error())
	}
	if more := len(ps) - maxShown; more > 0 {
		fmt.Fprintf(&b, "\n  and %d more", more)
	}
	return b.String()
}

// Unwrap returns the problems, for errors.As.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// flaw is a problem before it is known where it was written.
type flaw struct{ what, hint string }

func (f *flaw) Error() string { return f.what + "; " + f.hint }

// quoted shows a value in a message: cut short, and not at all if it may hold a secret.
func quoted(text string) string {
	const longest = 60
	if strings.Contains(text, trust.TokenPrefix) || strings.Contains(text, "@") {
		return "the value (not shown, it may hold a secret)"
	}
	if r := []rune(text); len(r) > longest {
		return fmt.Sprintf("%q...", string(r[:longest]))
	}
	return fmt.Sprintf("%q", text)
}

// suggest returns a hint with the name that is nearest to the one that was not found, or otherwise.
func suggest(name string, known []string, otherwise string) string {
	fold := strings.NewReplacer("-", "", "_", "", " ", "")
	folded := fold.Replace(strings.ToLower(name))
	if len(folded) > 64 {
		return otherwise
	}
	best, least := "", max(2, len(folded)/4)+1
	for _, k := range known {
		if d := distance(folded, fold.Replace(strings.ToLower(k))); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return otherwise
	}
	return "did you mean " + best + "?"
}

// distance counts the bytes to insert, delete or replace to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
