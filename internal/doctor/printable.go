package doctor

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds each text of a finding, in bytes before escaping.
const maxText = 1024

// printable escapes what could move a terminal's cursor, change its colours or reorder a line, and cuts
// at limit bytes.
func printable(s string, limit int) string {
	cut := false
	if len(s) > limit {
		s, cut = s[:limit], true
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		if len(s) > 0 && s[len(s)-1] >= utf8.RuneSelf {
			s = s[:len(s)-1]
		}
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += size
	}
	if cut {
		b.WriteString("...")
	}
	return b.String()
}

// quoted is a foreign name for use inside a sentence.
func quoted(s string) string {
	quote := `"`
	if strings.Contains(s, quote) {
		quote = "'"
	}
	return quote + printable(s, 200) + quote
}
