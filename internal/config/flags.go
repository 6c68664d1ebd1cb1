package config

import (
	"reflect"
	"strings"

	"github.com/spf13/pflag"
)

// flagValue keeps what was written on the command line. It takes everything: [Load] judges flags
// together with the rest, so that all problems are told at once.
type flagValue struct {
	setting *setting // nil for --config
	texts   []string
}

// Flags registers a flag for every setting, and --config. The set keeps what it parses; give it to [Load].
func Flags(fs *pflag.FlagSet) {
	fs.SortFlags = false // the help keeps the order of the struct: what belongs together stands together
	fs.VarPF(&flagValue{}, configName, "", "YAML file with settings; flags and environment variables win over it")
	for _, s := range settings() {
		help := s.help
		if s.list {
			help += "; repeatable"
		}
		fs.VarPF(&flagValue{setting: s}, s.name, "", help)
	}
}

// Set keeps text. It never fails.
func (f *flagValue) Set(text string) error {
	f.texts = append(f.texts, text)
	return nil
}

// Type names the type in the help.
func (f *flagValue) Type() string {
	if f.setting == nil {
		return "path"
	}
	return f.setting.metavar()
}

// String returns the default while nothing is set, for the help, and never a secret.
func (f *flagValue) String() string {
	switch {
	case f.setting == nil:
		return strings.Join(f.texts, ",")
	case len(f.texts) == 0:
		return f.setting.deflt()
	case f.setting.typ == reflect.TypeFor[Secret]() || f.setting.typ == reflect.TypeFor[Token]():
		return Redacted
	}
	return strings.Join(f.texts, ",")
}

// flagTexts returns what was written for the flag called name, or nil.
func flagTexts(fs *pflag.FlagSet, name string) []string {
	if f := fs.Lookup(name); f != nil && f.Changed {
		if v, ok := f.Value.(*flagValue); ok {
			return v.texts
		}
	}
	return nil
}

// flagNode makes a node of what was written for s. Of a setting that is no list, the last one counts, as everywhere.
func flagNode(s *setting, texts []string) node {
	at := Source{Layer: Flag, Name: s.name}
	if !s.list {
		return node{at: at, kind: plain, text: texts[len(texts)-1]}
	}
	n := node{at: at, kind: list}
	for _, text := range texts {
		parts := []string{text}
		if s.typ != reflect.TypeFor[Token]() {
			parts = strings.Split(text, ",")
		}
		for _, part := range parts {
			n.items = append(n.items, node{at: at, kind: plain, text: strings.TrimSpace(part)})
		}
	}
	return n
}
