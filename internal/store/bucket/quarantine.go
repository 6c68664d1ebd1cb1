package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

var _ cache.Quarantiner = (*Store)(nil)

// quarantineName returns where the entry of that name lies in quarantine. Plain and encrypted ones cannot meet: a name is of one seal.
func quarantineName(name string) (string, error) {
	if name == "" || len(name) > 64 || strings.Trim(name, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%q is no name in quarantine", name)
	}
	return rootQuarantine + "/" + name, nil
}

// Quarantine implements [cache.Quarantiner]. The object goes through a file on this machine: not every storage can copy one with a condition.
func (s *Store) Quarantine(ctx context.Context, name string, entry cache.Entry) error {
	doing := func() string { return fmt.Sprintf("put the entry %q into quarantine", entry.Key) }
	aside, err := quarantineName(name)
	if err != nil {
		return s.trouble(doing(), err)
	}
	info, err := s.headAs(ctx, s.name(entry.Key), entry)
	if err == nil {
		err = s.copyObject(ctx, info, aside)
		if errors.Is(err, ErrExist) {
			err = nil // of the same name is the same entry
		}
		if err == nil {
			err = s.bucket.Delete(ctx, info.Name, info.Version)
		}
	}
	if errors.Is(err, ErrNotExist) || errors.Is(err, ErrChanged) { // another one did it, or has just done it
		if _, err = s.bucket.Head(ctx, aside); errors.Is(err, ErrNotExist) {
			return cache.ErrNotExist
		}
	}
	if err != nil {
		return s.trouble(doing(), err)
	}
	return nil
}

// headAs describes the object of that name if it is that very entry, which it tells by its seal; else it is [ErrNotExist].
func (s *Store) headAs(ctx context.Context, name string, entry cache.Entry) (Info, error) {
	info, err := s.bucket.Head(ctx, name)
	if err != nil {
		return Info{}, err
	}
	info.Name = name
	if !s.isSealedAs(info, entry) {
		return Info{}, ErrNotExist
	}
	return info, nil
}

// isSealedAs reports whether an object, under its own name or in quarantine, is that very entry.
func (s *Store) isSealedAs(info Info, entry cache.Entry) bool {
	info.Name = s.name(entry.Key) // the text beside it is encrypted for that name
	found, err := s.inspect(info, entry.Key)
	return err == nil && found.Record.Seal == entry.Record.Seal
}

// copyObject makes an object of the same content and with the same text beside it. [ErrExist] if there is one; [ErrNotExist] or [ErrChanged] if the first one
// went meanwhile.
func (s *Store) copyObject(ctx context.Context, from Info, to string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	raw := s.newReader(ctx, from.Name)
	defer raw.close()
	info, err := raw.open()
	if err != nil {
		return err
	}
	if info.Version != from.Version {
		return ErrChanged
	}
	file, err := s.tempFile()
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(file, raw); err != nil {
		return err
	}
	return s.bucket.Put(ctx, to, Content{Body: &progress{ctx, file}, Size: from.Size, Meta: from.Meta}, IfAbsent)
}

// PutAside puts an entry that never came to the bucket into quarantine, from where [Store.Restore] brings it to its key.
func (s *Store) PutAside(ctx context.Context, name string, entry cache.Entry, body io.ReaderAt) error {
	doing := func() string { return fmt.Sprintf("put the entry %q into quarantine", entry.Key) }
	aside, err := quarantineName(name)
	if err != nil {
		return s.trouble(doing(), err)
	}
	meta, err := s.encodeMeta(s.name(entry.Key), newID(), entry)
	if err != nil {
		return s.trouble(doing(), err)
	}
	content := Content{Body: &progress{ctx, body}, Size: entry.Record.Size, Meta: meta}
	if s.cipher != nil {
		file, err := s.encrypt(ctx, entry, body)
		if err != nil {
			return s.trouble(doing(), err)
		}
		defer file.Close()
		content.Body, content.Size = &progress{ctx, file}, s.cipher.Size(entry.Record.Size)
	}
	if err := s.bucket.Put(ctx, aside, content, IfAbsent); err != nil && !errors.Is(err, ErrExist) {
		return s.trouble(doing(), err) // it may be there: trying again is safe
	}
	return nil
}

// Restore implements [cache.Quarantiner].
func (s *Store) Restore(ctx context.Context, name string, entry cache.Entry) error {
	doing := func() string { return fmt.Sprintf("bring the entry %q back", entry.Key) }
	aside, err := quarantineName(name)
	if err != nil {
		return s.trouble(doing(), err)
	}
	info, err := s.bucket.Head(ctx, aside)
	if errors.Is(err, ErrNotExist) {
		return s.isBack(ctx, entry, doing)
	}
	if err != nil {
		return s.trouble(doing(), err)
	}
	info.Name = aside
	if !s.isSealedAs(info, entry) {
		return fmt.Errorf("%s in %s: %s is not what was put into quarantine: %w", doing(), s.bucket.URL(), aside, cache.ErrNotExist)
	}
	if err := s.copyObject(ctx, info, s.name(entry.Key)); err != nil {
		if errors.Is(err, ErrRefused) {
			return s.trouble(doing(), err)
		}
		// Its answer may have been lost, and what is there may be its own.
		switch errBack := s.isBack(ctx, entry, doing); {
		case errors.Is(errBack, cache.ErrNotExist):
			return s.trouble(doing(), err)
		case errBack != nil:
			return errBack
		}
	}
	return s.Discard(ctx, name)
}

// isBack is nil if the entry is under its key, [cache.ErrExist] if another one is.
func (s *Store) isBack(ctx context.Context, entry cache.Entry, doing func() string) error {
	info, err := s.bucket.Head(ctx, s.name(entry.Key))
	switch {
	case errors.Is(err, ErrNotExist):
		return cache.ErrNotExist
	case err != nil:
		return s.trouble(doing(), err)
	case s.isSealedAs(info, entry):
		return nil
	}
	return cache.ErrExist
}

// Discard implements [cache.Quarantiner].
func (s *Store) Discard(ctx context.Context, name string) error {
	aside, err := quarantineName(name)
	if err == nil {
		err = s.bucket.Delete(ctx, aside, "")
	}
	if err != nil {
		return s.trouble("delete from quarantine", err)
	}
	return nil
}
