package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

var _ cache.Store = (*Store)(nil)

// Options of a [Store]. The zero value will do.
type Options struct {
	// Logger is told of entries that are set aside and of trouble that befalls no request. Nil: nobody is.
	Logger *slog.Logger
	// Now is the clock. Nil: [time.Now].
	Now func() time.Time
	// KeepDamaged bounds the number of files in damaged/; the oldest go first. Zero: [DefaultKeepDamaged].
	KeepDamaged int
	// Full is called when the disk or the quota is full, also from several goroutines at once. Nil: nobody is.
	Full func()
	// Alone refuses with [ErrTaken] a directory that another store, of this process or another one, was opened with as Alone. Others may still use it.
	// Where the system has no locks, nobody is refused.
	Alone bool
}

// DefaultKeepDamaged is enough to see what happened, and not enough to fill a disk.
const DefaultKeepDamaged = 64

// Modes of what the store makes; the umask may take away more. Artifacts may hold secrets: they are not for everybody.
const (
	dirMode  = 0o750
	fileMode = 0o640
)

// formatText is the whole content of FORMAT.
const formatText = "bezoar-store 1\n"

// Store is a [cache.Store] below a directory. Any number of them, in any number of processes and on any
// number of hosts, may work on one directory.
type Store struct {
	dir, entries, tmp, damaged, quarantine string

	log         *slog.Logger
	now         func() time.Time
	keepDamaged int
	full        func()

	session *session
	owner   *os.File // nil unless the directory is this store's alone
	memo    *memo
	local   bool          // it lies on a disk of this machine
	buffers sync.Pool     // *[verifyChunk]byte
	drafts  atomic.Uint64 // counts drafts, for names
	others  atomic.Int64  // bytes of drafts that are not for the trusted scope
	looked  atomic.Int64  // when it was last seen to be there, in nanoseconds since 1970
	gone    atomic.Pointer[error]
	asides  sync.Mutex // one pruning of damaged/ at a time

	// os.Link and os.Rename; tests put something before or behind them.
	link, rename func(from, to string) error

	stop func()
	done chan struct{}
}

// Open makes the store's directories below dir where they are missing, tries whether it can write there, and
// begins to clean up after dead processes. It does not look at entries, however many there are. The caller closes
// the store.
func Open(dir string, options Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the store's directory: %w", err)
	}
	s := &Store{
		dir:         dir,
		entries:     filepath.Join(dir, "entries"),
		tmp:         filepath.Join(dir, "tmp"),
		damaged:     filepath.Join(dir, "damaged"),
		quarantine:  filepath.Join(dir, "quarantine"),
		log:         options.Logger,
		now:         options.Now,
		keepDamaged: options.KeepDamaged,
		full:        options.Full,
		memo:        newMemo(),
		buffers:     sync.Pool{New: func() any { return new([verifyChunk]byte) }},
		link:        os.Link,
		rename:      os.Rename,
		done:        make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.full == nil {
		s.full = func() {}
	}
	if s.keepDamaged <= 0 {
		s.keepDamaged = DefaultKeepDamaged
	}
	for _, d := range []string{s.entries, s.tmp, s.damaged} {
		if err := os.MkdirAll(d, dirMode); err != nil {
			return nil, trouble("make the store's directory", err)
		}
	}
	s.local = isLocal(s.entries)
	if options.Alone {
		if err := s.takeAlone(); err != nil {
			return nil, err
		}
	}
	if s.session, err = newSession(s.tmp); err != nil {
		s.leaveAlone()
		return nil, trouble("write to the store's directory", err)
	}
	if err := errors.Join(s.checkFormat(), s.probe()); err != nil {
		s.session.end()
		s.leaveAlone()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go s.keepClean(ctx)
	return s, nil
}

// Dir returns the directory, as an absolute path.
func (s *Store) Dir() string { return s.dir }

// SharesDisk reports whether another directory lies on the file system of this one, as far as the system tells.
func (s *Store) SharesDisk(other *Store) bool {
	mine, errMine := os.Stat(s.dir)
	theirs, errTheirs := os.Stat(other.dir)
	if errMine != nil || errTheirs != nil {
		return false
	}
	a, okA := identityOf(mine)
	b, okB := identityOf(theirs)
	return okA && okB && a.device == b.device
}

// Close ends what the store does by itself. Objects that are open can be read on; drafts should have been committed
// or aborted before. Close may be called more than once.
func (s *Store) Close() error {
	s.stop()
	<-s.done
	s.session.end()
	s.leaveAlone()
	return nil
}

// checkFormat reads FORMAT, or writes it into a new directory.
func (s *Store) checkFormat() error {
	path := filepath.Join(s.dir, "FORMAT")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		part := s.session.file("format")
		defer os.Remove(part)
		if err := writeSynced(part, formatText); err != nil {
			return trouble("mark the store's directory", err)
		}
		// As another server may be doing the same, the file appears whole, and only once.
		if err := os.Link(part, path); err != nil && !errors.Is(err, fs.ErrExist) {
			return linkTrouble(s.dir, err)
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return trouble("read the store's format", err)
	}
	return judgeFormat(path, text)
}

// judgeFormat refuses a FORMAT that says something else than ours.
func judgeFormat(path string, text []byte) error {
	if string(text) != formatText {
		return fmt.Errorf("%s says %q and not %q: the directory belongs to another version of bezoar or to something else; name another directory or update this server",
			path, strings.TrimSpace(string(text[:min(len(text), 64)])), strings.TrimSpace(formatText))
	}
	return nil
}

// writeSynced makes a file that power loss cannot cut once it is linked.
func writeSynced(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// probe does once with a file what an upload does, so that a directory that cannot serve is told of at the start.
func (s *Store) probe() error {
	part := s.session.file("probe")
	final := filepath.Join(s.entries, "."+filepath.Base(s.session.dir))
	aside := filepath.Join(s.damaged, filepath.Base(final))
	defer func() {
		for _, path := range []string{part, final, aside} {
			_ = os.Remove(path)
		}
	}()
	if err := os.WriteFile(part, []byte("probe"), fileMode); err != nil {
		return trouble("write to the store's directory", err)
	}
	if err := os.Link(part, final); err != nil {
		return linkTrouble(s.dir, err)
	}
	if err := os.Link(part, final); !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("the file system of %s lets one file take the place of another (%w): entries would not be written once; use another file system, or a bucket", s.dir, orNothing(err))
	}
	if err := os.Rename(final, aside); err != nil {
		return trouble("move a file into the store's directory of damaged entries", err)
	}
	return nil
}

func linkTrouble(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("link a file below %s: %w: let the user that runs bezoar own the directory and all below it; if it does, the file system has no hard links (FAT, some network and FUSE file systems): use another one, or a bucket", dir, err)
	}
	return trouble("link a file below "+dir, err)
}

func orNothing(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}
