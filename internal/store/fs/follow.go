package fs

import (
	"fmt"
	"io"
)

// Follow opens what is written of the draft for reading at any offset, as far as it goes at that time, while the writing goes on. What it
// returns can be read on after Commit, behind whose end lies the entry's record, and after Abort; the caller closes it.
//
// A tier reads a download from it before it is an entry: the bytes need to be written once only. No reader of the store can see
// them, since only Commit publishes.
func (d *draft) Follow() (interface {
	io.ReaderAt
	io.Closer
}, error) {
	if d.file == nil {
		return nil, errSpent
	}
	file, err := openEntry(d.path)
	if err != nil {
		return nil, trouble(fmt.Sprintf("read what is written of the entry %q", d.key), err)
	}
	return file, nil
}
