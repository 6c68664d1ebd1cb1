package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
)

// settleTimeout bounds the look at what became of a write whose answer was lost.
const settleTimeout = 10 * time.Second

// Put makes the entry of body, which has entry.Record.Size bytes: [cache.ErrExist] if there is a whole one already. What is damaged
// there gives way.
//
// A write whose answer was lost is settled by looking at the key, even after ctx ended: nil means that the entry is there. If that is not to be
// learned either, the error says so; trying again is safe then.
func (s *Store) Put(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
	doing := func() string { return fmt.Sprintf("store the entry %q", entry.Key) }
	if err := ctx.Err(); err != nil {
		return s.trouble(doing(), err)
	}
	name, id := s.name(entry.Key), newID()
	meta, err := s.encodeMeta(name, id, entry)
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
	for again := true; ; again = false {
		err := s.bucket.Put(ctx, name, content, IfAbsent)
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrRefused) {
			return s.trouble(doing(), err)
		}
		settled, verdict := s.settle(ctx, entry.Key, id)
		if settled && verdict == nil && again && errors.Is(err, ErrExist) {
			continue // what was in the way is gone
		}
		if settled {
			if errors.Is(verdict, errOurs) {
				return nil
			}
			if verdict == nil {
				verdict = s.trouble(doing(), err)
			}
			return verdict
		}
		return s.trouble(doing(), fmt.Errorf("%w; what became of it is not known: %w", err, verdict))
	}
}

// errOurs is settle's word for a write that was taken although its answer said otherwise.
var errOurs = errors.New("it is ours")

// settle looks at what is under key after a write by the upload id failed. It is not settled if that cannot be seen; verdict is why. Else verdict is
// errOurs, [cache.ErrExist], or nil if there is nothing.
func (s *Store) settle(ctx context.Context, key cache.Key, id string) (settled bool, verdict error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	info, err := s.bucket.Head(ctx, s.name(key))
	info.Name = s.name(key)
	switch {
	case errors.Is(err, ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	case info.HasMeta && idOf(info.Meta) == id:
		if _, err := s.inspect(info, key); err != nil {
			break // cut, as some servers publish what broke off
		}
		return true, errOurs
	}
	_, err = s.inspect(info, key)
	if _, damaged := errors.AsType[damageError](err); damaged {
		if err := s.unfit(ctx, info, key, err); !errors.Is(err, cache.ErrDamaged) {
			return false, err
		}
		return true, nil
	}
	return true, cache.ErrExist
}

// encrypt writes the encrypted body to a file that nobody else sees, because parts of it may have to be sent twice.
func (s *Store) encrypt(ctx context.Context, entry cache.Entry, body io.ReaderAt) (*os.File, error) {
	text, err := layout.EncodeEntry(entry)
	if err != nil {
		return nil, err
	}
	file, err := s.tempFile()
	if err != nil {
		return nil, err
	}
	if err := s.cipher.Encrypt(file, io.NewSectionReader(&progress{ctx, body}, 0, entry.Record.Size), text); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("encrypt the body: %w", err)
	}
	return file, nil
}

// tempFile makes a file that is gone when it is closed, or with the process.
func (s *Store) tempFile() (*os.File, error) {
	file, err := os.CreateTemp(s.opts.TempDir, "bezoar-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("take the name from a temporary file: %w", err)
	}
	return file, nil
}

// progress tells whoever waits that bytes move, and ends with its context.
type progress struct {
	ctx  context.Context //nolint:containedctx // of the upload that it is a part of
	body io.ReaderAt
}

func (p *progress) ReadAt(b []byte, off int64) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, context.Cause(p.ctx)
	}
	cache.Progress(p.ctx)
	return p.body.ReadAt(b, off)
}

// small is the content of an object of a few bytes.
func small(text []byte) Content {
	return Content{Body: bytes.NewReader(text), Size: int64(len(text))}
}

// readSmall returns an object of at most [cache.MaxMark] bytes.
func (s *Store) readSmall(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, body, err := s.bucket.Get(ctx, name, 0, "")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, cache.MaxMark+1))
	if err == nil && len(text) > cache.MaxMark {
		err = fmt.Errorf("%s is longer than %d bytes: it is not ours, move it away", name, cache.MaxMark)
	}
	return text, err
}
