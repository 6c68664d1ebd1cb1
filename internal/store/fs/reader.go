package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
)

// Reader looks into the directory of a store for people. It changes nothing there, sets nothing aside, and needs no right to write; servers
// may work on the directory meanwhile.
type Reader struct{ store *Store }

// OpenReader opens a directory that is a store's already.
func OpenReader(dir string) (*Reader, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the store's directory: %w", err)
	}
	path := filepath.Join(dir, "FORMAT")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no store: it has no file FORMAT; is it the server's? (%w)", dir, err)
	}
	if err != nil {
		return nil, trouble("read the store's format", err)
	}
	if err := judgeFormat(path, text); err != nil {
		return nil, err
	}
	return &Reader{&Store{
		dir:     dir,
		entries: filepath.Join(dir, "entries"),
		memo:    newMemo(),
		buffers: sync.Pool{New: func() any { return new([verifyChunk]byte) }},
	}}, nil
}

// Finding is what lies in an entry's place.
type Finding struct {
	// Entry is what the file says that it is: nothing, if it does not say so.
	cache.Entry
	// Path is where the file lies.
	Path string
	// Damage says why the store would not serve it; nil if it is whole.
	Damage error
	// Body is the artifact, Record.Size bytes; nil if the file does not tell where it is.
	Body io.Reader

	file *found
}

// Close ends the reading.
func (f *Finding) Close() { f.file.close() }

// Look opens what lies under key, damaged or not; [cache.ErrNotExist] if nothing does. The caller closes it.
func (r *Reader) Look(ctx context.Context, key cache.Key) (*Finding, error) {
	f, err := r.store.inspect(r.store.path(key))
	damage, damaged := errors.AsType[damageError](err)
	if err != nil && !damaged {
		f.close()
		if errors.Is(err, fs.ErrNotExist) {
			return nil, cache.ErrNotExist
		}
		return nil, trouble(fmt.Sprintf("open the entry %q", key), err)
	}
	found := &Finding{Entry: f.entry, Path: f.path, file: f}
	if damaged {
		found.Damage = damage
		return found, nil
	}
	found.Body = newBody(f)
	if f.entry.Key != key {
		found.Damage = damageError(fmt.Sprintf("it is the entry of another key, %q", f.entry.Key))
		return found, nil
	}
	if err := r.store.verify(ctx, f); err != nil {
		if damage, damaged = errors.AsType[damageError](err); !damaged {
			f.close()
			return nil, trouble(fmt.Sprintf("read the entry %q", key), err)
		}
		found.Damage = damage
	}
	return found, nil
}

// Scopes returns the scopes of a workspace in which there is an entry of hash, in order, at most so many.
func (r *Reader) Scopes(ctx context.Context, workspace cache.Workspace, hash cache.Hash, most int) ([]cache.Scope, error) {
	dir := filepath.Join(r.store.entries, layout.FileName(string(workspace)))
	names, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, trouble("list the scopes of the workspace", err)
	}
	var scopes []cache.Scope
	for _, e := range names {
		if ctx.Err() != nil || len(scopes) >= most {
			break
		}
		// Long names of scopes are only in the entries themselves.
		f, err := r.store.inspect(filepath.Join(dir, e.Name(), inScope(hash)))
		f.close()
		if err == nil && f.entry.Key.Workspace == workspace && f.entry.Key.Hash == hash {
			scopes = append(scopes, f.entry.Key.Scope)
		}
	}
	slices.Sort(scopes)
	return scopes, ctx.Err()
}
