package config

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// WriteYAML prints the configuration as a file that gives the same configuration, with the source of each line as a comment.
// A secret that was given itself is printed as [Redacted], which [Load] refuses: whoever uses the output must
// put it in again. Settings without a value, and those that mean nothing here, are commented out.
func (c *Config) WriteYAML(w io.Writer, sources *Sources) error {
	out := bufio.NewWriter(w)
	for _, s := range settings() {
		v, source := s.value(c), sources.Of(s.name)
		switch {
		case s.of != nil: // printed with its secret
		case c.lacks(s) != "":
			fmt.Fprintf(out, "# %s: only with %s\n", s.name, c.lacks(s))
		case s.typ == reflect.TypeFor[Secret]():
			if file := v.Interface().(Secret).File(); file != "" {
				printLine(out, s.name+"-file: "+quoteYAML(file), source)
				continue
			}
			printScalar(out, s.name, v, source)
		case s.typ == reflect.TypeFor[Token]() && v.Len() > 0:
			printLine(out, s.name+":", source)
			for i := range v.Len() {
				at := source
				if items := sources.items[s.name]; i < len(items) {
					at = items[i]
				}
				printLine(out, "  - "+flowMapping(v.Index(i)), at)
			}
		case s.list:
			items := make([]string, v.Len())
			for i := range items {
				items[i] = quoteYAML(format(v.Index(i)))
			}
			printLine(out, s.name+": ["+strings.Join(items, ", ")+"]", source)
		default:
			printScalar(out, s.name, v, source)
		}
	}
	return out.Flush()
}

func printScalar(w io.Writer, name string, v reflect.Value, source Source) {
	text := format(v)
	switch {
	case text == "":
		fmt.Fprintf(w, "# %s: not set\n", name)
		return
	case v.CanInt() && strictyaml.Digits(text):
	default:
		text = quoteYAML(text)
	}
	printLine(w, name+": "+text, source)
}

func printLine(w io.Writer, line string, source Source) { fmt.Fprintf(w, "%s # %s\n", line, source) }

func flowMapping(v reflect.Value) string {
	var parts []string
	for _, s := range fields(v.Type()) {
		if text := format(v.Field(s.field)); text != "" {
			parts = append(parts, s.name+": "+quoteYAML(text))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// plainYAML is text that YAML reads as itself, inside of brackets too, and not as a number.
var plainYAML = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/._+-]*(:[A-Za-z0-9/._+-]+)*$|^([0-9]+(\.[0-9]+)?(ns|ms|s|m|h))+$|^[0-9]+[KMGTP]iB$`)

// quoteYAML writes text so that every reader of YAML takes it for that text.
func quoteYAML(text string) string {
	switch strings.ToLower(text) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null":
	default:
		if plainYAML.MatchString(text) {
			return text
		}
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		return fmt.Sprintf("%q", text)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
