package agent

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Format is how the two variables of Nx are handed on to the steps behind.
type Format string

// The formats.
const (
	// FormatGitHub is what the file at $GITHUB_ENV takes.
	FormatGitHub Format = "github"
	// FormatShell is lines for the eval of a POSIX shell.
	FormatShell Format = "shell"
	// FormatDotenv is lines of NAME=value, as Nx reads them from .env.local.
	FormatDotenv Format = "dotenv"
	// FormatJSON is one object.
	FormatJSON Format = "json"
)

// ParseFormat checks the name of a format.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case FormatGitHub, FormatShell, FormatDotenv, FormatJSON:
		return f, nil
	}
	return "", fmt.Errorf("%q is no format: it is github, shell, dotenv or json", s)
}

// Export hands the session on in a format.
func (s *Session) Export(w io.Writer, f Format) error {
	if f == FormatJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	return writeVariables(w, f, [][2]string{{ServerVariable, s.Server}, {TokenVariable, s.Token}})
}

// WriteOff hands on that there is no server, for builds that have one in their environment and would fail because it does not
// answer. To Nx an empty variable is none.
func WriteOff(w io.Writer, f Format) error {
	if f == FormatJSON || f == FormatDotenv {
		return nil // Nothing reads a file over what the environment has.
	}
	return writeVariables(w, f, [][2]string{{ServerVariable, ""}})
}

func writeVariables(w io.Writer, f Format, variables [][2]string) error {
	var b strings.Builder
	for _, v := range variables {
		name, value := v[0], v[1]
		for i := range len(value) {
			if value[i] <= ' ' || value[i] >= 0x7f {
				return fmt.Errorf("the value for %s has a character that cannot be handed on safely; nothing was written", name)
			}
		}
		switch f {
		case FormatGitHub:
			// The form for values of several lines, with a delimiter that no value can guess.
			end := "bezoar_" + rand.Text()
			fmt.Fprintf(&b, "%s<<%s\n%s\n%s\n", name, end, value, end)
		case FormatShell:
			fmt.Fprintf(&b, "export %s=%s\n", name, shellQuote(value))
		default:
			if strings.ContainsAny(value, "'\"`$\\#") {
				return fmt.Errorf("the value for %s has a character that dotenv files give a meaning to; nothing was written", name)
			}
			fmt.Fprintf(&b, "%s=%s\n", name, value)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shellQuote makes one word of s, whatever is in it.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Mask is the command that makes GitHub's runner hide the token in the logs of all steps that follow.
func (s *Session) Mask() string { return command("add-mask", s.Token) }

// Warning is the command that makes GitHub's runner show a text on the page of the run.
func Warning(text string) string { return command("warning", text) }

// command is a workflow command of GitHub's runner.
func command(name, value string) string {
	return "::" + name + "::" + strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(value) + "\n"
}
