package cache

import (
	"io"
	"os"
)

// FileBody is what the Body of an [Object] may be beside: the beginning of a file on a disk of this machine.
type FileBody interface {
	// File returns the file, of which the body is the first Record.Size bytes from offset 0. It is closed with the body, and its own offset is the
	// body's. Nil: it lies on no disk of this machine, or that is not known.
	File() *os.File
	// Unchanged reports whether the file is as it was when it was opened, as far as its size, links and times tell. It waits for nothing.
	Unchanged() bool
}

// FileRange reads a part of a file without moving the file's offset, so that any number of them may read one file at once. Connections know
// it, and let the kernel move the bytes.
type FileRange struct {
	File *os.File
	// Off is where the next byte is, N how many there are from it on.
	Off, N int64
}

// Read implements [io.Reader].
func (r *FileRange) Read(p []byte) (int, error) {
	if r.N <= 0 {
		return 0, io.EOF
	}
	n, err := r.File.ReadAt(p[:min(int64(len(p)), r.N)], r.Off)
	r.Off += int64(n)
	r.N -= int64(n)
	if n > 0 && err == io.EOF {
		err = nil // the next call tells
	}
	return n, err
}
