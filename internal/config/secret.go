package config

import (
	"crypto/subtle"
	"log/slog"
	"strings"
)

// Redacted stands in every output for a secret.
const Redacted = "[redacted]"

// Secret is a text that is shown nowhere but through [Secret.Reveal]. The zero value is no secret.
type Secret struct {
	// A pointer, because fmt does not follow it: not even inside of a struct whose String method it does not call.
	text *string
	file string
}

// NewSecret keeps text as a secret.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Set says whether there is a secret.
func (s Secret) Set() bool { return s.text != nil }

// Reveal returns the secret, or an empty string if there is none.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// File returns the path of the file that the secret came from, or an empty string.
func (s Secret) File() string { return s.file }

// Equal compares secrets in a time that does not depend on where they differ.
func (s Secret) Equal(t Secret) bool {
	return s.Set() == t.Set() && s.file == t.file && subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

// String returns [Redacted], or nothing if there is no secret.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return Redacted
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for JSON and its like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func parseSecret(text string) (any, error) {
	if text == Redacted {
		return nil, &flaw{"is " + Redacted + ", the secret was left out when this was printed", "write the secret, or the name of its file under the same key with -file"}
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, &flaw{"holds a blank, or a character that is not of ASCII (not shown)", "use letters, digits and punctuation of ASCII, without spaces"}
	}
	return NewSecret(text), nil
}

// trimLine drops the one line break that editors put at the end of a file.
func trimLine(data []byte) string {
	text := string(data)
	if t, ok := strings.CutSuffix(text, "\n"); ok {
		return strings.TrimSuffix(t, "\r")
	}
	return text
}
