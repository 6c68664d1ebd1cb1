package strictyaml

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	n, p := Parse([]byte("\ufeff---\n# all kinds\ntext: a b\nquoted: \"10\"\nnumber: 010\nfloat: 1.5\ninfinite: .inf\nyes: true\nno: False\nnothing: ~\nempty:\nlist: [1, {a: b}, []]\nmap: {}\n"), words)
	if p != nil {
		t.Fatal(p)
	}
	want := map[string]any{
		"text": "a b", "quoted": "10", "number": json.Number("010"), "float": json.Number("1.5"), "infinite": json.Number(".inf"),
		"yes": true, "no": false, "nothing": nil, "empty": nil,
		"list": []any{json.Number("1"), map[string]any{"a": "b"}, []any{}}, "map": map[string]any{},
	}
	if diff := cmp.Diff(want, n.Value()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if at := n.Pairs[1].Value.At; at != (Position{4, 9}) {
		t.Errorf("the second value is at %v", at)
	}
	if !n.Pairs[0].At.Before(n.Pairs[1].At) || n.Pairs[1].At.Before(n.Pairs[0].At) || !(Position{1, 2}).Before(Position{1, 3}) {
		t.Error("positions have another order than the file")
	}
}

func TestEmptyFiles(t *testing.T) {
	for _, file := range []string{"", "\n", "# nothing\n", "---\n", "~\n", "\ufeff"} {
		if n, p := Parse([]byte(file), words); p != nil || n.Kind != Mapping || len(n.Pairs) != 0 {
			t.Errorf("%q: %+v, %v", file, n, p)
		}
	}
}

func TestKeysThatAreThereTwiceAreKept(t *testing.T) {
	n, p := Parse([]byte("a: 1\na: 2\n"), words)
	if p != nil || len(n.Pairs) != 2 || n.Pairs[1].At != (Position{2, 1}) {
		t.Errorf("%+v, %v", n, p)
	}
}

func TestRefused(t *testing.T) {
	for file, want := range map[string]string{
		"- a\n":                     "the file is a list, not settings; write lines of setting: value",
		"a\n":                       "the file is a text, not settings; write lines of setting: value",
		"1\n":                       "the file is a number, not settings; write lines of setting: value",
		"true\n":                    "the file is neither a text nor a whole number, not settings; write lines of setting: value",
		"a: \"\xff\"\n":             "is not text in UTF-8; save it as UTF-8: is this the right file?",
		"a: \x00\n":                 "is not text in UTF-8; save it as UTF-8: is this the right file?",
		"a: &x b\n":                 "anchors, aliases and merge keys are not allowed; write the value out, and put text that begins with & or * in quotes",
		"a: !!str b\n":              "tags are not allowed; write the value without !, or put text that begins with ! in quotes",
		"%YAML 1.2\n---\na: b\n":    "directives are not allowed; take the line with % out",
		"? a\n: b\n":                "keys with ? are not allowed; write setting: value",
		"a: b\n---\na: c\n":         "a second document is not allowed; keep all settings in one document, without --- between them",
		"a: b\n...\na: c\n":         "a second document is not allowed; keep all settings in one document, without ... between them",
		"a: [[[[[[[[[]]]]]]]]]\n":   "is nested too deep; no setting needs more than a list of mappings",
		"a:\n  - - - - - - - - - b": "is nested too deep; no setting needs more than a list of mappings",
		"a: |\n  b\n":               "texts in block style, with | or >, are not allowed; write the value on the line of its key, in quotes if need be",
		"a: \"b\n":                  "is not valid YAML: could not find end character of double-quoted text; check indentation, quotes and brackets here and in the line above",
	} {
		if _, p := Parse([]byte(file), words); p == nil || p.Error() != want {
			t.Errorf("%q: %v", file, p)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"pull_requests", "branches"}
	for name, want := range map[string]string{
		"pull-request": "did you mean pull_requests?", "Branch": "did you mean branches?", "nothing like it": "otherwise",
		strings.Repeat("branches", 9): "otherwise",
	} {
		if got := Suggest(name, known, "otherwise"); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "7B": 7, "2kB": 2e3, "2KB": 2e3, "500MB": 5e8, "3 GB": 3e9, "1TB": 1e12, "1KiB": 1 << 10, "5MiB": 5 << 20, "200GiB": 200 << 30, "1TiB": 1 << 40,
		"1PiB": 1 << 50, "99999PiB": 1<<63 - 1, "99999999999999999999": 1<<63 - 1,
	} {
		if got, ok := ParseSize(text); !ok || got != want {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1.5GiB", "010", "1 gib", "1  GB"} {
		if got, ok := ParseSize(text); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
}

// FuzzParse says of any file: it is read or refused in words, and every value has a place in it.
func FuzzParse(f *testing.F) {
	f.Add([]byte("a: {b: [1, 2.5, true, ~, \"x\"]}\n"))
	f.Add([]byte("a:\n  - b: c\n    d: e\n"))
	f.Add([]byte("- a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, p := Parse(data, words)
		if p != nil {
			if p.What == "" || p.Hint == "" || strings.ContainsAny(p.Error(), "\n\r\x1b") {
				t.Errorf("refused in these words: %q", p.Error())
			}
			return
		}
		var walk func(n Node)
		walk = func(n Node) {
			if n.At.Line < 1 || n.At.Column < 0 {
				t.Errorf("%+v has no place", n)
			}
			for _, item := range n.Items {
				walk(item)
			}
			for _, p := range n.Pairs {
				walk(p.Value)
			}
		}
		for _, p := range n.Pairs {
			walk(p.Value)
		}
		n.Value()
	})
}
