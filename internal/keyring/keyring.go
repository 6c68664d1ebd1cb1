// Package keyring keeps the secrets that seal entries and sign sessions: it reads and writes the key file, and
// derives from each of its keys another one for each purpose.
//
// A key file is text in UTF-8 with one key on a line, "bzk_" and 64 hexadecimal digits. What follows a "#" is a
// comment. The first key is the active one: it makes seals and signatures. All of them verify, so that
// a key can be replaced without a moment in which one server does not know the other's.
package keyring

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// MaxKeys bounds the keys of a ring. Rotation needs two; the rest is for those who never clean up.
const MaxKeys = 16

// idLabel keeps the id of a secret apart from any other use of its hash.
const idLabel = "bezoar key id 1\n"

// Key is a secret for one purpose.
type Key struct {
	// ID names the secret without telling it, by 12 hexadecimal digits: the same for all purposes.
	ID string
	// Secret is a pointer, because fmt does not follow it where it may call no methods. It is never nil.
	Secret *Secret
}

// Keys are the keys of a ring for one purpose. They are ordered: the first is the active one.
type Keys []Key

// Active returns the key that makes. There must be one.
func (k Keys) Active() Key { return k[0] }

// Find returns the key called id.
func (k Keys) Find(id string) (Key, bool) {
	for _, key := range k {
		if key.ID == id {
			return key, true
		}
	}
	return Key{}, false
}

// Ring is an ordered set of secrets: the first makes, all verify. It never changes and is safe for concurrent use.
type Ring struct {
	keys     []Key // the secrets themselves, for no purpose yet
	warnings []string
}

// New makes a ring of secrets, the first active. One that is there twice counts once.
func New(secrets ...[32]byte) *Ring {
	r := &Ring{}
	for _, s := range secrets {
		secret := Secret(s)
		key := Key{ID: idOf(&secret), Secret: &secret}
		if _, known := Keys(r.keys).Find(key.ID); !known {
			r.keys = append(r.keys, key)
		}
	}
	return r
}

// IDs returns the ids of all keys, that of the active one first.
func (r *Ring) IDs() []string {
	ids := make([]string, len(r.keys))
	for i, key := range r.keys {
		ids[i] = key.ID
	}
	return ids
}

// Warnings tells what is not right with the file that the ring came from, each as a line for the log.
func (r *Ring) Warnings() []string { return slices.Clone(r.warnings) }

// Derive gives keys for one purpose by HKDF-SHA256 (RFC 5869), so that one purpose's keys tell nothing of
// another's, nor of the secrets that they come from.
func (r *Ring) Derive(purpose string) Keys {
	keys := make(Keys, len(r.keys))
	for i, key := range r.keys {
		derived, err := hkdf.Key(sha256.New, key.Secret[:], nil, "bezoar 1 "+purpose, len(key.Secret))
		if err != nil {
			panic(err) // asked for too much, or no SHA-256: a bug
		}
		keys[i] = Key{ID: key.ID, Secret: (*Secret)(derived)}
	}
	return keys
}

// String names the keys by their ids.
func (r *Ring) String() string { return fmt.Sprintf("keys %v", r.IDs()) }

// idOf is the beginning of a SHA-256, of which nobody can tell the secret.
func idOf(secret *Secret) string {
	sum := sha256.Sum256(append([]byte(idLabel), secret[:]...))
	return hex.EncodeToString(sum[:6])
}
