package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
)

// Finding is what lies in an entry's place, for people.
type Finding struct {
	// Entry is what the object says that it is: nothing, if it does not say so.
	cache.Entry
	// Name is that of the object, below the store's URL.
	Name string
	// Damage says why the store would not serve it; nil if it is whole.
	Damage error
	// Body is the artifact, whole and verified; nil if it is damaged.
	Body io.Reader

	file io.Closer
}

// Close gives the copy of the body back.
func (f *Finding) Close() {
	if f.file != nil {
		_ = f.file.Close() // it is gone either way
	}
}

// Look fetches what lies under key, damaged or not, and changes nothing; [cache.ErrNotExist] if nothing does. The caller closes it.
func (s *Store) Look(ctx context.Context, key cache.Key) (*Finding, error) {
	return s.lookAt(ctx, key, s.fetch)
}

// Verify is Look without a body to show: nothing is kept of it.
func (s *Store) Verify(ctx context.Context, key cache.Key) (*Finding, error) {
	return s.lookAt(ctx, key, s.readThrough)
}

func (s *Store) lookAt(ctx context.Context, key cache.Key, read func(*reader, *Finding) error) (*Finding, error) {
	doing := fmt.Sprintf("look at the entry %q", key)
	raw := s.newReader(ctx, s.name(key))
	defer raw.close()
	info, err := raw.open()
	if errors.Is(err, ErrNotExist) {
		return nil, cache.ErrNotExist
	}
	if err != nil {
		return nil, s.trouble(doing, err)
	}
	found := &Finding{Name: info.Name}
	if found.Entry, err = s.decodeMeta(info); err == nil {
		_, err = s.inspect(info, key)
	}
	if err == nil {
		err = read(raw, found)
	}
	if _, damaged := errors.AsType[damageError](err); damaged {
		found.Damage = err
		return found, nil
	}
	if err != nil {
		found.Close()
		return nil, s.trouble(doing, err)
	}
	return found, nil
}

func (s *Store) readThrough(raw *reader, found *Finding) error {
	body, err := s.decrypt(raw, found.Entry)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, newVerified(body, raw, found.Record, func(d damageError) error { return d }))
	return err
}

// fetch brings the body into a file, so that nothing of it is shown before all of it is verified.
func (s *Store) fetch(raw *reader, found *Finding) error {
	body, err := s.decrypt(raw, found.Entry)
	if err != nil {
		return err
	}
	file, err := s.tempFile()
	if err != nil {
		return err
	}
	verified := newVerified(body, raw, found.Record, func(d damageError) error { return d })
	if _, err = io.Copy(file, verified); err != nil {
		_ = file.Close()
		return err
	}
	found.Body, found.file = io.NewSectionReader(file, 0, found.Record.Size), file
	return nil
}

// Scopes returns the scopes of a workspace in which there is an entry of hash, in order, at most so many. It lists the workspace.
func (s *Store) Scopes(ctx context.Context, workspace cache.Workspace, hash cache.Hash, most int) ([]cache.Scope, error) {
	var scopes []cache.Scope
	for info, err := range s.bucket.List(ctx, s.root+"/"+layout.FileName(string(workspace))+"/") {
		if err != nil {
			return nil, s.trouble("list the scopes of the workspace", err)
		}
		if path.Base(info.Name) != layout.FileName(string(hash)) || !strings.HasPrefix(info.Name, s.root+"/") {
			continue
		}
		found := s.look(ctx, info, cache.LeaveAlone)
		if found.err == nil && !found.gone && found.step.Damage == nil && found.step.Key.Hash == hash {
			scopes = append(scopes, found.step.Key.Scope)
		}
		if len(scopes) == most {
			break
		}
	}
	slices.Sort(scopes)
	return scopes, nil
}
