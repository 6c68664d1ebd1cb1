package config

import (
	"fmt"
	"strings"
)

// settingsTable returns the settings as a table in Markdown, for the docs.
func settingsTable() string {
	var b strings.Builder
	b.WriteString("| Key and flag | Environment variable | Default | What it is |\n|---|---|---|---|\n")
	for _, s := range settings() {
		deflt := "none"
		switch {
		case s.shown != "":
			deflt = s.shown
		case s.def != "":
			deflt = "`" + s.def + "`"
		}
		help := s.help
		switch {
		case s.enum != nil:
			help += ": `" + strings.Join(s.enum, "`, `") + "`"
		case s.min != "":
			help += fmt.Sprintf(" (`%s` to `%s`)", s.min, s.max)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", s.name, envName(s.name), deflt, help)
	}
	return b.String()
}
