// Package watch notices that the content of a file has changed.
package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Interval is how far the looks at a file are apart. What is new is reported after two of them.
const Interval = time.Second

// File is a file whose content is watched. It is read by its path each time, so that it makes no difference whether it is written in place,
// replaced by a rename, as editors do, or reached through symbolic links that are swapped, as in a mounted ConfigMap.
type File struct {
	path  string
	limit int64
	// last is what the last look saw, settled what was reported last.
	last, settled state
}

// state is what a look at the file sees: its content, or why there is none.
type state struct {
	data []byte
	err  error
}

func (s state) same(t state) bool {
	if s.err != nil || t.err != nil {
		return s.err != nil && t.err != nil && s.err.Error() == t.err.Error()
	}
	return bytes.Equal(s.data, t.data)
}

// Open reads the file, which must be a regular one of no more than limit bytes, and returns it with its content.
func Open(path string, limit int64) (*File, []byte, error) {
	f := &File{path: path, limit: limit}
	f.last = f.look()
	f.settled = f.last
	return f, f.last.data, f.last.err
}

// Run looks at the file until ctx ends and reports each new content once, or why there is none. It reports nothing before two looks in a row
// saw the same: while a file is being written, there is half of it, and half of a file may mean something too. Nor does it report a file
// that is gone for a moment.
//
// changed is called by the goroutine of Run; data is the callee's.
func (f *File) Run(ctx context.Context, changed func(data []byte, err error)) {
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := f.look()
		steady := now.same(f.last)
		f.last = now
		if steady && !now.same(f.settled) {
			f.settled = now
			changed(bytes.Clone(now.data), now.err)
		}
	}
}

// ErrTooLarge is for a file that has more bytes than it may.
var ErrTooLarge = errors.New("the file is too large")

// ErrNotRegular is for what is no regular file: a read of it might wait forever.
var ErrNotRegular = errors.New("not a regular file")

func (f *File) look() state {
	data, err := f.read()
	return state{data, err}
}

func (f *File) read() ([]byte, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: %w", f.path, ErrNotRegular)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, f.limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > f.limit {
		return nil, fmt.Errorf("read %s: %w: it may have %d bytes", f.path, ErrTooLarge, f.limit)
	}
	return data, nil
}
