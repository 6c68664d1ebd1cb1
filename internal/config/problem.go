package config

import (
	"fmt"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/strictyaml"
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

// Error returns the only problem, or a heading and a line for each of the first 100.
func (ps Problems) Error() string { return strictyaml.ListProblems("the configuration", ps) }

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
	if trust.HoldsToken(text) || strings.Contains(text, "@") {
		return "the value (not shown, it may hold a secret)"
	}
	if r := []rune(text); len(r) > longest {
		return fmt.Sprintf("%q...", string(r[:longest]))
	}
	return fmt.Sprintf("%q", text)
}
