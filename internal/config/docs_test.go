package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"
)

const (
	docPath    = "../../docs/configuration.md"
	schemaPath = "../../docs/config.schema.json"
	tableBegin = "<!-- settings: written by go test ./internal/config -update -->\n"
	tableEnd   = "<!-- end of settings -->\n"
)

func TestSchemaIsCurrent(t *testing.T) {
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the types say; write it anew with: go test ./internal/config -update", schemaPath)
	}
}

func TestTableIsCurrent(t *testing.T) {
	doc, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), tableBegin)
	table, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has lost its markers", docPath)
	}
	if *update {
		if err := os.WriteFile(docPath, []byte(before+tableBegin+"\n"+settingsTable()+"\n"+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != "\n"+settingsTable()+"\n" {
		t.Errorf("the table in %s is not what the settings say; write it anew with: go test ./internal/config -update", docPath)
	}
}

// example returns the file that the docs show.
func example(t testing.TB, doc []byte) []byte {
	t.Helper()
	_, rest, ok := bytes.Cut(doc, []byte("```yaml\n"))
	text, _, ok2 := bytes.Cut(rest, []byte("```\n"))
	if !ok || !ok2 {
		t.Fatalf("%s shows no file", docPath)
	}
	return text
}

func TestExample(t *testing.T) {
	doc, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	text := example(t, doc)
	c, _, err := load(t, []string{"--config=/f"}, nil, disk{"/f": string(text), "/run/secrets/bezoar-metrics": "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Tokens) == 0 || !c.MetricsToken.Set() {
		t.Errorf("the example shows less than it should: %v", c)
	}
	for _, p := range validate(t, text) {
		t.Error(p)
	}
}

// TestSchemaAccepts holds the schema against the files of TestLoad: it accepts whatever Load accepts. It may
// accept more, but knows the keys and the types.
func TestSchemaAccepts(t *testing.T) {
	refused := []string{"bad-keys", "bad-types", "bad-values", "bad-token-fields", "bad-stores", "bad-secret-redacted"}
	cases, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, path := range cases {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		for _, f := range archive.Files {
			if f.Name != "/etc/bezoar.yaml" || strings.HasPrefix(name, "bad-") && !slices.Contains(refused, name) {
				continue
			}
			seen++
			problems := validate(t, f.Data)
			if strings.HasPrefix(name, "bad-") && name != "bad-stores" && name != "bad-secret-redacted" {
				if len(problems) == 0 {
					t.Errorf("%s: the schema finds nothing", name)
				}
			} else if len(problems) > 0 {
				t.Errorf("%s: %q", name, problems)
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d files were looked at", seen)
	}
}

func TestSchemaHasEverySetting(t *testing.T) {
	root := schema(t)
	properties := root["properties"].(map[string]any)
	for _, s := range settings() {
		p, ok := properties[s.name].(map[string]any)
		if !ok {
			t.Errorf("%s is not in the schema", s.name)
			continue
		}
		delete(properties, s.name)
		if text, _ := p["description"].(string); !strings.HasPrefix(text, s.help) {
			t.Errorf("%s is described as %q", s.name, text)
		}
		if (p["default"] != nil) != (s.def != "") {
			t.Errorf("%s has the default %v in the schema, %q in the settings", s.name, p["default"], s.def)
		}
	}
	if len(properties) > 0 {
		t.Errorf("there are no such settings: %v", properties)
	}
	if root["additionalProperties"] != false || root["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Error("the schema is open, or of another draft")
	}
}

func schema(t *testing.T) map[string]any {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	return root
}

// validate holds a file against the schema.
func validate(t *testing.T, text []byte) []string {
	t.Helper()
	var value any
	if err := yaml.UnmarshalWithOptions(bytes.TrimPrefix(text, []byte("\ufeff")), &value, yaml.AllowDuplicateMapKey()); err != nil {
		t.Fatal(err)
	}
	if value == nil {
		value = map[string]any{}
	}
	return conforms(schema(t), value, "file")
}

// conforms knows as much of JSON Schema as Schema uses, and fails on the rest.
func conforms(schema map[string]any, value any, at string) (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, at+": "+fmt.Sprintf(format, args...)) }
	object, _ := value.(map[string]any)
	items, _ := value.([]any)
	text, isText := value.(string)
	number, isNumber := 0.0, true
	switch n := value.(type) {
	case uint64:
		number = float64(n)
	case int64:
		number = float64(n)
	default:
		isNumber = false
	}
	for keyword, v := range schema {
		switch keyword {
		case "$schema", "title", "description", "default", "writeOnly":
		case "type":
			ok := map[string]bool{"object": object != nil, "array": items != nil, "string": isText, "integer": isNumber}[v.(string)]
			if !ok {
				wrong("is no %s", v)
			}
		case "properties":
			for name, sub := range v.(map[string]any) {
				if field, ok := object[name]; ok {
					problems = append(problems, conforms(sub.(map[string]any), field, at+"."+name)...)
				}
			}
		case "additionalProperties":
			for name := range object {
				if _, ok := schema["properties"].(map[string]any)[name]; !ok {
					wrong("%s is unknown", name)
				}
			}
		case "required":
			for _, name := range v.([]any) {
				if _, ok := object[name.(string)]; !ok {
					wrong("has no %s", name)
				}
			}
		case "dependentRequired":
			for name, needs := range v.(map[string]any) {
				if _, ok := object[name]; ok {
					problems = append(problems, conforms(map[string]any{"required": needs}, value, at)...)
				}
			}
		case "items":
			for i, item := range items {
				problems = append(problems, conforms(v.(map[string]any), item, fmt.Sprintf("%s[%d]", at, i))...)
			}
		case "minItems":
			if items != nil && float64(len(items)) < v.(float64) {
				wrong("is too short a list")
			}
		case "allOf":
			for _, sub := range v.([]any) {
				problems = append(problems, conforms(sub.(map[string]any), value, at)...)
			}
		case "anyOf":
			if !slices.ContainsFunc(v.([]any), func(sub any) bool { return len(conforms(sub.(map[string]any), value, at)) == 0 }) {
				wrong("is none of what it may be")
			}
		case "not":
			if len(conforms(v.(map[string]any), value, at)) == 0 {
				wrong("is what it must not be")
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
			if isText && float64(len(text)) < v.(float64) {
				wrong("is too short")
			}
		case "maxLength":
			if isText && float64(len(text)) > v.(float64) {
				wrong("is too long")
			}
		case "minimum":
			if isNumber && number < v.(float64) {
				wrong("is too small")
			}
		case "maximum":
			if isNumber && number > v.(float64) {
				wrong("is too large")
			}
		default:
			wrong("the schema uses %s, which this test does not know", keyword)
		}
	}
	return problems
}
