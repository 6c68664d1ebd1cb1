package keyring

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a key's bytes. No form in which it is printed, logged or marshalled shows them; slice it to use them.
type Secret [32]byte

// redacted stands in every output for a secret.
const redacted = "[redacted]"

// newSecret makes one of the system's randomness, which never fails.
func newSecret() *Secret {
	var s Secret
	_, _ = rand.Read(s[:])
	return &s
}

// String returns no secret.
func (Secret) String() string { return redacted }

// Format implements [fmt.Formatter] for all verbs, those that want the bytes included.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is String, for slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is String, for JSON and its like.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
