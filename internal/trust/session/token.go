package session

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/bezoar-cache/bezoar/internal/keyring"
)

// algorithm is the only one. HMAC, since who reads a session token is who makes it.
const algorithm = jose.HS256

// Mint makes the token of a session and signs it with the first key. [ErrNoKeys]; [ErrTooLarge]; any other error says that s is not
// whole.
func Mint(keys keyring.Keys, s *Session) (string, error) {
	if len(keys) == 0 {
		return "", ErrNoKeys
	}
	data, err := s.encode()
	if err != nil {
		return "", fmt.Errorf("make a session token: %w", err)
	}
	active := keys[0]
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: active.Secret[:]},
		(&jose.SignerOptions{}).WithHeader("kid", active.ID))
	if err != nil {
		return "", fmt.Errorf("make a session token: %w", err)
	}
	signed, err := signer.Sign(data)
	if err != nil {
		return "", fmt.Errorf("make a session token: %w", err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("make a session token: %w", err)
	}
	if len(Prefix)+len(text) > MaxSize {
		return "", ErrTooLarge
	}
	return Prefix + text, nil
}

// Parse reads a token that was signed with any of the keys. Whether it has expired is for the caller to see. [ErrMalformed];
// [ErrForged]; [ErrUnknownKey]; [ErrVersion]. Nothing of the payload is looked at before the signature is found good.
func Parse(keys keyring.Keys, text string) (*Session, error) {
	parts, ok := split(text)
	if !ok {
		return nil, ErrMalformed
	}
	signed, err := jose.ParseSignedCompact(strings.Join(parts[:], "."), []jose.SignatureAlgorithm{algorithm})
	if err != nil || len(signed.Signatures) != 1 {
		return nil, ErrMalformed
	}
	for i := range keys {
		if keys[i].ID != signed.Signatures[0].Protected.KeyID {
			continue
		}
		data, err := signed.Verify(keys[i].Secret[:])
		if err != nil {
			return nil, ErrForged
		}
		return decode(data)
	}
	return nil, ErrUnknownKey
}

// PeekID reads the id of a session out of its token without verifying anything, for people who revoke a token that they found.
// [ErrMalformed].
func PeekID(text string) (string, error) {
	parts, ok := split(text)
	if !ok {
		return "", ErrMalformed
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", ErrMalformed
	}
	var p struct {
		ID string `json:"sid"`
	}
	if err := json.Unmarshal(data, &p); err != nil || !IsID(p.ID) {
		return "", ErrMalformed
	}
	return p.ID, nil
}

// split takes a token apart. Each part must be written in the one canonical way: decoders pass over line breaks and over the bits that
// are left in the last character, so that one token would have many texts, and a changed one could pass for the one that was signed.
func split(text string) (parts [3]string, ok bool) {
	body, ok := strings.CutPrefix(text, Prefix)
	if !ok || len(text) > MaxSize || strings.Count(body, ".") != len(parts)-1 {
		return parts, false
	}
	for i := range parts {
		parts[i], body, _ = strings.Cut(body, ".")
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || base64.RawURLEncoding.EncodeToString(data) != parts[i] {
			return parts, false
		}
	}
	return parts, true
}
