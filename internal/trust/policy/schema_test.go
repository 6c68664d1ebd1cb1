package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

const docs = "../../../docs/"

// current holds a generated file against what it should be.
func current(t *testing.T, name, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(docs+name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, docs+name) != want {
		t.Errorf("docs/%s is not what the form says; write it anew with: go test ./internal/trust/policy -update", name)
	}
}

func TestSchemaIsCurrent(t *testing.T) {
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	current(t, "policy.schema.json", string(want))
}

func TestFieldsAreCurrent(t *testing.T) {
	current(t, "policy-fields.md", "# Fields of a policy\n\n<!-- written by go test ./internal/trust/policy -update -->\n\n"+
		"Every field of the policy file. What is not listed here does not exist, and a file that has it is refused. `docs/policy.schema.json` says the same to editors.\n\n"+
		table("", reflect.TypeFor[file]())+
		"\n# Fields of a file of tests\n\nWhat `bezoar policy test` reads.\n\n"+table("", reflect.TypeFor[testFile]()))
}

// table tells the fields of a struct and of all below it.
func table(prefix string, t reflect.Type) string {
	var b strings.Builder
	if prefix == "" {
		b.WriteString("| Field | Values | Default | What it is |\n|---|---|---|---|\n")
	}
	for _, f := range fields(t) {
		deflt := "none"
		switch {
		case f.required:
			deflt = "required"
		case f.def != "":
			deflt = "`" + strings.ReplaceAll(f.def, ",", ", ") + "`"
		}
		name, below := prefix+f.name, f.typ
		values := form(f.typ)
		if f.enum != nil {
			values = "`" + strings.Join(f.enum, "`, `") + "`"
		}
		_, isScalar := reflect.TypeAssert[scalar](reflect.New(f.typ))
		if f.typ.Kind() == reflect.Slice {
			below = f.typ.Elem()
		} else if f.typ.Kind() == reflect.Map && !isScalar {
			below = f.typ.Elem()
			name += "." + strings.ToUpper(f.key)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, values, deflt, f.help)
		if _, ok := reflect.TypeAssert[scalar](reflect.New(below)); !ok {
			b.WriteString(table(name+".", below))
		}
	}
	return b.String()
}

// form words what a value looks like.
func form(t reflect.Type) string {
	switch v := reflect.New(t).Interface().(type) {
	case *yesNo:
		return "`true`, `false`"
	case *id:
		return "an id"
	case *age:
		return "days or hours, or `never`"
	case *duration:
		return "a duration"
	case *size:
		return "a size"
	case *issuer, *keys:
		return "an https URL"
	case *claimValue:
		return "a text, a whole number, `true` or `false`"
	case *version:
		return "`1`"
	case *claimSet:
		return "claims"
	case scalar:
		_ = v
		return "a text"
	}
	switch t.Kind() {
	case reflect.Struct:
		return "fields"
	case reflect.Map:
		return form(t.Elem())
	}
	if _, ok := reflect.TypeAssert[scalar](reflect.New(t.Elem())); ok {
		return "a list"
	}
	return "fields, or a list of them"
}

// TestTagsAreWhole: every field has a help and, unless it is a block, an example or values; and its default can be read.
func TestTagsAreWhole(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type)
	walk = func(in reflect.Type) {
		if seen[in] {
			return
		}
		seen[in] = true
		for _, f := range fields(in) {
			if f.help == "" || strings.HasSuffix(f.help, ".") {
				t.Errorf("%v.%s has the help %q", in, f.name, f.help)
			}
			below := f.typ
			if v, ok := reflect.TypeAssert[scalar](reflect.New(f.typ)); ok {
				if f.example == "" {
					t.Errorf("%v.%s has no example", in, f.name)
				}
				if n := (strictyaml.Node{Kind: v.kinds()[0], Text: f.def}); f.def != "" && (accepts(v, f, n) != nil || v.set(n) != nil) {
					t.Errorf("the default of %v.%s cannot be read", in, f.name)
				}
				continue
			}
			if f.typ.Kind() != reflect.Struct {
				below = f.typ.Elem()
			}
			if v, ok := reflect.TypeAssert[scalar](reflect.New(below)); ok {
				for text := range strings.SplitSeq(f.def, ",") {
					if text != "" && v.set(strictyaml.Node{Text: text}) != nil {
						t.Errorf("the default of %v.%s cannot be read", in, f.name)
					}
				}
				continue
			}
			walk(below)
		}
	}
	walk(reflect.TypeFor[file]())
	walk(reflect.TypeFor[testFile]())
	if len(seen) < 15 {
		t.Errorf("only %d structs were looked at", len(seen))
	}
}

