package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
)

// Why an entry's seal is not good.
var (
	// ErrMissing is for an entry without a seal: made before entries were sealed, or by somebody who could not seal.
	ErrMissing = errors.New("it has no seal")
	// ErrBroken is for an entry that is not what was sealed: its key, its record or its seal was changed.
	ErrBroken = errors.New("its seal is broken")
	// ErrUnknownKey is for a seal by a key that is not among those that verify.
	ErrUnknownKey = errors.New("it is sealed with a key that this server does not have")
	// ErrLater is for a seal in a form of a later release, about which this one can say nothing.
	ErrLater = errors.New("it is sealed by a later release of bezoar")
)

// version begins seals of the form that this file makes: "v1.", the id of the key, ".", and the HMAC-SHA256 of [encode] in
// base64url without padding.
const version = "v1."

// Verify says whether the record was sealed for this key, by one of keys: nil, [ErrMissing], [ErrBroken], [ErrUnknownKey] or [ErrLater].
func Verify(keys keyring.Keys, key cache.Key, record cache.Record) error {
	if record.Seal == "" {
		return ErrMissing
	}
	rest, ok := strings.CutPrefix(record.Seal, version)
	if !ok {
		if isLater(record.Seal) {
			return fmt.Errorf("%w: update this server", ErrLater)
		}
		return fmt.Errorf("%w: it has no form of a seal", ErrBroken)
	}
	id, _, ok := strings.Cut(rest, ".")
	if !ok || len(id) != 12 || strings.Trim(id, "0123456789abcdef") != "" {
		return fmt.Errorf("%w: it has no form of a seal", ErrBroken)
	}
	by, ok := keys.Find(id)
	if !ok {
		return fmt.Errorf("%w: %s", ErrUnknownKey, id)
	}
	if !hmac.Equal([]byte(record.Seal), []byte(seal(by, key, record))) {
		return fmt.Errorf("%w: somebody without the server's key %s changed the entry or moved it here", ErrBroken, id)
	}
	return nil
}

// KeyID returns the id of the key that a seal names, or nothing. The seal may be broken.
func KeyID(seal string) string {
	rest, _ := strings.CutPrefix(seal, version)
	id, _, ok := strings.Cut(rest, ".")
	if !ok || len(id) != 12 || strings.Trim(id, "0123456789abcdef") != "" {
		return ""
	}
	return id
}

// isLater reports whether a seal begins as those of all releases do: with "v", a number above ours, and ".".
func isLater(seal string) bool {
	number, _, ok := strings.Cut(strings.TrimPrefix(seal, "v"), ".")
	return ok && seal[0] == 'v' && number != "" && len(number) <= 3 && number[0] != '0' && number != "1" && strings.Trim(number, "0123456789") == ""
}

func seal(by keyring.Key, key cache.Key, record cache.Record) string {
	mac := hmac.New(sha256.New, by.Secret[:])
	_, _ = mac.Write(encode(key, record)) // a hash never fails
	return version + by.ID + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// encode writes key and record, but for its seal, in the one form that is sealed. Different entries have different
// forms: each text has its length before it, everything else its fixed size. Numbers are big-endian; times are instants.
//
// A field that a later release adds to Record or Producer is not in it, so that an attacker could set it. Such a release makes
// seals of a next version that has it, and takes a v1 seal for good only if the field is empty.
func encode(key cache.Key, r cache.Record) []byte {
	b := make([]byte, 0, 1024)
	b = append(b, "bezoar seal 1\n"...)
	for _, s := range []string{string(key.Workspace), string(key.Scope), string(key.Hash)} {
		b = appendText(b, s)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(r.Size))
	b = append(b, r.SHA256[:]...)
	b = append(b, r.Content[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Inflated))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Members))
	b = append(b, flag(r.Opaque))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Created.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Created.Nanosecond()))
	p := &r.Producer
	for _, s := range []string{
		p.Kind, p.TokenID, p.TokenName, p.Developer,
		p.Provider, p.Issuer, p.Subject, p.Session, p.Repository, p.RepositoryID, p.OwnerID, p.SourceID,
		p.Event, p.Ref, p.Commit, p.RunID, p.RunAttempt, p.Job, p.WorkflowRef, p.Actor, p.ActorID,
	} {
		b = appendText(b, inJSON(s))
	}
	return b
}

func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// inJSON is what s comes back as from a store, which keeps records as JSON: there each byte that is no UTF-8 becomes U+FFFD.
func inJSON(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}
