package keyring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What editing a key file answers beside trouble.
var (
	// ErrNoKey says that the file has no key of that id.
	ErrNoKey = errors.New("there is no such key")
	// ErrActive says that the active key was to be removed.
	ErrActive = errors.New("it is the active key")
	// ErrEditing says that another edit is under way, or was broken off.
	ErrEditing = errors.New("the key file is being edited")
)

// Add appends a fresh key that verifies but is not active, and returns its id. If there is no file, it is made, and the key is active.
func Add(path string) (id string, active bool, err error) {
	secret := newSecret()
	id = idOf(secret)
	err = edit(path, func(lines []line) ([]line, error) {
		if n := len(keysOf(lines)); n >= MaxKeys {
			return nil, fmt.Errorf("it has %d keys, which is the most that are allowed: remove old ones", n)
		}
		return append(lines, line{text: keyText(secret)}), nil
	})
	if !errors.Is(err, fs.ErrNotExist) {
		return id, false, err
	}
	if err := create(path, secret); err != nil {
		return "", false, fmt.Errorf("make the key file %s: %w", path, err)
	}
	return id, true, nil
}

// Activate moves the key called id before all others. It is [ErrNoKey] if there is none.
func Activate(path, id string) error {
	return edit(path, func(lines []line) ([]line, error) {
		from := indexOf(lines, id)
		if from < 0 {
			return nil, fmt.Errorf("%w: %q", ErrNoKey, id)
		}
		first := slices.IndexFunc(lines, func(l line) bool { return l.key.ID != "" })
		moved := lines[from]
		lines = slices.Delete(lines, from, from+1)
		return slices.Insert(lines, first, moved), nil
	})
}

// Remove takes the key called id out of the file. It is [ErrNoKey] if there is none, and [ErrActive] if it is the active one.
func Remove(path, id string) error {
	return edit(path, func(lines []line) ([]line, error) {
		i := indexOf(lines, id)
		if i < 0 {
			return nil, fmt.Errorf("%w: %q", ErrNoKey, id)
		}
		if keysOf(lines)[0].ID == id {
			return nil, fmt.Errorf("%w: %q: activate another one first", ErrActive, id)
		}
		return slices.Delete(lines, i, i+1), nil
	})
}

func indexOf(lines []line, id string) int {
	return slices.IndexFunc(lines, func(l line) bool { return l.key.ID != "" && l.key.ID == id })
}

// edit rewrites a key file: whole or not at all, with its comments, mode and owner. The file that takes its place has always
// the same name until then, so that two edits at once do not undo each other.
func edit(path string, change func([]line) ([]line, error)) error {
	// A link stays a link, and what it leads to is replaced.
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("read the key file: %w", err)
	}
	part := path + ".new"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s exists; if no other command is at work, one was broken off: remove that file and try again", ErrEditing, part)
	}
	if err != nil {
		return fmt.Errorf("edit the key file: %w", err)
	}
	renamed := false
	defer func() {
		if !renamed {
			_ = f.Close()
			_ = os.Remove(part)
		}
	}()
	text, err := changed(path, change)
	if err != nil {
		return err
	}
	if err := keepAccess(f, path); err != nil {
		return fmt.Errorf("keep the key file's owner and mode: %w: do this as its owner, or as root", err)
	}
	if err := fill(f, text); err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("replace the key file: %w", err)
	}
	renamed = true
	return syncDir(filepath.Dir(path))
}

// changed returns what the file at path says after a change.
func changed(path string, change func([]line) ([]line, error)) (string, error) {
	lines, _, err := read(path)
	if err != nil {
		return "", err
	}
	if lines, err = change(lines); err != nil {
		return "", fmt.Errorf("edit the key file %s: %w", path, err)
	}
	var text strings.Builder
	for _, l := range lines {
		text.WriteString(l.text + "\n")
	}
	if _, err := parse([]byte(text.String())); err != nil {
		return "", fmt.Errorf("edit the key file %s: after that it would be %w", path, err)
	}
	return text.String(), nil
}