// TestSchemaAccepts holds the schema against the examples and the files of TestLoad: it accepts whatever Parse accepts, and knows the keys, types and choices.
func TestSchemaAccepts(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	check := func(name, file string, good bool) {
		t.Helper()
		n, p := strictyaml.Parse([]byte(file), words)
		if p != nil {
			t.Fatal(p)
		}
		if problems := conforms(schema, n.Value(), "policy"); (len(problems) == 0) != good {
			t.Errorf("%s: %q", name, problems)
		}
	}
	check("policy.yaml", read(t, examples+"policy.yaml"), true)
	check("policy-oidc.yaml", read(t, examples+"policy-oidc.yaml"), true)
	seen := 0
	cases, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range cases {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		good := strings.HasPrefix(name, "good-")
		if archive.Files[0].Name == "policy.yaml" && (good || slices.Contains([]string{"bad-keys", "bad-types", "bad-choices", "bad-ids", "bad-required", "bad-events", "bad-values", "bad-urls", "bad-branches", "bad-empty", "bad-audience-long"}, name)) {
			check(name, string(archive.Files[0].Data), good)
			seen++
		}
	}
	if seen < 12 {
		t.Errorf("only %d files were looked at", seen)
	}
}

// conforms knows as much of JSON Schema as Schema uses, and fails on the rest.
func conforms(schema map[string]any, value any, at string) (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, at+": "+fmt.Sprintf(format, args...)) }
	object, isObject := value.(map[string]any)
	items, isList := value.([]any)
	text, isText := value.(string)
	number, isNumber := value.(json.Number)
	_, isBool := value.(bool)
	whole := isNumber && regexp.MustCompile(`^-?[0-9]+$`).MatchString(string(number))
	passing := func(all any) (n int) {
		for _, sub := range all.([]any) {
			if len(conforms(sub.(map[string]any), value, at)) == 0 {
				n++
			}
		}
		return n
	}
	for keyword, v := range schema {
		switch keyword {
		case "$schema", "title", "description", "default":
		case "type":
			if !map[string]bool{"object": isObject, "array": isList, "string": isText, "integer": whole, "boolean": isBool}[v.(string)] {
				wrong("is no %s", v)
			}
		case "properties":
			for name, sub := range v.(map[string]any) {
				if field, ok := object[name]; ok {
					problems = append(problems, conforms(sub.(map[string]any), field, at+"."+name)...)
				}
			}
		case "additionalProperties":
			known, _ := schema["properties"].(map[string]any)
			for name, field := range object {
				if sub, open := v.(map[string]any); open && known[name] == nil {
					problems = append(problems, conforms(sub, field, at+"."+name)...)
				} else if known[name] == nil {
					wrong("%s is unknown", name)
				}
			}
		case "propertyNames":
			for name := range object {
				problems = append(problems, conforms(v.(map[string]any), name, at+"."+name)...)
			}
		case "minProperties":
			if isObject && len(object) < int(v.(float64)) {
				wrong("is empty")
			}
		case "required":
			for _, name := range v.([]any) {
				if _, ok := object[name.(string)]; !ok {
					wrong("has no %s", name)
				}
			}
		case "items":
			for i, item := range items {
				problems = append(problems, conforms(v.(map[string]any), item, fmt.Sprintf("%s[%d]", at, i))...)
			}
		case "minItems":
			if isList && len(items) < int(v.(float64)) {
				wrong("is too short a list")
			}
		case "uniqueItems":
			for i := range items {
				for j := range i {
					if reflect.DeepEqual(items[i], items[j]) {
						wrong("has an item twice")
					}
				}
			}
		case "anyOf":
			if passing(v) == 0 {
				wrong("is none of what it may be")
			}
		case "oneOf":
			if passing(v) != 1 {
				wrong("is not one of what it may be")
			}
		case "const":
			if fmt.Sprint(v) != fmt.Sprint(value) {
				wrong("is not %v", v)
			}
		case "enum":
			if !slices.Contains(v.([]any), value) {
				wrong("%v is not among %v", value, v)
			}
		case "pattern":
			if isText && !regexp.MustCompile(v.(string)).MatchString(text) {
				wrong("%q does not match %s", text, v)
			}
		case "minLength":
			if isText && utf8.RuneCountInString(text) < int(v.(float64)) {
				wrong("is too short")
			}
		case "maxLength":
			if isText && utf8.RuneCountInString(text) > int(v.(float64)) {
				wrong("is too long")
			}
		case "minimum":
			if n, err := number.Int64(); whole && (err != nil || float64(n) < v.(float64)) {
				wrong("is too small")
			}
		default:
			wrong("the schema uses %s, which this test does not know", keyword)
		}
	}
	return problems
}
