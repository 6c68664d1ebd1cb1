package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

var _ cache.Marker = (*Store)(nil)

// markPath returns where the note called name lies, beside FORMAT.
func (s *Store) markPath(name string) (string, error) {
	if name == "" || len(name) > 32 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "", fmt.Errorf("%q is no name of a note", name)
	}
	return filepath.Join(s.dir, "MARK-"+strings.ToUpper(name)), nil
}

// Mark implements [cache.Marker].
func (s *Store) Mark(ctx context.Context, name string) ([]byte, error) {
	path, err := s.markPath(name)
	if err != nil {
		return nil, err
	}
	doing := "read the store's note " + path
	if err := ctx.Err(); err != nil {
		return nil, trouble(doing, err)
	}
	value, err := readMark(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cache.ErrNotExist
	}
	if err != nil {
		return nil, trouble(doing, err)
	}
	return value, nil
}

func readMark(path string) ([]byte, error) {
	f, err := openEntry(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	value, err := io.ReadAll(io.LimitReader(f, cache.MaxMark+1))
	if err == nil && len(value) > cache.MaxMark {
		err = errors.New("it is too long to be one; move it away")
	}
	return value, err
}

// SetMark implements [cache.Marker]. Files can be made at most once, but not be replaced on a condition.
func (s *Store) SetMark(ctx context.Context, name string, old, value []byte) error {
	path, err := s.markPath(name)
	if err != nil {
		return err
	}
	doing := "write the store's note " + path
	if err := ctx.Err(); err != nil {
		return trouble(doing, err)
	}
	if len(value) > cache.MaxMark {
		return fmt.Errorf("%s: it has %d bytes, at most %d are allowed", doing, len(value), cache.MaxMark)
	}
	part := s.session.file("mark-" + strconv.FormatUint(s.drafts.Add(1), 10))
	defer os.Remove(part)
	f, err := s.createFile(part)
	if err != nil {
		return trouble(doing, err)
	}
	_, err = f.Write(value)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return trouble(doing, err)
	}
	if old == nil {
		if err := s.link(part, path); errors.Is(err, fs.ErrExist) {
			return cache.ErrExist
		} else if err != nil {
			return trouble(doing, err)
		}
		return nil
	}
	switch now, err := readMark(path); {
	case errors.Is(err, fs.ErrNotExist), err == nil && !bytes.Equal(now, old):
		return cache.ErrExist
	case err != nil:
		return trouble(doing, err)
	}
	if err := s.rename(part, path); err != nil {
		return trouble(doing, err)
	}
	return nil
}
