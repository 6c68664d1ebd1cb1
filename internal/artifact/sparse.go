package artifact

import "math"

// segment is a part of a sparse file that has data: length bytes at offset. All else are holes.
type segment struct{ offset, length int64 }

// maxSegments bounds the segments of one sparse file, because they come before its data and are kept
// meanwhile, by clients too: 1 MiB.
const maxSegments = 1 << 16

// segmentSize is the size of a segment's description: two numeric fields.
const segmentSize = 24

const notSparse = "has a damaged map of a sparse file"

// readSparse reads a sparse file in the old GNU format, which newer clients write for files with holes. It is
// digested as it will be unpacked, with its holes, so that it equals the same file written in full, and
// its holes count like bytes: a few hundred bytes can stand for a file of any size.
func (w *walker) readSparse(h *header, b block, m *Member) error {
	whole, ok := number(b.wholeSize(), true)
	if !ok {
		return refuse(m.Path, notSparse)
	}
	m.Size = whole
	if err := w.readSegments(b, m); err != nil {
		return err
	}
	end, data := int64(0), int64(0)
	for _, s := range w.segments {
		switch {
		case s.offset < end, s.length > math.MaxInt64-s.offset:
			return refuse(m.Path, "%s: its segments overlap or are out of order", notSparse)
		case s.length > 0 && data%blockSize != 0:
			return refuse(m.Path, "%s: a segment does not begin at a block", notSparse)
		}
		end = s.offset + s.length
		data += s.length // no overflow: the sum is at most end
	}
	if end != whole || data != h.size {
		return refuse(m.Path, "%s: its segments do not make up its size", notSparse)
	}
	w.holes = addCapped(w.holes, whole-data)
	if err := w.checkInflated(); err != nil {
		return err
	}

	w.content.Reset()
	at := int64(0)
	for _, s := range w.segments {
		for hole := s.offset - at; hole > 0; {
			n := min(hole, int64(len(zeros)))
			_, _ = w.content.Write(zeros[:n]) // a hash never fails
			hole -= n
		}
		for rest := s.length; rest > 0; {
			chunk, err := w.readData(rest, m)
			if err != nil {
				return err
			}
			rest -= int64(len(chunk))
			if err := w.skip(len(chunk)); err != nil {
				return err
			}
		}
		at = s.offset + s.length
	}
	m.SHA256 = w.sumContent()
	return w.skipPadding(data, m)
}

// readSegments reads the map: from the header, then from the blocks that it announces.
func (w *walker) readSegments(b block, m *Member) error {
	w.segments = w.segments[:0]
	fields, more := b.segments(), b.extended()
	for {
		if !w.addSegments(fields) || more > 1 {
			return refuse(m.Path, notSparse)
		}
		if len(w.segments) > maxSegments {
			return refuse(m.Path, "is a sparse file of more than %d segments, which is the limit", maxSegments)
		}
		if err := w.skip(blockSize); err != nil {
			return err
		}
		if more == 0 {
			return nil
		}
		b, err := w.block()
		if err != nil {
			return err
		}
		fields, more = b[:21*segmentSize], b[21*segmentSize]
	}
}

// addSegments takes up the segments of one block. The first empty one ends them: where one reader
// stops there and another looks on, nothing may be found.
func (w *walker) addSegments(fields []byte) bool {
	for ; len(fields) > 0; fields = fields[segmentSize:] {
		if fields[0] == 0 {
			return isZero(fields)
		}
		offset, ok1 := number(fields[:12], true)
		length, ok2 := number(fields[12:segmentSize], true)
		if !ok1 || !ok2 || fields[12] == 0 {
			return false
		}
		w.segments = append(w.segments, segment{offset, length})
	}
	return true
}
