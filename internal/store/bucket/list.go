package bucket

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
)

const (
	// headsAtOnce bounds the requests for records that a listing lacks, and headBatch how many objects are held for that.
	headsAtOnce = 16
	headBatch   = 128
)

// List yields the entries of a workspace, or of all. What is damaged is set aside and yielded as an error. S3 lists no metadata: there, each
// entry costs a request more.
func (s *Store) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		for step, err := range s.Walk(ctx, cache.Part{Workspace: workspace}, "", cache.SetAside) {
			switch {
			case step.Stuck != nil:
				err = step.Stuck
			case step.Damage != nil:
				err = fmt.Errorf("%w: %s: %w", cache.ErrDamaged, step.Place, step.Damage)
			}
			if err != nil {
				step.Entry = cache.Entry{} // it is not to be believed
			}
			if !yield(step.Entry, err) {
				return
			}
		}
	}
}

var _ cache.Walker = (*Store)(nil)

// Walk implements [cache.Walker]. A position is the name of an object; all storages list in the order of names. A listing that breaks off ends the walk.
func (s *Store) Walk(ctx context.Context, part cache.Part, after string, way cache.Way) iter.Seq2[cache.Step, error] {
	return func(yield func(cache.Step, error) bool) {
		prefix := s.root + "/"
		if part.Workspace != "" {
			prefix += layout.FileName(string(part.Workspace)) + "/"
			if part.Scope != "" {
				prefix += layout.FileName(string(part.Scope)) + "/"
			}
		}
		if err := ctx.Err(); err != nil {
			yield(cache.Step{}, s.trouble("list entries", err))
			return
		}
		var batch []Info
		for info, err := range s.bucket.List(ctx, prefix) {
			if err != nil {
				if s.yieldAll(ctx, batch, way, yield) {
					yield(cache.Step{}, s.trouble("list entries", err))
				}
				return
			}
			if after != "" && info.Name <= after {
				continue
			}
			if batch = append(batch, info); len(batch) == headBatch {
				if !s.yieldAll(ctx, batch, way, yield) {
					return
				}
				batch = batch[:0]
			}
		}
		s.yieldAll(ctx, batch, way, yield)
	}
}

// listed is what becomes of an object in a listing: a step, an error, or nothing if it is gone.
type listed struct {
	step cache.Step
	err  error
	gone bool
}

func (s *Store) yieldAll(ctx context.Context, batch []Info, way cache.Way, yield func(cache.Step, error) bool) bool {
	results := make([]listed, len(batch))
	var group errgroup.Group
	group.SetLimit(headsAtOnce)
	for i, info := range batch {
		group.Go(func() error {
			results[i] = s.look(ctx, info, way)
			return nil
		})
	}
	_ = group.Wait() // the errors are in the results
	for _, r := range results {
		if !r.gone && !yield(r.step, r.err) {
			return false
		}
	}
	return true
}

// look finds out what an object is.
func (s *Store) look(ctx context.Context, info Info, way cache.Way) listed {
	if !info.HasMeta {
		full, err := s.bucket.Head(ctx, info.Name)
		if errors.Is(err, ErrNotExist) {
			return listed{gone: true}
		}
		if err != nil {
			return listed{err: s.trouble("describe "+info.Name, err)}
		}
		name := info.Name
		info = full
		info.Name = name
	}
	entry, err := s.decodeMeta(info)
	if err == nil && s.name(entry.Key) != info.Name {
		err = damageError("it is the entry of another key, \"" + entry.Key.String() + "\"")
	}
	if err == nil {
		entry, err = s.inspect(info, entry.Key)
	}
	step := cache.Step{Entry: entry, Position: info.Name, Place: info.Name}
	damage, damaged := errors.AsType[damageError](err)
	switch {
	case err == nil:
		return listed{step: step}
	case !damaged:
		return listed{err: s.unfit(ctx, info, entry.Key, err)}
	}
	step.Damage = damage
	if way == cache.SetAside {
		if err := s.unfit(ctx, info, entry.Key, damage); !errors.Is(err, cache.ErrDamaged) {
			step.Stuck = err
		}
	}
	return listed{step: step}
}
