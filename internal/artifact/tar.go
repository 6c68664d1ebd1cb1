package artifact

import (
	"bytes"
	"io/fs"
)

// MaxPathBytes bounds the bytes of all paths and link targets of an archive together, because they are
// kept until its end. It is 130 bytes for each of 250,000 members.
const MaxPathBytes = 32 << 20

// pending is the name or the link target that a record of its own gives for the next member.
type pending struct {
	text []byte
	set  bool
}

func (p *pending) drop() { p.text, p.set = p.text[:0], false }

// readTar reads the members up to the end of the inflated stream.
func (w *walker) readTar() error {
	var h header
	for {
		b, err := w.block()
		if err != nil {
			return err
		}
		if isZero(b) {
			return w.readEnd()
		}
		if reason := h.parse(b); reason != "" {
			return refuse("", "%s", reason)
		}
		switch h.flag {
		case flagLongName:
			err = w.readLong(&h, &w.longName)
		case flagLongLink:
			err = w.readLong(&h, &w.longTarget)
		case flagPAX:
			err = w.readPAX(&h)
		case flagPAXAll:
			err = refuse("", "has a PAX header for all members, which clients do not read alike")
		default:
			err = w.readMember(&h, b)
		}
		if err != nil {
			return err
		}
	}
}

// block is the next block. It is valid until the next read, and consumed by skip.
func (w *walker) block() (block, error) {
	b, err := w.plain.Peek(blockSize)
	if w.ended(err) {
		return nil, refuse("", "ends without the end-of-archive marker of a tar")
	}
	if err != nil {
		return nil, w.readError(err)
	}
	return b, nil
}

// skip consumes n bytes of which at least one may have to be read.
func (w *walker) skip(n int) error {
	if _, err := w.plain.Discard(n); err != nil {
		return w.readError(err)
	}
	return nil
}

// readEnd reads the end-of-archive marker, two blocks of zeros, and the zeros that may follow.
func (w *walker) readEnd() error {
	if w.longName.set || w.longTarget.set || w.pax.set {
		return refuse("", "ends with a long name for no member")
	}
	for n := 0; ; {
		chunk, err := w.chunk(plainSize)
		if w.ended(err) {
			if n < 2*blockSize {
				return refuse("", "ends without the end-of-archive marker of a tar")
			}
			return nil
		}
		if err != nil {
			return w.readError(err)
		}
		if !isZero(chunk) {
			return refuse("", "goes on after the end of its tar")
		}
		n = min(n+len(chunk), 2*blockSize)
		if err := w.skip(len(chunk)); err != nil {
			return err
		}
	}
}

// chunk is what there is of the tar without copying, 1 to most bytes; [io.EOF] at the end of the gzip.
func (w *walker) chunk(most int64) ([]byte, error) {
	if w.plain.Buffered() == 0 {
		if _, err := w.plain.Peek(1); err != nil {
			return nil, err
		}
	}
	return w.plain.Peek(int(min(most, int64(w.plain.Buffered()))))
}

// readLong reads the name or the target of the next member.
func (w *walker) readLong(h *header, into *pending) error {
	most := int64(MaxPathBytes)
	if w.lim.MaxPathLength > 0 {
		most = int64(w.lim.MaxPathLength)
	}
	switch {
	case !h.gnu:
		return refuse("", "has a long name in a flavour of tar that knows none")
	case into.set || w.pax.set:
		return refuse("", "has two long names for one member")
	case h.size > most+1: // it ends with a NUL
		return refuse("", "has a name or link target of more than %d bytes, which is the limit", most)
	}
	if err := w.readRecord(h, into); err != nil {
		return err
	}
	if n := len(into.text); n > 0 && into.text[n-1] == 0 {
		into.text = into.text[:n-1]
	}
	if len(into.text) == 0 || bytes.IndexByte(into.text, 0) >= 0 {
		return refuse("", "has a long name that is empty or has a NUL within")
	}
	return nil
}

// readRecord reads the body of a record that is about the next member. Its size was checked.
func (w *walker) readRecord(h *header, into *pending) error {
	if err := w.skip(blockSize); err != nil {
		return err
	}
	into.text, into.set = into.text[:0], true
	for rest := h.size; rest > 0; {
		chunk, err := w.chunk(rest)
		if err != nil {
			return w.readError(err)
		}
		into.text = append(into.text, chunk...)
		rest -= int64(len(chunk))
		if err := w.skip(len(chunk)); err != nil {
			return err
		}
	}
	return w.skip(padding(h.size))
}

// padding is how far n is from the end of its block.
func padding(n int64) int { return int(-n & (blockSize - 1)) }

// readMember reads a member whose header is the block b, which is not consumed yet.
func (w *walker) readMember(h *header, b block) error {
	if w.pax.set && !h.ustar {
		return refuse("", "has a PAX header for a member of a flavour of tar that knows none")
	}
	raw := h.name
	if w.longName.set {
		raw = w.longName.text
	} else if len(h.prefix) > 0 {
		raw = append(append(append(w.longName.text[:0], h.prefix...), '/'), h.name...)
		w.longName.text = raw
	}
	path, err := w.cleanPath(raw)
	if err != nil {
		return err
	}
	if w.count++; w.lim.MaxMembers > 0 && w.count > w.lim.MaxMembers {
		return refuse("", "has more than %d members, which is the limit", w.lim.MaxMembers)
	}
	m := Member{Path: path, Mode: fs.FileMode(h.mode) & fs.ModePerm}
	if isReserved(path) && (string(raw) != path || h.flag != flagFile && h.flag != flagOldFile) {
		return refuse(path, "must be a regular file of just that name: clients take it for their own")
	}
	if raw[len(raw)-1] == '/' && h.flag != flagDir {
		return refuse(path, "is a directory by its name and none by its type")
	}
	switch h.flag {
	case flagFile, flagOldFile:
		m.Type = File
		if path == codeName && h.size != codeSize {
			return refuse(path, "has %d bytes; the exit status of a task has %d", h.size, codeSize)
		}
	case flagSparse:
		m.Type = File
		if !h.gnu {
			return refuse(path, "is a sparse file in a flavour of tar that knows none")
		}
	case flagDir:
		m.Type = Dir
	case flagSymlink:
		m.Type, m.Mode = Symlink, 0
		target := h.target
		if w.longTarget.set {
			target = w.longTarget.text
		}
		if m.Target, err = w.checkTarget(path, target); err != nil {
			return err
		}
	case flagHardLink:
		return refuse(path, "is a hard link; Nx makes none, and before 23.0.2 it links them to files of the workspace")
	default:
		return refuse(path, "is neither file, directory nor symbolic link (tar type %q)", h.flag)
	}
	if m.Type != File && h.size != 0 {
		return refuse(path, "is a %s with a body", m.Type)
	}
	if m.Type != Symlink && w.longTarget.set {
		return refuse(path, "has a link target but is no link")
	}
	if w.pathBytes += len(m.Path) + len(m.Target); w.pathBytes > MaxPathBytes {
		return refuse("", "has more than %d bytes of paths and link targets, which is the limit", MaxPathBytes)
	}
	w.longName.drop()
	w.longTarget.drop()
	w.pax.drop()
	if h.flag == flagSparse {
		err = w.readSparse(h, b, &m)
	} else if err = w.skip(blockSize); err == nil && m.Type == File {
		err = w.readFile(h.size, &m)
	}
	if err != nil {
		return err
	}
	return w.add(m)
}

func isReserved(path string) bool { return path == codeName || path == outputName }
