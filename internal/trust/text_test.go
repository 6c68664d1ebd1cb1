package trust

import (
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNewToken(t *testing.T) {
	pattern := regexp.MustCompile(TokenPattern)
	seen := map[string]bool{}
	for range 1000 {
		text, hash := NewToken()
		if len(text) != TokenLength || pattern.FindString("x="+text+";") != text {
			t.Fatalf("a token of %d characters that secret scanners do not find", len(text))
		}
		if hash != sha256.Sum256([]byte(text)) {
			t.Fatal("the hash is not that of the text")
		}
		if got, err := ParseToken(text); err != nil || got != hash {
			t.Fatalf("ParseToken: %v, %v", got, err)
		}
		if seen[text] || seen[hash.ID()] {
			t.Fatal("a token twice")
		}
		seen[text], seen[hash.ID()] = true, true
	}
}

// One token for all times.
const (
	stableToken = "bzr_0000000000Sk0fuYWpqSeHmWnHDpbzjCa9kUMp0wPd03vIh9H"
	stableHash  = "sha256:8148c266380d1626872eb876d61333853650dd22fcfafb6cb0416d75bb1c2dc5"
	stableID    = "8148c266380d"
)

// The form is a promise to scanners and to tokens in use: this one has to be read by every release.
func TestTokenFormIsStable(t *testing.T) {
	hash, err := ParseToken(stableToken)
	if err != nil || hash.String() != stableHash || hash.ID() != stableID {
		t.Fatalf("got %s, %s, %v", hash, hash.ID(), err)
	}
}

// Every single wrong, missing, added or swapped character is noticed without a look-up.
func TestParseTokenNoticesTypingErrors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, _ := NewToken()
		i := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		c := rapid.ByteRange(0, 255).Draw(t, "char")
		var wrong string
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			wrong = text[:i] + string(rune(c)) + text[i+1:]
		case 1:
			wrong = text[:i] + text[i+1:]
		case 2:
			wrong = text[:i] + string(rune(c)) + text[i:]
		case 3:
			j := (i + 1) % len(text)
			b := []byte(text)
			b[i], b[j] = b[j], b[i]
			wrong = string(b)
		}
		if wrong == text {
			return
		}
		if _, err := ParseToken(wrong); !errors.Is(err, ErrMalformed) {
			t.Fatalf("took %q for %q: %v", wrong, text, err)
		}
	})
}

func TestParseTokenHash(t *testing.T) {
	text, hash := NewToken()
	if got, err := ParseTokenHash(hash.String()); err != nil || got != hash {
		t.Fatalf("got %v, %v", got, err)
	}
	digits := strings.TrimPrefix(hash.String(), hashPrefix)
	for _, wrong := range []string{"", "sha256:", digits, "sha512:" + digits, hash.String() + "00", hash.String()[:70],
		hash.String() + "0", strings.Replace(hash.String(), digits[:1], "g", 1), "sha256: " + digits, text} {
		_, err := ParseTokenHash(wrong)
		if err == nil {
			t.Errorf("took %q", wrong)
			continue
		}
		wantNoSecret(t, err.Error(), text)
	}
	var unmarshalled TokenHash
	if err := unmarshalled.UnmarshalText([]byte(hash.String())); err != nil || unmarshalled != hash {
		t.Fatalf("got %v, %v", unmarshalled, err)
	}
}

func FuzzParseToken(f *testing.F) {
	text, _ := NewToken()
	for _, seed := range []string{"", text, text + " ", text[:52], "bzr_", "ghp_0123456789", strings.ToUpper(text), "bzr_\x00" + text[5:], stableToken} {
		f.Add(seed)
	}
	pattern := regexp.MustCompile(`^(?:` + TokenPattern + `)$`)
	f.Fuzz(func(t *testing.T, s string) {
		hash, err := ParseToken(s)
		if err == nil {
			if !pattern.MatchString(s) || hash != sha256.Sum256([]byte(s)) {
				t.Fatalf("took %q", s)
			}
			return
		}
		// The texts are these alone, whatever was presented.
		if !errors.Is(err, ErrMalformed) || !malformedText.MatchString(err.Error()) {
			t.Fatalf("got %v", err)
		}
	})
}

var malformedText = regexp.MustCompile(`^(this is no token of bezoar: those begin with bzr_` +
	`|the token has \d+ characters where 53 are due: it was cut, or something was pasted to it` +
	`|the token has a character other than letters and digits: it was pasted wrongly` +
	`|the token's checksum does not fit: it was mistyped or pasted wrongly)$`)

func TestChecksumIsBase62(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		if got, want := checksum(s), base62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(s)))), sumLength); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}
