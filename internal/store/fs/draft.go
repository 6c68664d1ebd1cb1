package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// publishAttempts bounds how often Commit tries again because others make and remove entries and directories of
// the same name at the same time. Each attempt that fails means that one of them got on.
const publishAttempts = 100

// Create implements [cache.Store]. An entry that exists is told at once, so that no bytes are written in vain.
func (s *Store) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	switch err := s.exists(ctx, key); {
	case err == nil:
		return nil, cache.ErrExist
	case !isFree(err):
		return nil, err
	}
	path := s.session.file(strconv.FormatUint(s.drafts.Add(1), 10))
	file, err := s.createFile(path)
	if err != nil {
		return nil, s.writeTrouble(fmt.Sprintf("begin the entry %q", key), err)
	}
	return &draft{store: s, key: key, path: path, file: file}, nil
}

// createFile also works after somebody cleared tmp/. But what is not there any more, such as a disk that was unmounted, is not made anew: it would lie in
// another one's place.
func (s *Store) createFile(path string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	file, err := os.OpenFile(path, flags, fileMode)
	if !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	if err := s.isThere(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return nil, err
	}
	return os.OpenFile(path, flags, fileMode)
}

// exists returns nil if there is a whole entry under key.
func (s *Store) exists(ctx context.Context, key cache.Key) error {
	f, err := s.openWhole(ctx, key)
	if err == nil {
		f.close()
	}
	return err
}

// isFree reports whether err of Open means that there is nothing under the key any more.
func isFree(err error) bool {
	return errors.Is(err, cache.ErrNotExist) || errors.Is(err, cache.ErrDamaged)
}

type draft struct {
	store *Store
	key   cache.Key
	path  string
	file  *os.File // nil when the draft is spent
	size  int64
	err   error // the first one of Write
}

var errSpent = errors.New("the draft was committed or aborted before")

func (d *draft) Write(p []byte) (int, error) {
	if d.file == nil {
		return 0, errSpent
	}
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.file.Write(p)
	d.size += int64(n)
	d.count(int64(n))
	if err != nil {
		d.err = d.store.writeTrouble(fmt.Sprintf("write the entry %q", d.key), err)
	}
	return n, d.err
}

func (d *draft) Abort() {
	if d.file == nil {
		return
	}
	_ = d.file.Close()
	_ = os.Remove(d.path) // what stays is cleaned when this process is dead
	d.file = nil
	d.count(-d.size)
}

// count adds bytes to those that [Store.Unfinished] tells, or takes them away.
func (d *draft) count(n int64) {
	if d.key.Scope != cache.Trusted {
		d.store.others.Add(n)
	}
}

func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	if d.file == nil {
		return errSpent
	}
	defer d.Abort()
	if d.err != nil {
		return d.err
	}
	doing := fmt.Sprintf("commit the entry %q", d.key)
	if err := ctx.Err(); err != nil {
		return trouble(doing, err)
	}
	if record.Size != d.size {
		return fmt.Errorf("%s: %d bytes were written, but the record says %d", doing, d.size, record.Size)
	}
	tail, err := encodeTail(cache.Entry{Key: d.key, Record: record})
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if _, err := d.file.Write(tail); err != nil {
		return d.store.writeTrouble(doing, err)
	}
	info, err := d.file.Stat()
	if err != nil {
		return trouble(doing, err)
	}
	// Closed before it is linked: NFS promises others the bytes of a closed file only, and tells errors of
	// writing at the close.
	if err := d.file.Close(); err != nil {
		return d.store.writeTrouble(doing, err)
	}
	final := d.store.path(d.key)
	if err := d.publish(ctx, final, doing); err != nil {
		return err
	}
	d.Abort() // before remember, because it changes the file's number of links and with it its times
	d.store.remember(final, info)
	return nil
}

// publish gives the file its final name unless that is taken by a whole entry.
func (d *draft) publish(ctx context.Context, final, doing string) error {
	var err error
	for range publishAttempts {
		if err = d.store.link(d.path, final); err == nil || sameFile(d.path, final) {
			// The second: NFS may report a failure of what it did, when it lost its first answer and
			// tried again.
			return nil
		}
		switch {
		case errors.Is(err, fs.ErrExist):
			switch err := d.store.exists(ctx, d.key); {
			case err == nil:
				return cache.ErrExist
			case !isFree(err):
				return err
			}
		case errors.Is(err, fs.ErrNotExist):
			if _, err := os.Lstat(d.path); err != nil {
				return trouble(doing+": its file in tmp/ was removed by somebody", err)
			}
			// Directories are made when the first entry wants them, and Delete removes empty ones at any time.
			// A directory that goes while MkdirAll is at it makes that say either of these.
			err := os.MkdirAll(filepath.Dir(final), dirMode)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
				return d.store.writeTrouble(doing, err)
			}
		default:
			return d.store.writeTrouble(doing, err)
		}
	}
	return fmt.Errorf("%s: others changed its place %d times meanwhile: %w", doing, publishAttempts, err)
}

func sameFile(a, b string) bool {
	infoA, errA := os.Lstat(a)
	infoB, errB := os.Lstat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// remember spares an entry that was just written the check at its first reading. written is its file's state before it
// was linked; what lies at path now might be another's.
func (s *Store) remember(path string, written fs.FileInfo) {
	info, err := os.Lstat(path)
	if err != nil {
		return
	}
	id, ok := identityOf(info)
	before, _ := identityOf(written)
	before.change = id.change // linking changed it
	if ok && id == before {
		s.memo.add(id)
	}
}
