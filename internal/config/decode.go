package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// decoder turns what was written into values, and gathers what is wrong with it.
type decoder struct {
	problems Problems
	// abs makes a path that was written at a source absolute.
	abs func(path string, at Source) (string, error)
}

func (d *decoder) report(at Source, key string, err error) {
	p := &Problem{Source: at, Key: key, What: err.Error()}
	if f, ok := errors.AsType[*flaw](err); ok {
		p.What, p.Hint = f.what, f.hint
	}
	d.problems = append(d.problems, p)
}

// setting reads n as a value of s; key is what messages call it.
func (d *decoder) setting(s *setting, n node, key string) (reflect.Value, bool) {
	if n.kind == null {
		d.report(n.at, key, &flaw{"has no value", "write one, or take the line out"})
		return reflect.Value{}, false
	}
	if !s.list {
		return d.item(s, n, key)
	}
	if n.kind != list {
		d.report(n.at, key, &flaw{"is " + n.kind.String() + ", not a list", "write each item in a line of its own that begins with -"})
		return reflect.Value{}, false
	}
	if len(n.items) == 0 && s.def != "" {
		d.report(n.at, key, &flaw{"is an empty list", "write at least one, for example " + s.example})
		return reflect.Value{}, false
	}
	all, good := reflect.MakeSlice(reflect.SliceOf(s.typ), 0, len(n.items)), true
	for i, item := range n.items {
		itemKey := key
		if len(n.items) > 1 || item.at.Layer == File {
			itemKey = fmt.Sprintf("%s[%d]", key, i)
		}
		v, ok := d.item(s, item, itemKey)
		if good = good && ok; ok {
			all = reflect.Append(all, v)
		}
	}
	if all.Len() == 0 {
		// So that "none" is one value, however it was written.
		all = reflect.Zero(all.Type())
	}
	return all, good
}

func (d *decoder) item(s *setting, n node, key string) (reflect.Value, bool) {
	if s.typ == reflect.TypeFor[Token]() {
		return d.token(n, key)
	}
	if err := s.accepts(n); err != nil {
		d.report(n.at, key, err)
		return reflect.Value{}, false
	}
	v, err := s.parse(n.text)
	if path, ok := v.(Path); ok && err == nil {
		var abs string
		if abs, err = d.abs(string(path), n.at); err == nil {
			v = Path(abs)
		}
	}
	if err != nil {
		d.report(n.at, key, err)
		return reflect.Value{}, false
	}
	return reflect.ValueOf(v), true
}

// accepts says whether a value of YAML is of a type that the setting can be.
func (s *setting) accepts(n node) error {
	hint := "write for example " + s.example
	if s.example == "" {
		hint = "write a text"
	}
	isNumber := s.typ == reflect.TypeFor[int]()
	measures := slices.Contains([]reflect.Type{
		reflect.TypeFor[Size](), reflect.TypeFor[UpTo](), reflect.TypeFor[time.Duration](), reflect.TypeFor[Wait](),
	}, s.typ)
	switch {
	case n.kind == plain:
		return nil
	case n.kind == integer && (isNumber || measures):
		return nil
	case n.kind == str && isNumber && strictyaml.Digits(n.text) && len(n.text) < 19: // longer ones are texts to the parser
		return &flaw{"is a text, not a whole number", "write it without quotes"}
	case n.kind == str:
		return nil
	case n.kind == integer:
		return &flaw{"is a number, not a text", hint + "; put a text that looks like a number in quotes"}
	case n.kind == null:
		return &flaw{"has no value", "write one, or take the line out"}
	}
	return &flaw{"is " + n.kind.String(), hint}
}

func (d *decoder) token(n node, key string) (reflect.Value, bool) {
	if n.kind == plain {
		line, err := parseTokenLine(n.text, n.at)
		if err != nil {
			d.report(n.at, key, err)
			return reflect.Value{}, false
		}
		n = line
	}
	if n.kind != mapping {
		d.report(n.at, key, &flaw{"is " + n.kind.String() + ", not a mapping", "write its fields, for example {name: ci, access: trusted, hash: \"sha256:...\"}"})
		return reflect.Value{}, false
	}
	out, before := reflect.New(reflect.TypeFor[Token]()).Elem(), len(d.problems)
	all := fields(out.Type())
	given := d.known(n, all, key+".")
	for _, s := range all {
		p, ok := given[s.name]
		switch value := p.value; {
		case !ok && s.required:
			d.report(n.at, key, &flaw{"has no " + s.name, "write for example " + s.name + ": " + s.example})
		case !ok && s.def != "":
			value = node{at: n.at, kind: plain, text: s.def}
			fallthrough
		case ok:
			if v, ok := d.setting(s, value, key+"."+s.name); ok {
				out.Field(s.field).Set(v)
			}
		}
	}
	return out, len(d.problems) == before
}

// known returns the pairs of a mapping by key, and reports keys that are unknown or there twice.
func (d *decoder) known(n node, all []*setting, prefix string) map[string]pair {
	var names []string
	for _, s := range all {
		names = append(names, s.name)
	}
	otherwise := "the fields are " + strings.Join(names, ", ")
	if prefix == "" {
		otherwise = "bezoar serve --help lists all settings"
	}
	values := map[string]pair{}
	for _, p := range n.pairs {
		key := prefix + p.key
		if quoted(p.key)[0] != '"' || len(p.key) > 60 || plausible(p.key, false) != nil {
			key = prefix + "(a key that is not shown)"
		}
		first, twice := values[p.key]
		switch {
		case p.key == configName && prefix == "":
			d.report(p.at, key, &flaw{"is a flag and an environment variable only", "take the line out"})
		case !slices.Contains(names, p.key):
			d.report(p.at, key, &flaw{"there is no such setting", strictyaml.Suggest(p.key, names, otherwise)})
		case twice:
			what := "is there twice"
			if p.at.Layer == File {
				what += fmt.Sprintf(", first in line %d", first.at.Line)
			}
			d.report(p.at, key, &flaw{what, "take one of them out"})
		default:
			values[p.key] = p
		}
	}
	return values
}
