// Package layout holds what all places for entries have in common: how a key becomes a name in a file system or bucket, and how key and
// record become the text beside a body.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// MaxName bounds a file name in bytes. Most file systems take 255, eCryptfs 143.
const MaxName = 140

// FileName turns a name from outside into a file name of at most [MaxName] bytes. It is injective, also when upper and lower case are
// taken for the same: [escape] can be undone, and the form for long names begins with a byte that
// escape never yields.
func FileName(name string) string {
	if escaped := escape(name); len(escaped) <= MaxName {
		return escaped
	}
	sum := sha256.Sum256([]byte(name))
	return "=" + hex.EncodeToString(sum[:])
}

// escape percent-encodes (RFC 3986, with lower-case digits) every byte but a-z, 0-9, '_' and, inside a name, '-' and '.'.
// No name comes out as ".", "..", hidden, like an option, with a trailing dot, or as a device of Windows.
func escape(name string) string {
	plain := true
	for i := range len(name) {
		if !isPlain(name, i) {
			plain = false
			break
		}
	}
	device := isDevice(name)
	if plain && !device {
		return name
	}
	const digits = "0123456789abcdef"
	var b strings.Builder
	b.Grow(len(name) + 16)
	for i := range len(name) {
		c := name[i]
		if isPlain(name, i) && (!device || i > 0) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

func isPlain(name string, i int) bool {
	switch c := name[i]; {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_':
		return true
	case c == '-':
		return i > 0
	case c == '.':
		return i > 0 && i < len(name)-1
	default:
		return false
	}
}

// isDevice reports whether Windows would take name for a device, in whatever directory.
func isDevice(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	switch base {
	case "con", "prn", "aux", "nul":
		return true
	}
	if len(base) == 4 && '0' <= base[3] && base[3] <= '9' {
		return base[:3] == "com" || base[:3] == "lpt"
	}
	return false
}
