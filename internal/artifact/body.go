package artifact

import (
	"unicode/utf8"
)

// readFile reads the bytes of a regular file.
func (w *walker) readFile(size int64, m *Member) error {
	m.Size = size
	w.content.Reset()
	var text utf8Check
	for rest := size; rest > 0; {
		chunk, err := w.readData(rest, m)
		if err != nil {
			return err
		}
		if m.Path == outputName && !text.write(chunk) {
			return refuse(m.Path, "is not valid UTF-8")
		}
		if w.text != nil && isReserved(m.Path) {
			w.text(m.Path, chunk)
		}
		rest -= int64(len(chunk))
		if err := w.skip(len(chunk)); err != nil {
			return err
		}
	}
	if !text.whole() {
		return refuse(m.Path, "is not valid UTF-8")
	}
	m.SHA256 = w.sumContent()
	return w.skipPadding(size, m)
}

// readData digests up to most bytes of m. They are consumed by skip.
func (w *walker) readData(most int64, m *Member) ([]byte, error) {
	chunk, err := w.chunk(most)
	if w.ended(err) {
		return nil, refuse(m.Path, "is cut: the archive ends within it")
	}
	if err != nil {
		return nil, w.readError(err)
	}
	_, _ = w.content.Write(chunk) // a hash never fails
	return chunk, nil
}

func (w *walker) sumContent() Digest {
	w.content.Sum(w.digest[:0])
	return w.digest
}

func (w *walker) skipPadding(size int64, m *Member) error {
	_, err := w.plain.Discard(padding(size))
	if w.ended(err) {
		return refuse(m.Path, "is cut: the archive ends within it")
	}
	if err != nil {
		return w.readError(err)
	}
	return nil
}

// utf8Check tells whether a text that comes in pieces is valid UTF-8.
type utf8Check struct {
	tail [utf8.UTFMax]byte // the beginning of a rune that the last piece ended in
	n    int
}

func (c *utf8Check) write(p []byte) bool {
	for c.n > 0 && len(p) > 0 {
		c.tail[c.n] = p[0]
		c.n++
		p = p[1:]
		if utf8.FullRune(c.tail[:c.n]) {
			if !utf8.Valid(c.tail[:c.n]) {
				return false
			}
			c.n = 0
		}
	}
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if last := p[len(p)-back:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				c.n = copy(c.tail[:], last)
				p = p[:len(p)-back]
			}
			break
		}
	}
	return utf8.Valid(p)
}

// whole reports whether the text did not end within a rune.
func (c *utf8Check) whole() bool { return c.n == 0 }
