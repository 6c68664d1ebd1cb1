package doctor

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Style says what the reader of a report can show.
type Style struct {
	// Unicode allows characters beyond ASCII.
	Unicode bool
	// Color allows ANSI colours.
	Color bool
}

// textWidth is where explanations are wrapped, in columns.
const textWidth = 100

// WriteJSON writes the report as one JSON document.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteText writes the report for people: a line for each finding, and what to do about those that are not well.
func (r *Report) WriteText(w io.Writer, style Style) error {
	out := &textWriter{Writer: bufio.NewWriter(w), style: style}
	if r.Server != "" {
		out.line("%s%s", r.Server, from(r.ServerSource))
		out.line("")
	}
	width := 0
	for _, f := range r.Findings {
		width = max(width, len(f.ID))
	}
	for i := 0; i < len(r.Findings); i++ {
		f := r.Findings[i]
		// One line is enough for checks that fell away for one reason.
		more := 0
		for f.Status == Skip && i+1 < len(r.Findings) && r.Findings[i+1].Status == Skip && r.Findings[i+1].Title == f.Title {
			i++
			more++
		}
		also := ""
		if more > 0 {
			also = " (and " + plural(more, "other check") + ")"
		}
		out.line("%s %-*s  %s%s", out.mark(f.Status), width, f.ID, f.Title, also)
		if f.Status == Warn || f.Status == Fail {
			out.explain(width, "means:", f.Means)
			out.explain(width, "do:", f.Do)
		}
	}
	s := r.Summary
	out.line("")
	out.line("%d ok, %s, %s, %d not checked", s.OK, plural(s.Warnings, "warning"), plural(s.Failures, "failure"), s.Skipped)
	out.line("%s", out.paint(s.Status, s.Text))
	return out.Flush()
}

func from(source string) string {
	if source == "" {
		return ""
	}
	return " (" + source + ")"
}

type textWriter struct {
	*bufio.Writer
	style Style
}

// line keeps to ASCII where the reader can show no more. Errors stick to the buffer and come out of Flush.
func (t *textWriter) line(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !t.style.Unicode {
		text = ascii(text)
	}
	fmt.Fprintln(t, strings.TrimRight(text, " "))
}

func (t *textWriter) mark(s Status) string {
	marks := map[Status]string{OK: "ok  ", Warn: "WARN", Fail: "FAIL", Skip: "-   "}
	if t.style.Unicode {
		marks = map[Status]string{OK: "✓", Warn: "!", Fail: "✗", Skip: "–"}
	}
	return t.paint(s, marks[s])
}

func (t *textWriter) paint(s Status, text string) string {
	code := map[Status]string{OK: "32", Warn: "33", Fail: "31", Skip: "2"}[s]
	if !t.style.Color || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// explain writes a wrapped text under the titles.
func (t *textWriter) explain(width int, label, text string) {
	if text == "" {
		return
	}
	indent := strings.Repeat(" ", width+4)
	if !t.style.Unicode {
		indent += "   "
	}
	prefix := indent + fmt.Sprintf("%-6s ", label)
	column := utf8.RuneCountInString(prefix)
	line := prefix
	used := column
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		if used > column && used+1+n > textWidth {
			t.line("%s", line)
			line, used = strings.Repeat(" ", column), column
		}
		if used > column {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+n
	}
	t.line("%s", line)
}

func ascii(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
