package bucket

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
)

// The text beside an object: the form, ".", the id of the upload, ".", and key and record in base64url without padding.
//
// Form 1 is [layout.EncodeEntry], deflated with [dictionary]; form 2 the same, encrypted. The id tells an upload from all others, so that
// whoever does not know whether his upload was taken can see it from what is there.
const (
	formPlain  = "1"
	formSealed = "2"
)

// errLater is an entry that a later bezoar wrote. It is not damaged and must not be set aside.
var errLater = errors.New("was written by a later version of bezoar: update this server")

// damageError says why an object is not a whole entry of the key under which it lies.
type damageError string

func (d damageError) Error() string { return string(d) }

// dictionary is what records have in common; with it one takes some 700 bytes less, and S3 has room for 2 KB. It belongs to the
// forms 1 and 2 and can never change.
const dictionary = `"token_id":"","token_name":"","developer":"","opaque":true,"kind":"token","kind":"anonymous"` +
	`"provider":"oidc","issuer":"https://gitlab.com","subject":"project_path:` +
	`"source_id":"","event":"merge_request_event","event":"schedule","event":"pull_request","ref":"refs/merge-requests/` +
	`"workflow_ref":"/.gitlab-ci.yml@refs/heads/` +
	`{"workspace":"default","scope":"pr%2f","scope":"branch%2frefs%2fheads%2f","scope":"trusted","hash":"` +
	`","record":{"size":0,"sha256":"","content":"","inflated":0,"members":0,"created":"2026-01-01T00:00:00.000000000Z","producer":{"kind":"ci",` +
	`"provider":"github","issuer":"https://token.actions.githubusercontent.com","subject":"repo:` +
	`:ref:refs/heads/main","session":"ses_","repository":"","repository_id":"","owner_id":"","event":"push","ref":"refs/pull//merge","ref":"refs/heads/main",` +
	`"commit":"","run_id":"","run_attempt":"1","job":"build","workflow_ref":"/.github/workflows/ci.yml@refs/heads/main","actor":"","actor_id":""},"seal":"v1.`

// newID returns an id for one upload.
func newID() string { return rand.Text()[:20] }

// idOf returns the id of the upload that made an object, if the text is of a known form.
func idOf(meta string) string {
	_, rest, _ := strings.Cut(meta, ".")
	id, _, _ := strings.Cut(rest, ".")
	return id
}

// encodeMeta returns the text for the entry that is to lie under name.
func (s *Store) encodeMeta(name, id string, entry cache.Entry) (string, error) {
	text, err := layout.EncodeEntry(entry)
	if err != nil {
		return "", err
	}
	var deflated bytes.Buffer
	w, err := flate.NewWriterDict(&deflated, flate.BestCompression, []byte(dictionary))
	if err != nil {
		return "", err
	}
	if _, err := w.Write(text); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	form, packed := formPlain, deflated.Bytes()
	if s.cipher != nil {
		form = formSealed
		if packed, err = s.cipher.SealMeta(name, packed); err != nil {
			return "", fmt.Errorf("encrypt the record: %w", err)
		}
	}
	meta := form + "." + id + "." + base64.RawURLEncoding.EncodeToString(packed)
	if len(meta) > MaxMeta {
		return "", fmt.Errorf("the record takes %d bytes beside the object, at most %d are allowed: names in it (branch, workflow, subject) are too long", len(meta), MaxMeta)
	}
	return meta, nil
}

// decodeMeta reads the text beside an object. Its error is a [damageError], [errLater], or one of the cipher that says nothing about the object.
func (s *Store) decodeMeta(info Info) (cache.Entry, error) {
	if !info.HasMeta {
		return cache.Entry{}, noRecord
	}
	form, rest, _ := strings.Cut(info.Meta, ".")
	_, packed, ok := strings.Cut(rest, ".")
	want := formPlain
	if s.cipher != nil {
		want = formSealed
	}
	switch {
	case !ok || len(info.Meta) > MaxMeta:
		return cache.Entry{}, damageError("its record has no known form")
	case form != want && len(form) == 1 && form > formSealed && form <= "9":
		return cache.Entry{}, errLater
	case form != want:
		return cache.Entry{}, damageError("its record has another form than entries in this place")
	}
	deflated, err := base64.RawURLEncoding.DecodeString(packed)
	if err != nil {
		return cache.Entry{}, damageError("its record is not readable")
	}
	if s.cipher != nil {
		if deflated, err = s.cipher.OpenMeta(info.Name, deflated); err != nil {
			return cache.Entry{}, cipherError("its record", err)
		}
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(bytes.NewReader(deflated), []byte(dictionary)), layout.MaxEntry+1))
	if err != nil {
		return cache.Entry{}, damageError("its record is not readable")
	}
	entry, err := layout.DecodeEntry(text)
	if err != nil {
		return cache.Entry{}, damageError(err.Error())
	}
	return entry, nil
}

// inspect reads the record of what lies under key's name and holds it against key and size.
func (s *Store) inspect(info Info, key cache.Key) (cache.Entry, error) {
	entry, err := s.decodeMeta(info)
	if err != nil {
		return cache.Entry{}, err
	}
	if entry.Key != key {
		return cache.Entry{}, damageError(fmt.Sprintf("it is the entry of another key, %q", entry.Key))
	}
	if entry.Record.Size < 0 || s.storedSize(entry.Record.Size) != info.Size {
		return cache.Entry{}, damageError(fmt.Sprintf("it has %d bytes, which do not fit its record", info.Size))
	}
	return entry, nil
}

// storedSize is how many bytes an artifact of size bytes takes in the bucket.
func (s *Store) storedSize(size int64) int64 {
	if s.cipher == nil {
		return size
	}
	return s.cipher.Size(size)
}
