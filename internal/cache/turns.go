package cache

import "io"

// Turns bounds how many uploads are checked in the same moment: what a check takes is processor time, and a flood of uploads would make every other request queue
// behind it. Nobody has a turn while he waits for bytes or for a disk, so each takes well below a millisecond. Nil: no bound.
type Turns chan struct{}

// NewTurns makes n of them, at least one.
func NewTurns(n int) Turns { return make(Turns, max(1, n)) }

// begin takes a turn, until end is called.
func (t Turns) begin() (end func()) {
	if t == nil {
		return func() {}
	}
	t <- struct{}{}
	return func() { <-t }
}

// during returns r and w for use within a turn, which is given to others while they wait.
func (t Turns) during(r io.Reader, w io.Writer) (io.Reader, io.Writer) {
	if t == nil {
		return r, w
	}
	return turningReader{t, r}, turningWriter{t, w}
}

type turningReader struct {
	turns Turns
	r     io.Reader
}

func (t turningReader) Read(p []byte) (int, error) {
	<-t.turns
	defer func() { t.turns <- struct{}{} }()
	return t.r.Read(p)
}

type turningWriter struct {
	turns Turns
	w     io.Writer
}

func (t turningWriter) Write(p []byte) (int, error) {
	<-t.turns
	defer func() { t.turns <- struct{}{} }()
	return t.w.Write(p)
}
