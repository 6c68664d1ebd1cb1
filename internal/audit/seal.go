package audit

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// sealLabel begins what is signed.
const sealLabel = "bezoar audit seal 1"

// SealKind says what a seal is for. It is signed with the rest, so that one cannot stand for the other.
type SealKind string

// The kinds of seals.
const (
	// SealHead says that the chain had this head at that time.
	SealHead SealKind = "head"
	// SealAnchor says that the chain was trimmed: it begins behind this row, which is no more.
	SealAnchor SealKind = "anchor"
)

// Seal is a place in the chain, signed by a server: who can write to the database and has no key can make none.
type Seal struct {
	Kind SealKind
	Head
	// Time is when it was made, in milliseconds, in UTC.
	Time time.Time
	// Key is the id of the key in the server's key file.
	Key       string
	Signature []byte
}

// Key signs with a key that comes from one of the server's key file.
type Key struct {
	// ID is that of the key in the file.
	ID      string
	private ed25519.PrivateKey
}

// NewKey makes a key of a secret that is derived for this purpose alone, of 32 bytes.
func NewKey(id string, secret []byte) Key {
	return Key{ID: id, private: ed25519.NewKeyFromSeed(secret)}
}

// String keeps the secret out of logs.
func (k Key) String() string { return "audit key " + k.ID }

// GoString is String.
func (k Key) GoString() string { return k.String() }

// Public is the key by which others verify: its id, a colon, and the key in hexadecimal digits.
func (k Key) Public() string {
	return k.ID + ":" + hex.EncodeToString(k.private.Public().(ed25519.PublicKey))
}

// Sign seals a head.
func (k Key) Sign(kind SealKind, head Head, now time.Time) Seal {
	s := Seal{Kind: kind, Head: head, Time: now.UTC().Truncate(time.Millisecond), Key: k.ID}
	s.Signature = ed25519.Sign(k.private, s.encode())
	return s
}

func (s *Seal) encode() []byte {
	return netstrings(sealLabel, string(s.Kind), strconv.FormatInt(s.Seq, 10), s.Hash.String(), s.Time.UTC().Format(timeLayout), s.Key)
}

// Keys verify seals, by their ids.
type Keys map[string]ed25519.PublicKey

// PublicKeys are those of keys that sign.
func PublicKeys(keys []Key) Keys {
	all := make(Keys, len(keys))
	for _, k := range keys {
		all[k.ID] = k.private.Public().(ed25519.PublicKey)
	}
	return all
}

// ParsePublicKeys reads keys as [Key.Public] gives them.
func ParsePublicKeys(texts []string) (Keys, error) {
	all := make(Keys, len(texts))
	for _, text := range texts {
		id, digits, _ := strings.Cut(text, ":")
		key, err := hex.DecodeString(digits)
		if err != nil || id == "" || len(key) != ed25519.PublicKeySize {
			return nil, errors.New("a public key is the id of a key, a colon and 64 hexadecimal digits, as 'bezoar audit head --json' shows it")
		}
		all[id] = key
	}
	return all, nil
}

// verdict of keys on a seal.
type verdict int

const (
	good verdict = iota
	forged
	unknownKey
)

func (k Keys) verify(s *Seal) verdict {
	key, ok := k[s.Key]
	switch {
	case !ok:
		return unknownKey
	case !ed25519.Verify(key, s.encode(), s.Signature):
		return forged
	}
	return good
}
