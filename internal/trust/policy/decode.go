package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// field is one of a block, as its tags describe it.
type field struct {
	name, help, def, example, key string
	enum                          []string
	required, people, ordered     bool
	empty                         bool // a list may have no items
	index                         int
	typ                           reflect.Type
}

// fields reads the tags of a struct.
func fields(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		f := field{
			name: tag.Get("name"), help: tag.Get("help"), def: tag.Get("default"), example: tag.Get("example"), key: tag.Get("key"),
			required: tag.Get("required") != "", people: tag.Get("people") != "", ordered: tag.Get("ordered") != "", empty: tag.Get("empty") != "",
			index: i, typ: t.Field(i).Type,
		}
		if f.name == "" {
			continue // the place
		}
		if enum := tag.Get("enum"); enum != "" {
			f.enum = strings.Split(enum, ",")
		}
		if f.example == "" {
			f.example, _, _ = strings.Cut(f.def, ",")
		}
		if f.example == "" && f.enum != nil {
			f.example = f.enum[0]
		}
		all = append(all, f)
	}
	return all
}

// sample returns the example as it stands in a file.
func (f field) sample() string {
	if f.typ.Kind() == reflect.Slice {
		return "[" + f.example + "]"
	}
	return f.example
}

// decoder turns what was written into values, and gathers what is wrong with it.
type decoder struct {
	name     string
	problems Problems
	at       map[string]strictyaml.Position // of values, by key
}

// reportAt reports a problem of a value that was read, or of the block that it is missing in.
func (d *decoder) reportAt(key string, f *flaw) {
	for in := key; ; {
		if at, ok := d.at[in]; ok || in == "" {
			d.report(at, key, f)
			return
		}
		in = in[:max(0, strings.LastIndexAny(in, ".["))]
	}
}

func (d *decoder) report(at strictyaml.Position, key string, f *flaw) {
	d.problems = append(d.problems, &Problem{Name: d.name, At: at, Key: key, What: f.what, Hint: f.hint})
}

// block reads a mapping into a struct, and fills in the defaults of what is not there. A zero n is a block that was left out.
func (d *decoder) block(out reflect.Value, n strictyaml.Node, key string) {
	all := fields(out.Type())
	if p := out.FieldByName("Place"); p.IsValid() {
		p.Set(reflect.ValueOf(place{key: key, at: n.At, given: n.Kind == strictyaml.Mapping}))
	}
	prefix := key
	if prefix != "" {
		prefix += "."
	}
	given := d.known(n, all, prefix)
	for _, f := range all {
		to := out.Field(f.index)
		p, ok := given[f.name]
		switch {
		case ok:
			d.value(to, f, p.Value, prefix+f.name)
		case f.required && n.Kind == strictyaml.Mapping:
			hint := "write for example " + f.name + ": " + f.sample()
			if f.example == "" {
				hint = "write it, it has no default"
			}
			d.report(n.At, strings.TrimSuffix(prefix, "."), &flaw{"has no " + f.name, hint})
		case f.def != "":
			d.deflt(to, f)
		case f.typ.Kind() == reflect.Struct:
			d.block(to, strictyaml.Node{}, prefix+f.name)
		}
	}
}

// deflt sets a field to its default.
func (d *decoder) deflt(to reflect.Value, f field) {
	if to.Kind() != reflect.Slice {
		v := to.Addr().Interface().(scalar)
		v.set(strictyaml.Node{Kind: v.kinds()[0], Text: f.def}) // a test holds that defaults can be read
		return
	}
	for text := range strings.SplitSeq(f.def, ",") {
		one := reflect.New(to.Type().Elem())
		one.Interface().(scalar).set(strictyaml.Node{Text: text})
		to.Set(reflect.Append(to, one.Elem()))
	}
}

// value reads what was written for a field.
func (d *decoder) value(to reflect.Value, f field, n strictyaml.Node, key string) {
	_, isScalar := reflect.TypeAssert[scalar](to.Addr())
	d.at[key] = n.At
	switch {
	case n.Kind == strictyaml.Null:
		d.report(n.At, key, &flaw{"has no value", "write one, or take the line out"})
	case isScalar:
		d.item(to, f, n, key)
	case to.Kind() == reflect.Map:
		d.mapping(to, f, n, key)
	case to.Kind() == reflect.Struct:
		d.mappingBlock(to, n, key)
	case !reflect.PointerTo(f.typ.Elem()).Implements(reflect.TypeFor[scalar]()):
		d.blocks(to, n, key)
	default:
		d.list(to, f, n, key)
	}
}

func (d *decoder) mappingBlock(to reflect.Value, n strictyaml.Node, key string) {
	if n.Kind != strictyaml.Mapping {
		d.report(n.At, key, &flaw{"is " + n.Kind.String() + ", not a mapping", "write its fields, each in a line of its own"})
		return
	}
	d.block(to, n, key)
}

// blocks reads one block, or a list of them.
func (d *decoder) blocks(to reflect.Value, n strictyaml.Node, key string) {
	if n.Kind != strictyaml.List {
		one := reflect.New(to.Type().Elem()).Elem()
		d.mappingBlock(one, n, key)
		to.Set(reflect.Append(to, one))
		return
	}
	if len(n.Items) == 0 {
		d.report(n.At, key, &flaw{"is an empty list", "write at least one, or take the line out"})
	}
	for i, item := range n.Items {
		one := reflect.New(to.Type().Elem()).Elem()
		d.at[fmt.Sprintf("%s[%d]", key, i)] = item.At
		d.mappingBlock(one, item, fmt.Sprintf("%s[%d]", key, i))
		to.Set(reflect.Append(to, one))
	}
}

