package doctor

import "strings"

// parseDotenv reads a .env file as the dotenv package (16.4) of Nx does: "export" is allowed, a value in quotes may go over
// several lines, "\n" and "\r" are expanded between double quotes, a value without quotes ends at "#". The last
// of several definitions wins. "$" is left alone, though Nx expands it.
func parseDotenv(text string) map[string]string {
	values := make(map[string]string)
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(text, "\ufeff"))
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		name, value, ok := splitDefinition(line)
		if !ok {
			text = rest
			continue
		}
		if value != "" && strings.IndexByte("\"'`", value[0]) >= 0 {
			// The value goes to the closing quote, which may be lines away.
			tail := text[len(line)-len(value)+1:]
			if end := closingQuote(tail, value[0]); end >= 0 {
				after, next, _ := strings.Cut(tail[end+1:], "\n")
				if after = strings.TrimSpace(after); after == "" || after[0] == '#' {
					values[name], text = unescape(tail[:end], value[0]), next
					continue
				}
			}
		}
		value, _, _ = strings.Cut(value, "#")
		values[name] = strings.TrimSpace(value)
		text = rest
	}
	return values
}

// splitDefinition takes "NAME=value" or "NAME: value" apart; the value keeps its quotes and has lost its leading blanks, and is
// the end of the line.
func splitDefinition(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, "=")
	if before, after, colon := strings.Cut(line, ": "); colon && (!ok || len(before) < len(name)) {
		name, value, ok = before, after, true
	}
	name = strings.TrimSpace(name)
	if after, found := strings.CutPrefix(name, "export"); found && after != strings.TrimLeft(after, " \t") {
		name = strings.TrimSpace(after)
	}
	if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '.' && r != '-'
	}) {
		return "", "", false
	}
	return name, strings.TrimLeft(value, " \t"), true
}

// closingQuote finds the first quote that no backslash precedes; -1 if there is none.
func closingQuote(s string, quote byte) int {
	for i := range len(s) {
		if s[i] == quote && (i == 0 || s[i-1] != '\\') {
			return i
		}
	}
	return -1
}

func unescape(s string, quote byte) string {
	if quote == '"' {
		return strings.NewReplacer(`\n`, "\n", `\r`, "\r").Replace(s)
	}
	return s
}
