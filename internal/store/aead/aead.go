// Package aead encrypts what lies in a bucket with keys that the server has and the bucket has not: bodies and the records beside them. Who
// can read the bucket learns names, sizes and times. Who can write to it can remove what is there, or put back what this
// server encrypted for the very same name or record; anything else is not decrypted.
//
// Two forms, each with a head that names the key:
//
//	record: 1, key id (6 bytes), nonce (12), AES-256-GCM
//	body:   1, key id (6 bytes), 40, salt (32), nonce prefix (7), AES-256-GCM in segments of 64 KiB
//
// The second is, after its seven bytes, Tink's AES-GCM-HKDF with SHA-256: each segment is authenticated with its number and with
// whether it is the last, under a key of this one stream. https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming
package aead

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// What a [Cipher] says of something that it cannot judge. What it can, and finds changed, is [bucket.ErrBroken].
var (
	// ErrUnknownKey is for what another key encrypted, or for something whose head was changed: without the key that cannot be told.
	ErrUnknownKey = errors.New("it is encrypted with a key that this server does not have")
	// ErrLater is for a form of a later release. Somebody who can write to the bucket can pretend it.
	ErrLater = errors.New("it is encrypted by a later release of bezoar")
)

const (
	version = 1
	// lastVersion is the highest that a later release may have. Anything above is garbage.
	lastVersion = 15

	idSize    = 6
	headSize  = 1 + idSize
	nonceSize = 12
	tagSize   = 16
	// segmentSize is that of the encrypted segments of a body. 64 KiB cost as much CPU as 1 MiB and hold a sixteenth of the memory.
	segmentSize = 64 << 10
	// copySize is how much of a body is read at once.
	copySize = 32 << 10
)

// Cipher is a [bucket.Cipher]. It is safe for concurrent use, starts no goroutines, and holds some 160 KiB for each body under way.
type Cipher struct {
	keys    []key
	segment int
	buffers sync.Pool // of *[copySize]byte
}

var _ bucket.Cipher = (*Cipher)(nil)

// key is one of a keyring, taken apart.
type key struct {
	id         [idSize]byte
	meta, body *keyring.Secret
}

// New returns a cipher: the first of keys encrypts, all decrypt. There must be one. They are those of one purpose, ring.Derive("aead").
func New(keys keyring.Keys) (*Cipher, error) { return newCipher(keys, segmentSize) }

func newCipher(keys keyring.Keys, segment int) (*Cipher, error) {
	if len(keys) == 0 {
		return nil, errors.New("encryption needs a key")
	}
	c := &Cipher{segment: segment, buffers: sync.Pool{New: func() any { return new([copySize]byte) }}}
	for _, k := range keys {
		id, err := hex.DecodeString(k.ID)
		if err != nil || len(id) != idSize {
			return nil, fmt.Errorf("the key id %q is not %d hexadecimal digits", k.ID, 2*idSize)
		}
		// Records and bodies have different keys, so that neither can stand for the other.
		meta, err := derive(k.Secret, "bezoar aead 1 record")
		if err != nil {
			return nil, err
		}
		body, err := derive(k.Secret, "bezoar aead 1 body")
		if err != nil {
			return nil, err
		}
		c.keys = append(c.keys, key{[idSize]byte(id), meta, body})
	}
	return c, nil
}

// Format names the keys by their ids, whatever the verb.
func (c *Cipher) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "cipher with the keys")
	for _, k := range c.keys {
		_, _ = io.WriteString(f, " "+hex.EncodeToString(k.id[:]))
	}
}

// KeyID names the key that something was encrypted with, as a keyring does, or is empty if the form is not known. It is not verified.
func KeyID(sealed []byte) string {
	if len(sealed) < headSize || sealed[0] != version {
		return ""
	}
	return hex.EncodeToString(sealed[1:headSize])
}

// head begins what the active key encrypts.
func (c *Cipher) head() []byte { return append([]byte{version}, c.keys[0].id[:]...) }

// keyOf returns the key that a head names: [ErrLater], [ErrUnknownKey], or broken.
func (c *Cipher) keyOf(head []byte) (key, error) {
	switch {
	case len(head) == 0:
		return key{}, broken("it is empty")
	case head[0] > version && head[0] <= lastVersion:
		return key{}, fmt.Errorf("%w: it has the form %d; update this server", ErrLater, head[0])
	case head[0] != version:
		return key{}, broken("it has no known form")
	case len(head) < headSize:
		return key{}, broken("it is cut")
	}
	for _, k := range c.keys {
		if k.id == [idSize]byte(head[1:headSize]) {
			return k, nil
		}
	}
	return key{}, fmt.Errorf("%w: %s; add it to the key file", ErrUnknownKey, KeyID(head))
}

// SealMeta encrypts a text that is to be kept beside the object called name. It gets 35 bytes longer.
//
// The nonce is random and has 96 bits, of which one key may see 2^32 before a repetition has to be feared. So each name has a key of its own,
// and no name is written that often.
func (c *Cipher) SealMeta(name string, text []byte) ([]byte, error) {
	gcm, err := metaGCM(c.keys[0], name)
	if err != nil {
		return nil, err
	}
	head := c.head()
	sealed := make([]byte, headSize+nonceSize, headSize+nonceSize+len(text)+tagSize)
	copy(sealed, head)
	nonce := sealed[headSize:]
	_, _ = rand.Read(nonce) // never fails
	return gcm.Seal(sealed, nonce, text, head), nil
}

// OpenMeta decrypts what SealMeta made for the same name. [bucket.ErrBroken]; [ErrUnknownKey]; [ErrLater].
func (c *Cipher) OpenMeta(name string, sealed []byte) ([]byte, error) {
	by, err := c.keyOf(sealed[:min(len(sealed), headSize)])
	if err != nil {
		return nil, err
	}
	if len(sealed) < headSize+nonceSize+tagSize {
		return nil, broken("it is cut")
	}
	gcm, err := metaGCM(by, name)
	if err != nil {
		return nil, err
	}
	text, err := gcm.Open(nil, sealed[headSize:headSize+nonceSize], sealed[headSize+nonceSize:], sealed[:headSize])
	if err != nil {
		return nil, broken("somebody without the server's key changed it or moved it here")
	}
	return text, nil
}

func metaGCM(by key, name string) (cipher.AEAD, error) {
	own, err := derive(by.meta, name)
	if err != nil {
		return nil, err
	}
	return newGCM(own[:])
}

func newGCM(secret []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// derive makes a key of another one for a purpose, by the second half of HKDF-SHA256: the first is for secrets that are not evenly random.
func derive(from *keyring.Secret, purpose string) (*keyring.Secret, error) {
	derived, err := hkdf.Expand(sha256.New, from[:], purpose, len(from))
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return (*keyring.Secret)(derived), nil
}

func broken(why string) error { return fmt.Errorf("%w: %s", bucket.ErrBroken, why) }
