package seal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
)

const (
	// markName is the note that a store keeps of the key that seals it.
	markName = "sealed-by"
	markText = "bezoar seal key 1 "
	// claimAttempts bounds how often Claim tries again because other servers claim the store at the same time.
	claimAttempts = 16
)

// ErrOtherKey says that the store is sealed with a key that this server lacks.
var ErrOtherKey = errors.New("the store is sealed with another key")

// Claim is to be called once before a store is sealed, whatever else decorates it. It notes in the store which key seals it, and refuses
// with [ErrOtherKey] if that is none of keys: two servers over one storage with different key files would destroy each other's
// entries. With a new active key, and the noted one still among keys, it moves the note on. For a store that is no [cache.Marker] it does nothing.
func Claim(ctx context.Context, store any, keys keyring.Keys) error {
	marker, ok := store.(cache.Marker)
	if !ok {
		return nil
	}
	active := keys.Active().ID
	value := []byte(markText + active + "\n")
	for range claimAttempts {
		id, old, err := readMark(ctx, marker)
		switch {
		case errors.Is(err, cache.ErrNotExist):
			old = nil
		case err != nil:
			return err
		case id == active:
			return nil
		default:
			if _, known := keys.Find(id); !known {
				return fmt.Errorf(`%w: %s is not in the key file of this server, which would take all that is stored for forged and set it aside.
Give it the key file of the server that uses the store, or add that key to its own as a line (see 'bezoar key --help').
If the key is lost, or was removed on purpose, remove the store's note %q (in a directory the file MARK-%s beside FORMAT) to begin anew: what was sealed with it becomes misses`,
					ErrOtherKey, id, markName, strings.ToUpper(markName))
			}
		}
		err = marker.SetMark(ctx, markName, old, value)
		if !errors.Is(err, cache.ErrExist) {
			return err
		}
	}
	return fmt.Errorf("other servers claimed the store %d times meanwhile: try again", claimAttempts)
}

// readMark returns the id of the key that seals the store, and the note as it is.
func readMark(ctx context.Context, marker cache.Marker) (id string, text []byte, err error) {
	text, err = marker.Mark(ctx, markName)
	if err != nil {
		return "", nil, err
	}
	id, ok := strings.CutPrefix(strings.TrimSuffix(string(text), "\n"), markText)
	if !ok || len(id) != 12 || strings.Trim(id, "0123456789abcdef") != "" {
		return "", nil, fmt.Errorf("the store's note %q says %.64q, which this release does not understand: update this server; or, if the note was changed by mistake, remove it (in a directory it is the file MARK-%s beside FORMAT)",
			markName, text, strings.ToUpper(markName))
	}
	return id, text, nil
}
