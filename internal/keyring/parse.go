package keyring

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// keyPrefix begins a key, so that scanners for leaked secrets find it.
	keyPrefix = "bzk_"
	keyLength = len(keyPrefix) + 2*len(Secret{})
	// maxFile bounds a key file in bytes; the rest is comments.
	maxFile = 64 << 10
)

// ErrContent is wrapped by the errors of a key file that says something else than keys.
var ErrContent = errors.New("not a valid key file")

// line is one line of a key file.
type line struct {
	text string // as it is in the file, without its line break
	key  Key    // its ID is empty if the line has none
}

// parse reads the content of a key file. Its errors name lines and repeat nothing of them.
func parse(data []byte) ([]line, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrContent, maxFile)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%w: it is no text in UTF-8", ErrContent)
	}
	var lines []line
	where := make(map[string]int) // the line of each key
	for text := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n") {
		n := len(lines) + 1
		key, err := parseLine(text)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d %w", ErrContent, n, err)
		}
		if key.ID != "" {
			if first := where[key.ID]; first > 0 {
				return nil, fmt.Errorf("%w: line %d has the key of line %d again: remove one of them", ErrContent, n, first)
			}
			where[key.ID] = n
		}
		lines = append(lines, line{text, key})
	}
	switch {
	case len(where) == 0:
		return nil, fmt.Errorf("%w: there is no key in it", ErrContent)
	case len(where) > MaxKeys:
		return nil, fmt.Errorf("%w: it has %d keys, at most %d are allowed: remove old ones", ErrContent, len(where), MaxKeys)
	}
	return lines, nil
}

// parseLine reads one line; the key's ID is empty if there is none.
func parseLine(text string) (Key, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' || r == 0x7f }) {
		return Key{}, errors.New("has a control character: write the file anew with a plain text editor")
	}
	if strings.HasPrefix(text, "\ufeff") {
		return Key{}, errors.New("begins with a byte order mark: save the file as UTF-8 without one")
	}
	word, _, _ := strings.Cut(text, "#")
	word = strings.Trim(word, " \t\r")
	if word == "" {
		return Key{}, nil
	}
	digits, ok := strings.CutPrefix(word, keyPrefix)
	if !ok {
		return Key{}, fmt.Errorf("is neither a key, which begins with %s, nor a comment, which begins with #", keyPrefix)
	}
	if len(word) != keyLength {
		return Key{}, fmt.Errorf("is no key: after %s it has %d characters and not %d; nothing but a comment may follow", keyPrefix, len(digits), keyLength-len(keyPrefix))
	}
	secret := new(Secret)
	if _, err := hex.Decode(secret[:], []byte(digits)); err != nil {
		return Key{}, fmt.Errorf("is no key: after %s it has something else than hexadecimal digits", keyPrefix)
	}
	return Key{ID: idOf(secret), Secret: secret}, nil
}

// keyText is a key as it stands in a file.
func keyText(secret *Secret) string { return keyPrefix + hex.EncodeToString(secret[:]) }

// keysOf returns the keys of lines, in order.
func keysOf(lines []line) []Key {
	var keys []Key
	for _, l := range lines {
		if l.key.ID != "" {
			keys = append(keys, l.key)
		}
	}
	return keys
}
