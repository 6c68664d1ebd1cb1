package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
)

var _ cache.Walker = (*Store)(nil)

// Walk implements [cache.Walker], in the order of file names. A position is the path of a file below entries/.
func (s *Store) Walk(ctx context.Context, part cache.Part, after string, way cache.Way) iter.Seq2[cache.Step, error] {
	return func(yield func(cache.Step, error) bool) {
		w := walker{store: s, way: way, sorted: true, yield: yield}
		if after != "" {
			w.after = strings.Split(after, "/")
		}
		w.begin(ctx, part)
	}
}

// Walk implements [cache.Walker]. A reader leaves all as it is, whatever the way.
func (r *Reader) Walk(ctx context.Context, part cache.Part, after string, _ cache.Way) iter.Seq2[cache.Step, error] {
	return r.store.Walk(ctx, part, after, cache.LeaveAlone)
}

type walker struct {
	store  *Store
	way    cache.Way
	sorted bool     // in the order of names; it takes memory for the names of one directory
	after  []string // the parts of the position from where it goes on; nil: from the beginning
	yield  func(cache.Step, error) bool
}

func (w *walker) begin(ctx context.Context, part cache.Part) {
	var at []string
	after := w.after
	for _, name := range []string{string(part.Workspace), string(part.Scope)} {
		if name == "" {
			break
		}
		below, skip := behind(layout.FileName(name), after)
		if skip {
			return
		}
		at, after = append(at, layout.FileName(name)), below
	}
	w.walk(ctx, at, after)
}

// behind tells what of a position is left below name, and whether all there is before it.
func behind(name string, after []string) (below []string, skip bool) {
	switch {
	case len(after) == 0 || name > after[0]:
		return nil, false
	case name < after[0] || len(after) == 1:
		return nil, true
	}
	return after[1:], false
}

// walk goes through the directory at a path below entries/. It returns false to end the walk.
func (w *walker) walk(ctx context.Context, at []string, after []string) bool {
	if err := ctx.Err(); err != nil {
		w.fail("list entries", err)
		return false
	}
	dir := filepath.Join(append([]string{w.store.entries}, at...)...)
	if w.sorted {
		names, err := os.ReadDir(dir) // what it has read before an error counts
		return w.visitAll(ctx, at, after, names) && (err == nil || w.fail("list entries", err))
	}
	d, err := os.Open(dir)
	if err != nil {
		return w.fail("list entries", err)
	}
	defer d.Close()
	for {
		names, err := d.ReadDir(listBatch)
		if !w.visitAll(ctx, at, after, names) {
			return false
		}
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return w.fail("list entries", err)
		}
	}
}

func (w *walker) visitAll(ctx context.Context, at, after []string, names []fs.DirEntry) bool {
	for _, e := range names {
		below, skip := behind(e.Name(), after)
		if skip || e.Name()[0] == '.' { // no name of ours; NFS and rsync keep such files for a while
			continue
		}
		if !w.visit(ctx, append(slices.Clip(at), e.Name()), below, e) {
			return false
		}
	}
	return true
}

func (w *walker) visit(ctx context.Context, at, after []string, e fs.DirEntry) bool {
	switch {
	case len(at) > levels:
		return w.entry(ctx, at)
	case e.IsDir():
		return w.walk(ctx, at, after)
	default:
		return w.yield(cache.Step{}, fmt.Errorf("%s lies where a directory belongs; move it away", filepath.Join(append([]string{w.store.entries}, at...)...)))
	}
}

func (w *walker) entry(ctx context.Context, at []string) bool {
	if err := ctx.Err(); err != nil {
		w.fail("list entries", err)
		return false
	}
	path := filepath.Join(append([]string{w.store.entries}, at...)...)
	f, err := w.store.inspect(path)
	defer f.close()
	if err == nil && w.store.path(f.entry.Key) != path {
		err = damageError("it is the entry of another key")
	}
	step := cache.Step{Entry: f.entry, Position: strings.Join(at, "/"), Place: path}
	d, damaged := errors.AsType[damageError](err)
	switch {
	case err == nil:
		return w.yield(step, nil)
	case !damaged:
		return w.fail("read the record of "+path, err)
	}
	step.Damage = d
	if w.way == cache.SetAside {
		if err := w.store.setAside(f, d); !errors.Is(err, cache.ErrDamaged) {
			step.Stuck = err
		}
	}
	return w.yield(step, nil)
}

// fail yields err, but not of what went away meanwhile.
func (w *walker) fail(doing string, err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return w.yield(cache.Step{}, trouble(doing, err))
}
