package trust

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"strings"
)

// The text of a token: a prefix that people and scanners recognise, 256 random bits and a CRC-32 of prefix and bits, both in
// base 62 (0-9, a-z, A-Z) with leading zeros, so that a double click selects it whole and its length is fixed.
const (
	// TokenPrefix begins every token of the cache.
	TokenPrefix = "bzr_"
	// AdminPrefix begins every token of the API of operators. It is as long as the other one. Their form alone tells the two kinds apart, before any
	// record of them is looked at.
	AdminPrefix = "bza_"
	// TokenLength is the length of every token in bytes.
	TokenLength = len(TokenPrefix) + bodyLength + sumLength
	// TokenPattern is the regular expression for secret scanners. Its matches can be verified without the server: see [ParseToken].
	TokenPattern = `\bbz[ar]_[0-9A-Za-z]{49}\b`

	bodyLength = 43 // 62^43 > 2^256
	sumLength  = 6  // 62^6 > 2^32
	idLength   = 12
)

// TokenHash is the SHA-256 of a token's whole text: all that is ever kept of it. The text has 256 bits of entropy, so there is no
// list of likely tokens to try, and a slow or salted hash would add nothing but work at each request.
type TokenHash [sha256.Size]byte

// NewToken makes a token of the cache. Its text is to be shown once and forgotten.
func NewToken() (text string, hash TokenHash) { return newToken(TokenPrefix) }

// NewAdminToken is [NewToken] for the API of operators.
func NewAdminToken() (text string, hash TokenHash) { return newToken(AdminPrefix) }

func newToken(prefix string) (text string, hash TokenHash) {
	var secret [32]byte
	rand.Read(secret[:]) // never fails: it ends the process instead
	text = prefix + base62(new(big.Int).SetBytes(secret[:]), bodyLength)
	text += checksum(text)
	return text, sha256.Sum256([]byte(text))
}

// ParseToken checks the form of a presented token of either kind, without looking it up, and returns its hash. What was cut, mistyped or is something
// else is an error that wraps [ErrMalformed] and does not repeat any of it.
func ParseToken(text string) (TokenHash, error) {
	if !strings.HasPrefix(text, TokenPrefix) && !strings.HasPrefix(text, AdminPrefix) {
		return TokenHash{}, malformed("this is no token of bezoar: those begin with " + TokenPrefix)
	}
	if len(text) != TokenLength {
		return TokenHash{}, malformed(fmt.Sprintf("the token has %d characters where %d are due: it was cut, or something was pasted to it",
			len(text), TokenLength))
	}
	for i := len(TokenPrefix); i < len(text); i++ {
		if !isBase62(text[i]) {
			return TokenHash{}, malformed("the token has a character other than letters and digits: it was pasted wrongly")
		}
	}
	if split := TokenLength - sumLength; text[split:] != checksum(text[:split]) {
		return TokenHash{}, malformed("the token's checksum does not fit: it was mistyped or pasted wrongly")
	}
	return sha256.Sum256([]byte(text)), nil
}

// ParseTokenHash reads what [TokenHash.String] writes.
func ParseTokenHash(s string) (TokenHash, error) {
	var h TokenHash
	if strings.HasPrefix(s, TokenPrefix) || strings.HasPrefix(s, AdminPrefix) {
		return h, errors.New("this is a token itself where its hash belongs: only the hash is kept, as `bezoar token create` tells it")
	}
	digits, ok := strings.CutPrefix(s, hashPrefix)
	if n, err := hex.Decode(h[:], []byte(digits[:min(len(digits), 2*len(h))])); !ok || err != nil || n != len(h) || len(digits) != 2*len(h) {
		return TokenHash{}, fmt.Errorf("not the hash of a token: it is %q and %d hexadecimal digits", hashPrefix, 2*len(h))
	}
	if h == (TokenHash{}) {
		return h, errors.New("not the hash of a token: it is all zeros")
	}
	return h, nil
}

const hashPrefix = "sha256:"

// String returns the hash as "sha256:" and 64 hexadecimal digits.
func (h TokenHash) String() string { return hashPrefix + hex.EncodeToString(h[:]) }

// ID returns the name under which the token can be shown, logged and looked up: the first 12 hexadecimal digits of the hash. It
// tells nothing of the text.
func (h TokenHash) ID() string { return hex.EncodeToString(h[:])[:idLength] }

// MarshalText implements [encoding.TextMarshaler].
func (h TokenHash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *TokenHash) UnmarshalText(text []byte) error {
	parsed, err := ParseTokenHash(string(text))
	if err != nil {
		return err
	}
	*h = parsed
	return nil
}

// looksLikeID tells names from ids, so that no name can stand for the id of another token.
func looksLikeID(s string) bool {
	if len(s) != idLength {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

const digits62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// checksum is base62 of the CRC-32, without the detour by large numbers: every request has its token checked.
func checksum(s string) string {
	n := crc32.ChecksumIEEE([]byte(s))
	var b [sumLength]byte
	for i := range b {
		b[len(b)-1-i] = digits62[n%62]
		n /= 62
	}
	return string(b[:])
}

func base62(n *big.Int, width int) string {
	digits := n.Text(62)
	return strings.Repeat("0", width-len(digits)) + digits
}

func isBase62(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
