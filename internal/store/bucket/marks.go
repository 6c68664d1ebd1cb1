package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

func markName(name string) (string, error) {
	if name == "" || len(name) > 32 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "", fmt.Errorf("%q is no name of a note", name)
	}
	return rootMarks + "/" + name, nil
}

// Mark implements [cache.Marker].
func (s *Store) Mark(ctx context.Context, name string) ([]byte, error) {
	object, err := markName(name)
	if err != nil {
		return nil, err
	}
	value, err := s.readSmall(ctx, object)
	if errors.Is(err, ErrNotExist) {
		return nil, cache.ErrNotExist
	}
	if err != nil {
		return nil, s.trouble("read the note "+object, err)
	}
	return value, nil
}

// SetMark implements [cache.Marker]. A note that exists is replaced without a condition: not every storage has one for that.
func (s *Store) SetMark(ctx context.Context, name string, old, value []byte) error {
	object, err := markName(name)
	if err != nil {
		return err
	}
	doing := "write the note " + object
	if len(value) > cache.MaxMark {
		return fmt.Errorf("%s: it has %d bytes, at most %d are allowed", doing, len(value), cache.MaxMark)
	}
	if err := ctx.Err(); err != nil {
		return s.trouble(doing, err)
	}
	if old != nil {
		switch now, err := s.readSmall(ctx, object); {
		case errors.Is(err, ErrNotExist), err == nil && !bytes.Equal(now, old):
			return cache.ErrExist
		case err != nil:
			return s.trouble(doing, err)
		}
		if err := s.bucket.Put(ctx, object, small(value), Replace); err != nil {
			return s.trouble(doing, err)
		}
		return nil
	}
	// The id tells whose note it is when an answer is lost.
	content := small(value)
	content.Meta = formPlain + "." + newID() + "."
	err = s.bucket.Put(ctx, object, content, IfAbsent)
	if err == nil || errors.Is(err, ErrRefused) {
		if err != nil {
			err = s.trouble(doing, err)
		}
		return err
	}
	switch info, errHead := s.bucket.Head(ctx, object); {
	case errors.Is(errHead, ErrNotExist):
		return s.trouble(doing, err)
	case errHead != nil:
		return s.trouble(doing, fmt.Errorf("%w; what became of it is not known: %w", err, errHead))
	case info.Meta == content.Meta:
		return nil
	}
	return cache.ErrExist
}
