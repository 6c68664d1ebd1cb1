package policy

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Schema returns the JSON Schema (draft 2020-12) of a policy, for editors. It is made from the form that the decoder reads. [Parse] is
// stricter: it knows what fields go together.
func Schema() ([]byte, error) {
	root := objectSchema(reflect.TypeFor[file]())
	root.Version = jsonschema.Version
	root.Title = "Policy of bezoar"
	b, err := json.MarshalIndent(root, "", "  ")
	return append(b, '\n'), err
}

func objectSchema(t reflect.Type) *jsonschema.Schema {
	object := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
	for _, f := range fields(t) {
		s := typeSchema(f.typ, f)
		s.Description = f.help + "."
		s.Default = f.defaultValue()
		object.Properties.Set(f.name, s)
		if f.required {
			object.Required = append(object.Required, f.name)
		}
	}
	return object
}

func typeSchema(t reflect.Type, f field) *jsonschema.Schema {
	if v, ok := reflect.TypeAssert[scalar](reflect.New(t)); ok {
		return scalarSchema(v, f)
	}
	switch t.Kind() {
	case reflect.Struct:
		return objectSchema(t)
	case reflect.Map:
		key := &jsonschema.Schema{Type: "string", MinLength: new(uint64(1)), MaxLength: new(uint64(maxText))}
		if f.key == "workspace" {
			key = nameSchema()
		}
		return &jsonschema.Schema{Type: "object", PropertyNames: key, MinProperties: new(uint64(1)), AdditionalProperties: typeSchema(t.Elem(), field{})}
	}
	items := typeSchema(t.Elem(), f)
	list := &jsonschema.Schema{Type: "array", Items: items, MinItems: new(uint64(1))}
	if _, ok := reflect.TypeAssert[scalar](reflect.New(t.Elem())); ok {
		list.UniqueItems = true
		return list
	}
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{items, list}}
}

func nameSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: "^[a-z0-9][a-z0-9_-]*$", MaxLength: new(uint64(cache.MaxWorkspace))}
}

func scalarSchema(v scalar, f field) *jsonschema.Schema {
	text := func(pattern string) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", Pattern: pattern, MinLength: new(uint64(1)), MaxLength: new(uint64(maxText))}
	}
	anyOf := func(all ...*jsonschema.Schema) *jsonschema.Schema { return &jsonschema.Schema{AnyOf: all} }
	switch v.(type) {
	case *version:
		return &jsonschema.Schema{Type: "integer", Const: 1}
	case *choice:
		return &jsonschema.Schema{Type: "string", Enum: anyTexts(f.enum)}
	case *yesNo:
		return &jsonschema.Schema{Type: "boolean"}
	case *id:
		return anyOf(&jsonschema.Schema{Type: "integer", Minimum: "1"}, text("^[1-9][0-9]{0,19}$"))
	case *issuer, *keys:
		return text("^[hH][tT][tT][pP][sS]?://[^?#]+$")
	case *branch:
		return text(`^[^*?\[ ~^:\\]+(/\*)?$`)
	case *githubEvent:
		return &jsonschema.Schema{Type: "string", Enum: anyTexts(trustableEvents)}
	case *gitlabSource:
		return &jsonschema.Schema{Type: "string", Enum: anyTexts(trustableSources)}
	case *providerName:
		return nameSchema()
	case *duration:
		return text(`^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`)
	case *age:
		return text(`^(never|[1-9][0-9]*[dh])$`)
	case *size:
		return anyOf(&jsonschema.Schema{Type: "integer", Minimum: "1"}, text(`^[0-9]+ ?([kKMGT]?B|[KMGTP]iB)?$`))
	case *claimValue:
		return anyOf(text(""), &jsonschema.Schema{Type: "integer"}, &jsonschema.Schema{Type: "boolean"})
	}
	return text("")
}

func anyTexts(all []string) []any {
	out := make([]any, len(all))
	for i, s := range all {
		out[i] = s
	}
	return out
}

// defaultValue returns the default as JSON has it.
func (f field) defaultValue() any {
	switch {
	case f.def == "":
		return nil
	case f.typ == reflect.TypeFor[yesNo]():
		return f.def == "true"
	case f.typ.Kind() == reflect.Slice:
		return strings.Split(f.def, ",")
	}
	return f.def
}
