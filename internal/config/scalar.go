package config

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bezoar-cache/bezoar/internal/strictyaml"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// Path is the absolute path of a file or directory.
type Path string

// Size counts bytes.
type Size int64

// maxText bounds one value, in bytes.
const maxText = 4096

// tokenLike finds a token inside of another value.
var tokenLike = regexp.MustCompile(`(` + trust.TokenPrefix + `|` + trust.AdminPrefix + `|` + trust.SessionPrefix + `)[A-Za-z0-9_-]{16,}`)

// plausible refuses what no setting can be. Types that know secrets speak of tokens themselves.
func plausible(text string, secret bool) error {
	switch {
	case text == "":
		return &flaw{"is empty", "write a value, or leave the setting out for its default"}
	case len(text) > maxText:
		return &flaw{fmt.Sprintf("is longer than %d bytes", maxText), "write a shorter value"}
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return &flaw{"holds a character that cannot be printed", "write it on one line, without line breaks, tabs or other control characters"}
	case !secret && tokenLike.MatchString(text):
		return &flaw{"holds a token, which is a secret (not shown)", "take it out of here, and give its hash under tokens"}
	}
	return nil
}

func (s *setting) parseEnum(text string) (any, error) {
	for _, e := range s.enum {
		if text != e {
			continue
		}
		if s.typ == reflect.TypeFor[slog.Level]() {
			var level slog.Level
			err := level.UnmarshalText([]byte(e))
			return level, err
		}
		return reflect.ValueOf(e).Convert(s.typ).Interface(), nil
	}
	last := len(s.enum) - 1
	return nil, &flaw{quoted(text) + " is not one of its values", "write " + strings.Join(s.enum[:last], ", ") + " or " + s.enum[last]}
}

// parsePath does not make the path absolute: that needs to know where it was written.
func parsePath(text string) (any, error) {
	if text[0] == '~' || text[0] == '$' {
		return nil, &flaw{quoted(text) + " begins with " + text[:1] + ", which is not expanded here", "write the whole path"}
	}
	return Path(filepath.Clean(text)), nil
}

func parseCount(text, example string) (any, error) {
	if !strictyaml.Digits(strings.TrimPrefix(text, "-")) {
		return nil, &flaw{quoted(text) + " is not a whole number", "write for example " + example}
	}
	// The one error is too many digits. It gives the largest or least number, of which the setting's own bounds say more.
	n, _ := strconv.ParseInt(text, 10, strconv.IntSize)
	return int(n), nil
}

// alphanumeric says whether r is a letter or digit of ASCII.
func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// ParseSize reads a number of bytes as settings have it: 0, 500MB, 2GiB.
func ParseSize(text string) (Size, error) {
	if text == "" {
		return 0, &flaw{"it is empty", "write a number of bytes, for example 500MB"}
	}
	size, err := parseSize(text)
	if err != nil {
		return 0, err
	}
	return size.(Size), nil
}

func parseSize(text string) (any, error) {
	if text[0] == '-' {
		return nil, &flaw{quoted(text) + " is negative", "write a number of bytes, for example 500MB"}
	}
	size, ok := strictyaml.ParseSize(text)
	if !ok {
		return nil, &flaw{quoted(text) + " is not a size", "write a whole number of bytes, or with a unit: 500MB, 2GiB (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB, PiB)"}
	}
	return Size(size), nil
}

// String returns the size with the largest unit that divides it, such as "2GiB".
func (s Size) String() string {
	for _, unit := range []string{"PiB", "TiB", "GiB", "MiB", "KiB"} {
		if n, _ := strictyaml.ParseSize("1" + unit); s != 0 && int64(s)%n == 0 {
			return strconv.FormatInt(int64(s)/n, 10) + unit
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

func parseDuration(text string) (any, error) {
	if strictyaml.Digits(text) {
		return nil, &flaw{quoted(text) + " has no unit", "write for example " + text + "s"}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return nil, &flaw{quoted(text) + " is not a duration", "write a number with a unit: 500ms, 30s, 2m, 1h"}
	}
	return d, nil
}

// formatDuration drops the zeros that time.Duration writes: 2m, not 2m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// format returns the text of one value, which parse reads back; secrets are redacted, and what is not set is empty.
func format(v reflect.Value) string {
	switch v := v.Interface().(type) {
	case time.Duration:
		return formatDuration(v)
	case slog.Level:
		return strings.ToLower(v.String())
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.Format(time.RFC3339Nano)
	case fmt.Stringer:
		return v.String()
	}
	return fmt.Sprint(v.Interface())
}