// list reads a list of scalars. None of them may be there twice.
func (d *decoder) list(to reflect.Value, f field, n strictyaml.Node, key string) {
	if n.Kind != strictyaml.List {
		d.report(n.At, key, &flaw{"is " + n.Kind.String() + ", not a list", "write for example " + f.name + ": " + f.sample()})
		return
	}
	if len(n.Items) == 0 && !f.empty {
		d.report(n.At, key, &flaw{"is an empty list", "write at least one, for example " + f.example})
	}
	to.Set(reflect.MakeSlice(to.Type(), 0, len(n.Items)))
	for i, item := range n.Items {
		itemKey := fmt.Sprintf("%s[%d]", key, i)
		one := reflect.New(to.Type().Elem()).Elem()
		if d.item(one, f, item, itemKey) {
			for j := range to.Len() {
				if to.Index(j).Interface() == one.Interface() {
					d.report(item.At, itemKey, &flaw{"is there twice", "take one of them out"})
				}
			}
		}
		to.Set(reflect.Append(to, one))
	}
}

// mapping reads a mapping whose keys are names of workspaces or claims.
func (d *decoder) mapping(to reflect.Value, f field, n strictyaml.Node, key string) {
	if n.Kind != strictyaml.Mapping {
		d.report(n.At, key, &flaw{"is " + n.Kind.String() + ", not a mapping", "write lines of " + f.key + ": value"})
		return
	}
	if len(n.Pairs) == 0 {
		d.report(n.At, key, &flaw{"is empty", "write at least one " + f.key})
	}
	to.Set(reflect.MakeMap(to.Type()))
	first := map[string]strictyaml.Position{}
	for _, p := range n.Pairs {
		pairKey := key + "." + shown(p.Key)
		flawed := plausible(p.Key)
		if flawed == nil {
			flawed = checkKey(f.key, p.Key)
		}
		if flawed == nil {
			if at, twice := first[p.Key]; twice {
				flawed = &flaw{fmt.Sprintf("is there twice, first in line %d", at.Line), "take one of them out"}
			}
		}
		if flawed != nil {
			d.report(p.At, pairKey, flawed)
			continue
		}
		first[p.Key] = p.At
		one := reflect.New(to.Type().Elem()).Elem()
		d.value(one, field{typ: one.Type(), name: p.Key, example: "..."}, p.Value, pairKey)
		to.SetMapIndex(reflect.ValueOf(p.Key), one)
	}
}

func checkKey(kind, name string) *flaw {
	if kind == "workspace" {
		if _, err := cache.ParseWorkspace(name); err != nil {
			return &flaw{quoted(name) + " cannot be the name of a workspace", "write a-z, 0-9, - and _ only, the first a letter or a digit"}
		}
		return nil
	}
	return checkClaimName(name)
}

// item reads one scalar.
func (d *decoder) item(to reflect.Value, f field, n strictyaml.Node, key string) bool {
	v := to.Addr().Interface().(scalar)
	d.at[key] = n.At
	flawed := accepts(v, f, n)
	if flawed == nil {
		flawed = v.set(n)
	}
	if flawed != nil {
		d.report(n.At, key, flawed)
	}
	return flawed == nil
}

// accepts says whether a value of YAML is of a kind that the field can be.
func accepts(v scalar, f field, n strictyaml.Node) *flaw {
	hint := "write for example " + f.name + ": " + f.example
	if !slices.Contains(v.kinds(), n.Kind) {
		want := map[strictyaml.Kind]string{
			strictyaml.Text: "a text", strictyaml.Integer: "a number", strictyaml.Boolean: "true or false", strictyaml.Mapping: "a mapping",
		}[v.kinds()[0]]
		if n.Kind == strictyaml.Integer || n.Kind == strictyaml.Boolean {
			hint += "; put a text that looks like something else in quotes"
		}
		return &flaw{"is " + n.Kind.String() + ", not " + want, hint}
	}
	if n.Kind == strictyaml.Text {
		if flawed := plausible(n.Text); flawed != nil {
			return flawed
		}
	}
	if f.enum != nil && !slices.Contains(f.enum, n.Text) {
		return &flaw{quoted(n.Text) + " is none of its values", "write " + strings.Join(f.enum[:len(f.enum)-1], ", ") + " or " + f.enum[len(f.enum)-1]}
	}
	return nil
}

// known returns the pairs of a mapping by key, and reports keys that are unknown or there twice.
func (d *decoder) known(n strictyaml.Node, all []field, prefix string) map[string]strictyaml.Pair {
	var names []string
	for _, f := range all {
		names = append(names, f.name)
	}
	values := map[string]strictyaml.Pair{}
	for _, p := range n.Pairs {
		first, twice := values[p.Key]
		switch {
		case !slices.Contains(names, p.Key):
			d.report(p.At, prefix+shown(p.Key), &flaw{"there is no such field", strictyaml.Suggest(p.Key, names, "the fields are "+strings.Join(names, ", "))})
		case twice:
			d.report(p.At, prefix+p.Key, &flaw{fmt.Sprintf("is there twice, first in line %d", first.At.Line), "take one of them out"})
		default:
			values[p.Key] = p
		}
	}
	return values
}

// shown returns a key as messages show it: not at all, if it is too long or no plain text.
func shown(key string) string {
	if len(key) > 60 || plausible(key) != nil || secretLike.MatchString(key) {
		return "(a key that is not shown)"
	}
	return key
}
