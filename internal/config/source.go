package config

import "fmt"

// Layer is one of the places that a setting comes from. A later one wins over an earlier one.
type Layer int

// The layers, weakest first.
const (
	Default Layer = iota
	File
	Environment
	Flag
)

// Source is where a setting was written.
type Source struct {
	Layer Layer
	// Name is that of the file, variable or flag; for a default the variable that it was taken from, if any.
	Name string
	// Line and Column count from 1; 0 outside of files and for a file as a whole.
	Line, Column int
}

// String returns "default", "/etc/bezoar.yaml:3", "BEZOAR_LISTEN" or "--listen".
func (s Source) String() string {
	switch {
	case s.Layer == Default && s.Name != "":
		return "default, from " + s.Name
	case s.Layer == Default:
		return "default"
	case s.Layer == File && s.Line > 0:
		return fmt.Sprintf("%s:%d", s.Name, s.Line)
	case s.Layer == Flag:
		return "--" + s.Name
	}
	return s.Name
}

// where names the place in the beginning of a problem.
func (s Source) where() string {
	switch s.Layer {
	case File:
		if s.Line == 0 {
			return s.Name
		}
		return fmt.Sprintf("%s:%d:%d", s.Name, s.Line, s.Column)
	case Environment:
		return "environment variable " + s.Name
	case Flag:
		return "flag --" + s.Name
	}
	return ""
}

// Sources says where each setting of a [Config] came from.
type Sources struct {
	// Warnings are things to tell the operator that do not keep the server from starting, a line each.
	Warnings []string

	of    map[string]Source
	items map[string][]Source
}

// Of returns the source of the setting called name. For a secret that came from a file it is the source of the
// name of that file.
func (s *Sources) Of(name string) Source { return s.of[name] }
