package config

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// Schema returns the JSON Schema (draft 2020-12) of the file, for editors. It is made from the types. [Load] is stricter: it
// knows what settings go together, and which texts are URLs and dates.
func Schema() ([]byte, error) {
	r := &jsonschema.Reflector{
		Anonymous: true, ExpandedStruct: true, DoNotReference: true,
		FieldNameTag: "name", RequiredFromJSONSchemaTags: true,
		Mapper: typeSchema,
	}
	root := r.Reflect(&Config{})
	root.Title = "Configuration of bezoar serve"
	describe(root, settings())
	if tokens, ok := root.Properties.Get("tokens"); ok {
		describe(tokens.Items, fields(reflect.TypeFor[Token]()))
	}
	b, err := json.MarshalIndent(root, "", "  ")
	return append(b, '\n'), err
}

// describe adds to the properties of an object what the tags of its settings say.
func describe(object *jsonschema.Schema, all []*setting) {
	for _, s := range all {
		p, ok := object.Properties.Get(s.name)
		if !ok {
			p = typeSchema(s.typ)
			object.Properties.Set(s.name, p)
			if s.of != nil {
				object.AllOf = append(object.AllOf, &jsonschema.Schema{Not: &jsonschema.Schema{Required: []string{s.of.name, s.name}}})
			}
		}
		p.Description = s.help + "."
		if s.required {
			object.Required = append(object.Required, s.name)
		}
		if s.shown != "" {
			p.Description += " Default: " + s.shown + "."
		}
		for _, e := range s.enum {
			p.Enum = append(p.Enum, e)
		}
		if s.typ == reflect.TypeFor[int]() {
			p.Minimum, p.Maximum = json.Number(s.min), json.Number(s.max)
		}
		if s.list && s.def != "" {
			p.MinItems = new(uint64(1))
		}
		p.Default = s.schemaDefault()
	}
	// Two settings that need each other; Load says so in words.
	if _, ok := object.Properties.Get("tls-cert"); ok {
		object.DependentRequired = map[string][]string{"tls-cert": {"tls-key"}, "tls-key": {"tls-cert"}}
	}
}

func (s *setting) schemaDefault() any {
	switch {
	case s.def == "":
		return nil
	case s.list:
		return strings.Split(s.def, ",")
	case s.typ == reflect.TypeFor[int]():
		return json.Number(s.def)
	}
	return s.def
}

// Patterns of values with a unit.
const (
	sizes     = `[0-9]+ ?([kKMGT]?B|[KMGTP]iB)?`
	durations = `\+?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+`
)

// typeSchema returns the schema of a setting's type, or nil for structs that have settings of their own.
func typeSchema(t reflect.Type) *jsonschema.Schema {
	text := func(pattern string) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", Pattern: pattern, MinLength: new(uint64(1)), MaxLength: new(uint64(maxText))}
	}
	switch t {
	case reflect.TypeFor[int]():
		return &jsonschema.Schema{Type: "integer"}
	case reflect.TypeFor[Path]():
		return text(`^[^~$]`)
	case reflect.TypeFor[Size]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Type: "integer", Minimum: "0"}, text(`^` + sizes + `$`),
		}}
	case reflect.TypeFor[time.Duration]():
		return text(`^` + durations + `$`)
	case reflect.TypeFor[Listener]():
		return text(`^(systemd|unix:.+|.*:[0-9]+)$`)
	case reflect.TypeFor[Address]():
		return text(`:[0-9]+$`)
	case reflect.TypeFor[Wait]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "integer", Minimum: "0", Maximum: "0"}, text(`^(forever|` + durations + `)$`)}}
	case reflect.TypeFor[UpTo]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "integer", Minimum: "0"}, text(`^(all|` + sizes + `)$`)}}
	case reflect.TypeFor[StoreURL]():
		return text(`^([fF][iI][lL][eE]:///|([sS]3|[gG][sS]|[aA][zZ][bB][lL][oO][bB])://[a-z0-9])`)
	case reflect.TypeFor[LedgerURL]():
		return text(`^(sqlite|[pP][oO][sS][tT][gG][rR][eE][sS]([qQ][lL])?://.+)$`)
	case reflect.TypeFor[PublicURL]():
		return text(`^[hH][tT][tT][pP][sS]?://`)
	case reflect.TypeFor[Secret]():
		s := text(`^[!-~]+$`)
		s.WriteOnly = true
		return s
	case reflect.TypeFor[TokenName](), reflect.TypeFor[Developer]():
		s := text(`^[A-Za-z0-9][A-Za-z0-9._@-]*$`)
		s.MaxLength = new(uint64(trust.MaxTokenName))
		return s
	case reflect.TypeFor[cache.Workspace]():
		s := text(`^[a-z0-9][a-z0-9_-]*$`)
		s.MaxLength = new(uint64(cache.MaxWorkspace))
		return s
	case reflect.TypeFor[trust.TokenHash]():
		return &jsonschema.Schema{Type: "string", Pattern: "^sha256:[0-9a-fA-F]{" + strconv.Itoa(2*len(trust.TokenHash{})) + "}$"}
	case reflect.TypeFor[time.Time]():
		return text(`^[0-9]{4}-[0-9]{2}-[0-9]{2}([T].+)?$`)
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Slice:
		return nil
	}
	return &jsonschema.Schema{Type: "string"} // an enum, of any type
}
