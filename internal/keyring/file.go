package keyring

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// fileMode of a key file: whoever reads it can forge seals and sessions.
const fileMode = 0o600

// header begins a file that this package makes.
const header = `# Keys of a bezoar server: the first seals entries and signs sessions, all of them verify.
# Whoever reads this file can forge both. 'bezoar key --help' tells how to replace a key.
`

// Open reads a key file. If there is none, the error is [fs.ErrNotExist]; if it says something else, [ErrContent].
func Open(path string) (*Ring, error) {
	lines, mode, err := read(path)
	if err != nil {
		return nil, err
	}
	r := &Ring{keys: keysOf(lines)}
	if mode&0o077 != 0 && runtime.GOOS != "windows" {
		r.warnings = append(r.warnings, fmt.Sprintf("others than its owner can use the key file %s (mode %04o); whoever reads it can forge entries and sessions: chmod 600 it", path, mode))
	}
	return r, nil
}

// OpenOrCreate reads a key file, or makes one with a fresh secret if there is none, with its directory. It never replaces a file: of
// servers that do this at the same time, all end with the same key.
func OpenOrCreate(path string) (ring *Ring, created bool, err error) {
	ring, err = Open(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return ring, false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, false, fmt.Errorf("make the directory of the key file: %w", err)
	}
	err = create(path, newSecret())
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, false, fmt.Errorf("make the key file %s: %w", path, err)
	}
	created = err == nil
	ring, err = Open(path)
	return ring, created, err
}

// read reads and parses a key file and tells its permission bits.
func read(path string) ([]line, fs.FileMode, error) {
	doing := func(err error) error {
		return fmt.Errorf("read the key file: %w", err)
	}
	// A FIFO without a writer would be waited for; like this it is empty.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, doing(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, doing(err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, doing(fmt.Errorf("%s: %w: it is not a file", path, ErrContent))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, 0, doing(err)
	}
	lines, err := parse(data)
	if err != nil {
		return nil, 0, doing(fmt.Errorf("%s: %w", path, err))
	}
	return lines, info.Mode().Perm(), nil
}

// create makes the file whole or not at all; [fs.ErrExist] if there is one.
func create(path string, secret *Secret) error {
	part := path + "." + strings.ToLower(rand.Text()[:8])
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	defer os.Remove(part)
	if err := fill(f, header+"\n"+keyText(secret)+"\n"); err != nil {
		return err
	}
	// Unlike a rename, a link replaces nothing.
	if err := os.Link(part, path); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: if the file system has no hard links, keep the file on another one", err)
		}
		return err
	}
	return syncDir(filepath.Dir(path))
}

// fill writes text to a file that was just made, such that power loss cannot cut it, and closes it.
func fill(f *os.File, text string) error {
	_, err := f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
