package bucket

import (
	"context"
	"errors"
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
		prefix := s.root + "/"
		if workspace != "" {
			prefix += layout.FileName(string(workspace)) + "/"
		}
		if err := ctx.Err(); err != nil {
			yield(cache.Entry{}, s.trouble("list entries", err))
			return
		}
		var batch []Info
		for info, err := range s.bucket.List(ctx, prefix) {
			if err != nil {
				if s.yieldAll(ctx, batch, yield) {
					yield(cache.Entry{}, s.trouble("list entries", err))
				}
				return
			}
			if batch = append(batch, info); len(batch) == headBatch {
				if !s.yieldAll(ctx, batch, yield) {
					return
				}
				batch = batch[:0]
			}
		}
		s.yieldAll(ctx, batch, yield)
	}
}

// listed is what becomes of an object in a listing: an entry, an error, or nothing if it is gone.
type listed struct {
	entry cache.Entry
	err   error
	gone  bool
}

func (s *Store) yieldAll(ctx context.Context, batch []Info, yield func(cache.Entry, error) bool) bool {
	results := make([]listed, len(batch))
	var group errgroup.Group
	group.SetLimit(headsAtOnce)
	for i, info := range batch {
		group.Go(func() error {
			results[i] = s.look(ctx, info, true)
			return nil
		})
	}
	_ = group.Wait() // the errors are in the results
	for _, r := range results {
		if !r.gone && !yield(r.entry, r.err) {
			return false
		}
	}
	return true
}

// look finds out what an object is. What is damaged is set aside if the caller says so.
func (s *Store) look(ctx context.Context, info Info, setAside bool) listed {
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
	if err != nil && setAside {
		err = s.unfit(ctx, info, entry.Key, err)
	}
	if err != nil {
		return listed{err: err}
	}
	return listed{entry: entry}
}
