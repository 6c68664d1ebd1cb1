package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// MaxEntry bounds what [EncodeEntry] yields, in bytes. The longest key takes some 2 KB of it.
const MaxEntry = 64 << 10

// ErrEntry is wrapped by what [DecodeEntry] returns: the text is no entry.
var ErrEntry = errors.New("it is no record of an entry")

// entry is the JSON of an entry.
type entry struct {
	Workspace string `json:"workspace"`
	// Scope is percent-encoded as by [escape], because it may be no valid UTF-8, which JSON cannot carry.
	Scope  string       `json:"scope"`
	Hash   string       `json:"hash"`
	Record cache.Record `json:"record"`
}

// EncodeEntry returns key and record as JSON.
func EncodeEntry(e cache.Entry) ([]byte, error) {
	text, err := json.Marshal(entry{
		Workspace: string(e.Key.Workspace),
		Scope:     escape(string(e.Key.Scope)),
		Hash:      string(e.Key.Hash),
		Record:    e.Record,
	})
	if err != nil {
		return nil, fmt.Errorf("encode the record: %w", err)
	}
	if len(text) > MaxEntry {
		return nil, fmt.Errorf("the record takes %d bytes as JSON; at most %d are allowed", len(text), MaxEntry)
	}
	return text, nil
}

// DecodeEntry reads what [EncodeEntry] wrote. The text may come from anywhere: the key is checked, of the record nothing is believed.
func DecodeEntry(text []byte) (cache.Entry, error) {
	if len(text) > MaxEntry {
		return cache.Entry{}, fmt.Errorf("%w: it has %d bytes", ErrEntry, len(text))
	}
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return cache.Entry{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	name, err := url.PathUnescape(e.Scope)
	if err != nil {
		return cache.Entry{}, fmt.Errorf("%w: its scope is not readable", ErrEntry)
	}
	workspace, err1 := cache.ParseWorkspace(e.Workspace)
	scope, err2 := cache.ParseScope(name)
	hash, err3 := cache.ParseHash(e.Hash)
	if err := errors.Join(err1, err2, err3); err != nil {
		return cache.Entry{}, fmt.Errorf("%w: its key is not valid: %w", ErrEntry, err)
	}
	return cache.Entry{Key: cache.Key{Workspace: workspace, Scope: scope, Hash: hash}, Record: e.Record}, nil
}
