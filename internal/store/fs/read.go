package fs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// verifyChunk is how much of a body is read at once to verify it.
const verifyChunk = 64 << 10

// Open implements [cache.Store]. The body is a file's beginning: its WriteTo lets the kernel move the bytes.
func (s *Store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	f, err := s.openWhole(ctx, key)
	if err != nil {
		return nil, err
	}
	return s.object(f), nil
}

func (s *Store) object(f *found) *cache.Object {
	return &cache.Object{
		Entry:    f.entry,
		Body:     s.newBody(f),
		SetAside: func(reason string) error { return s.setAsideOpen(f, reason) },
	}
}

// Unverified returns the store for whoever holds bodies against their records himself: Open reads no body, and does not trust what was found out
// about one before.
func (s *Store) Unverified() cache.Store { return unverified{s} }

type unverified struct{ *Store }

// Open implements [cache.Store].
func (u unverified) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	f, err := u.open(ctx, key, func(context.Context, *found) error { return nil })
	if err != nil {
		return nil, err
	}
	return u.object(f), nil
}

// found is a file in an entry's place.
type found struct {
	path  string
	file  *os.File // nil if it is of a kind that cannot be opened
	info  fs.FileInfo
	entry cache.Entry
}

func (f *found) close() {
	if f.file != nil {
		_ = f.file.Close()
	}
}

// openWhole opens the entry under key. What is not whole is set aside.
func (s *Store) openWhole(ctx context.Context, key cache.Key) (*found, error) {
	return s.open(ctx, key, s.verify)
}

func (s *Store) open(ctx context.Context, key cache.Key, verify func(context.Context, *found) error) (*found, error) {
	doing := func() string { return fmt.Sprintf("open the entry %q", key) }
	if err := ctx.Err(); err != nil {
		return nil, trouble(doing(), err)
	}
	f, err := s.inspect(s.path(key))
	if err == nil && f.entry.Key != key {
		err = damageError("it is the entry of another key")
	}
	if err == nil {
		err = verify(ctx, f)
	}
	if err == nil {
		return f, nil
	}
	defer f.close()
	if d, ok := errors.AsType[damageError](err); ok {
		return nil, s.setAside(f, d)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.vanished(); err != nil {
			return nil, trouble(doing(), err)
		}
		return nil, cache.ErrNotExist
	}
	return nil, trouble(doing(), err)
}

// inspect opens what is at path and reads all but the body. It returns what it found also with a [damageError].
func (s *Store) inspect(path string) (*found, error) {
	f := &found{path: path}
	var err error
	if f.file, err = openEntry(path); err != nil {
		if !isForeignKind(err) {
			return f, err
		}
		if f.info, err = os.Lstat(path); err != nil {
			return f, err
		}
		if f.info.Mode().IsRegular() || f.info.IsDir() {
			return f, fmt.Errorf("%s was replaced while it was opened", path)
		}
		return f, damageError("it is not a file")
	}
	if f.info, err = f.file.Stat(); err != nil {
		return f, err
	}
	if !f.info.Mode().IsRegular() {
		return f, damageError("it is not a file")
	}
	buf := s.buffers.Get().(*[verifyChunk]byte)
	defer s.buffers.Put(buf)
	f.entry, err = decodeEntry(f.file, f.info.Size(), buf[:tailGuess])
	return f, err
}

// verify compares the body with its record, unless that was done since the file changed.
func (s *Store) verify(ctx context.Context, f *found) error {
	id, ok := identityOf(f.info)
	if !ok {
		return s.verifyBody(ctx, f, func() {})
	}
	return s.memo.once(ctx, id, func(ctx context.Context, moved func()) error { return s.verifyBody(ctx, f, moved) })
}

// verifyBody leaves the file's offset alone. It calls moved now and then: a large body on a slow disk takes long, and
// whoever waits for it should know that it gets on.
func (s *Store) verifyBody(ctx context.Context, f *found, moved func()) error {
	buf := s.buffers.Get().(*[verifyChunk]byte)
	defer s.buffers.Put(buf)
	sum := sha256.New()
	size := f.entry.Record.Size
	for off := int64(0); off < size; off += verifyChunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(verifyChunk, size-off)]
		if err := readFull(f.file, p, off); err != nil {
			return err
		}
		sum.Write(p)
		cache.Progress(ctx)
		moved()
	}
	if [sha256.Size]byte(sum.Sum(nil)) != f.entry.Record.SHA256 {
		return damageError("its body does not have the SHA-256 of its record")
	}
	return nil
}

// body reads the first bytes of a file.
type body struct {
	file  *os.File
	left  int64
	size  int64
	info  fs.FileInfo // of the file, when it was opened
	local bool        // it lies on a disk of this machine
}

var (
	_ io.WriterTo    = (*body)(nil)
	_ io.ReaderAt    = (*body)(nil)
	_ cache.FileBody = (*body)(nil)
)

func newBody(f *found) *body {
	return &body{file: f.file, left: f.entry.Record.Size, size: f.entry.Record.Size, info: f.info}
}

func (s *Store) newBody(f *found) *body {
	b := newBody(f)
	b.local = s.local
	return b
}

// File implements [cache.FileBody].
func (b *body) File() *os.File {
	if !b.local {
		return nil
	}
	return b.file
}

// Unchanged implements [cache.FileBody]. What a local file system knows of an open file is in memory.
func (b *body) Unchanged() bool {
	was, ok := identityOf(b.info)
	if !ok || !b.local {
		return false
	}
	info, err := b.file.Stat()
	if err != nil {
		return false
	}
	is, ok := identityOf(info)
	return ok && is == was
}

func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.file.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = b.cut()
	}
	return n, err
}

// WriteTo hands w the file itself, within a limit: the one form in which the net package knows how to use sendfile.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	if b.left == 0 {
		return 0, nil
	}
	n, err := io.Copy(w, &io.LimitedReader{R: b.file, N: b.left})
	b.left -= n
	if err == nil && b.left > 0 {
		err = b.cut()
	}
	return n, err
}

// ReadAt is independent of what Read has read.
func (b *body) ReadAt(p []byte, off int64) (int, error) {
	return io.NewSectionReader(b.file, 0, b.size).ReadAt(p, off)
}

func (b *body) cut() error {
	return fmt.Errorf("%s was cut while it was read, with %d bytes to go: %w", b.file.Name(), b.left, io.ErrUnexpectedEOF)
}

func (b *body) Close() error {
	if err := b.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
