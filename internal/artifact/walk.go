package artifact

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// The members that Nx adds to the outputs of a task. Clients compare these names byte for byte and take
// the members for themselves instead of unpacking them.
const (
	codeName   = "code"
	outputName = "terminalOutput"
	codeSize   = 4
)

// Type says what a member is.
type Type byte

// The types of members that an archive may have. Their values are part of [Summary.Content].
const (
	File    Type = 'f'
	Dir     Type = 'd'
	Symlink Type = 'l'
)

func (t Type) String() string {
	switch t {
	case File:
		return "file"
	case Dir:
		return "directory"
	case Symlink:
		return "symbolic link"
	}
	return fmt.Sprintf("type %q", byte(t))
}

// Member is one member of an archive.
type Member struct {
	// Path is relative to the archive's root, cleaned: no empty, "." or ".." component, no slash at its end.
	Path string
	Type Type
	// Mode has the permission bits alone, all that clients restore. It is 0 for a symbolic link, and
	// for a header that leaves it out, as Nx does for "code" and "terminalOutput".
	Mode fs.FileMode
	// Size counts the bytes of a file, holes included; 0 for other types.
	Size int64
	// SHA256 is the digest of a file's bytes, holes included; zero for other types.
	SHA256 Digest
	// Target is the target of a symbolic link, as it is in the archive.
	Target string
}

// Check reads r to its end and reports whether it is an archive that every Nx client can be given. An archive
// that is not is a [*RefusedError]. An error that r returned, other than [io.EOF], comes back
// wrapped and is never a RefusedError, so that a lost connection can be told from a bad archive; an
// archive that simply ends too early is a bad one.
//
// Check returns at the first fault without reading on; draining r is up to the caller. It takes one pass and
// holds no member's bytes. It needs about 100 KB (reused by later calls), and 80 bytes and its path for each
// member; [MaxPathBytes] bounds the paths, and [Limits.Budget] all of it together: beyond that the error is [ErrBusy].
func Check(r io.Reader, lim Limits) (Summary, error) {
	return Walk(r, lim, func(Member) error { return nil })
}

// Walk is [Check] with a look inside: it calls fn for each member, "code" and "terminalOutput" included, in
// the order of the archive. Some faults are known only at the end, so what fn is told is worth nothing
// until Walk has returned nil. An error of fn ends the walk and is returned as it is. For an opaque
// body fn is not called.
func Walk(r io.Reader, lim Limits, fn func(Member) error) (Summary, error) {
	w := walkers.Get().(*walker)
	defer w.release()
	w.begin(r, lim, fn)
	return w.walk()
}

// walkers keeps the buffers and the inflate tables of walks that have ended; there is no other state in it.
var walkers = sync.Pool{New: func() any {
	w := &walker{content: sha256.New()}
	w.upload.hash = sha256.New()
	w.packed = bufio.NewReaderSize(nil, bufferSize)
	w.plain = bufio.NewReaderSize(nil, plainSize)
	return w
}}

const (
	bufferSize = 32 << 10
	plainSize  = 16 << 10
	// keepMembers is the number of members up to which the table of members is kept for the next walk.
	keepMembers = 4096
)

// walker is the state of one walk: upload → packed → gzip → inflater → plain → the tar.
type walker struct {
	lim  Limits
	fn   func(Member) error
	text func(path string, chunk []byte) // of "code" and "terminalOutput"; nil: nobody wants it

	upload upload        // counts and digests what was uploaded
	packed *bufio.Reader // a ByteReader, so that gzip does not read past its end
	gzip   gzip.Reader
	plain  *bufio.Reader // the tar, bounded by Read of the walker
	stream int64         // bytes of the tar that were inflated
	holes  int64         // bytes of sparse files that are not in the tar

	longName, longTarget pending
	pax                  pending   // the header from which they may come
	segments             []segment // of the sparse file that is being read
	content              hash.Hash // of the file that is being read
	digest               Digest    // scratch of sumContent
	path                 []byte    // scratch of cleanPath

	loan      loan // of the budget, for members and their paths
	members   []Member
	count     int
	pathBytes int
	symlinks  int
	codes     int
	outputs   int
}

func (w *walker) begin(r io.Reader, lim Limits, fn func(Member) error) {
	w.lim, w.fn = lim, fn
	w.upload.begin(r)
	w.packed.Reset(&w.upload)
	w.plain.Reset(inflater{w})
	w.stream, w.holes = 0, 0
	w.loan = loan{budget: lim.Budget}
	w.longName.drop()
	w.longTarget.drop()
	w.pax.drop()
	w.count, w.pathBytes, w.symlinks, w.codes, w.outputs = 0, 0, 0, 0, 0
}

func (w *walker) release() {
	w.fn, w.text, w.upload.r = nil, nil, nil
	w.loan.giveBack()
	clear(w.members) // lets go of the paths
	w.members = w.members[:0]
	if cap(w.members) > keepMembers {
		w.members = nil
	}
	if cap(w.segments) > keepMembers {
		w.segments = nil
	}
	for _, p := range [...]*pending{&w.longName, &w.longTarget, &w.pax} {
		if cap(p.text) > bufferSize {
			p.text = nil
		}
	}
	walkers.Put(w)
}

func (w *walker) walk() (Summary, error) {
	known, err := w.openGzip()
	if err != nil {
		return Summary{}, err
	}
	if !known {
		if _, err := io.Copy(io.Discard, w.packed); err != nil {
			return Summary{}, w.readError(err)
		}
		return Summary{Size: w.upload.n, SHA256: w.upload.sum(), Opaque: true}, nil
	}
	if err := w.readTar(); err != nil {
		return Summary{}, err
	}
	if err := w.closeGzip(); err != nil {
		return Summary{}, err
	}
	switch {
	case w.codes == 0:
		return Summary{}, refuse("", `has no member "code"; an Nx archive has one, with the exit status of the task`)
	case w.codes > 1:
		return Summary{}, refuse(codeName, "is there more than once")
	case w.outputs > 1:
		return Summary{}, refuse(outputName, "is there more than once")
	}
	if w.members, err = checkTree(w.members, w.symlinks > 0); err != nil {
		return Summary{}, err
	}
	return Summary{
		Size:     w.upload.n,
		SHA256:   w.upload.sum(),
		Content:  contentDigest(w.members),
		Inflated: w.stream + w.holes,
		Members:  w.count,
	}, nil
}

// add takes a finished member up.
func (w *walker) add(m Member) error {
	switch m.Path {
	case codeName:
		w.codes++
	case outputName:
		w.outputs++
	}
	if m.Type == Symlink {
		w.symlinks++
	}
	if err := w.loan.use(memberCost + len(m.Path) + len(m.Target)); err != nil {
		return err
	}
	w.members = append(w.members, m)
	return w.fn(m)
}

// maxShown bounds the bytes of a path that an error shows.
const maxShown = 256

// refuse makes the error of a rule that is broken.
func refuse(member, format string, args ...any) error {
	if len(member) > maxShown {
		member = member[:maxShown] + "…"
	}
	return &RefusedError{Member: member, Reason: fmt.Sprintf(format, args...)}
}
