package artifact

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"math"

	"github.com/klauspost/compress/gzip"
)

// upload is the reader that Check was given: it counts and digests what passes, and remembers how it
// failed, because the decompressor on top of it turns errors into its own.
type upload struct {
	r    io.Reader
	n    int64
	hash hash.Hash
	err  error // the first error that is not io.EOF
}

func (u *upload) begin(r io.Reader) {
	u.r, u.n, u.err = r, 0, nil
	u.hash.Reset()
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.n += int64(n)
	_, _ = u.hash.Write(p[:n]) // a hash never fails
	if err != nil && err != io.EOF && u.err == nil {
		u.err = err
	}
	return n, err
}

func (u *upload) sum() (d Digest) {
	u.hash.Sum(d[:0])
	return d
}

// openGzip reads the gzip header. It returns false for a body that is no gzip, if that is allowed.
func (w *walker) openGzip() (known bool, err error) {
	head, err := w.packed.Peek(4)
	if err != nil && !w.ended(err) {
		return false, w.readError(err)
	}
	switch {
	case len(head) == 0:
		return false, refuse("", "is empty")
	case len(head) >= 2 && head[0] == 0x1f && head[1] == 0x8b:
	case w.lim.AllowUnknown:
		return false, nil
	default:
		return false, refuse("", "is no gzip; Nx uploads a gzip'd tar")
	}
	// RFC 1952, 2.3.1.2: reserved flags must be zero. Readers differ on what to do if they are not.
	if len(head) == 4 && head[3]&0xe0 != 0 {
		return false, refuse("", "has a gzip header with reserved flags")
	}
	if err := w.gzip.Reset(w.packed); err != nil {
		return false, w.readError(err)
	}
	w.gzip.Multistream(false) // clients read one gzip member and ignore the rest
	return true, nil
}

// closeGzip makes sure that nothing comes after the gzip, whose own end the tar has reached.
func (w *walker) closeGzip() error {
	switch _, err := w.packed.Peek(1); {
	case err == nil:
		return refuse("", "goes on after the end of its gzip")
	case w.ended(err):
		return nil
	default:
		return w.readError(err)
	}
}

// inflater is the decompressed side of a walker, within its bounds.
type inflater struct{ w *walker }

func (i inflater) Read(p []byte) (int, error) {
	n, err := i.w.gzip.Read(p)
	i.w.stream += int64(n)
	if err := i.w.checkInflated(); err != nil {
		return 0, err
	}
	return n, err
}

func (w *walker) checkInflated() error {
	inflated := addCapped(w.stream, w.holes)
	if most := w.lim.MaxInflated; most > 0 && inflated > most {
		return refuse("", "unpacks to more than %d bytes, which is the limit", most)
	}
	if most := w.lim.MaxRatio; most > 0 && inflated > RatioFloor && inflated/most > w.upload.n {
		return refuse("", "unpacks to more than %d times its size, which is the limit beyond %d bytes", most, int64(RatioFloor))
	}
	if most := w.lim.MaxRatio; most > 0 && w.holes > HoleFloor && w.holes/most > w.upload.n {
		return refuse("", "has holes of more than %d times its size, which is the limit beyond %d bytes", most, int64(HoleFloor))
	}
	return nil
}

// addCapped adds numbers that are not negative.
func addCapped(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// ended reports whether err, met while reading, is the plain end of what there is. The reader may have failed with an
// error that wraps [io.EOF], which is no end.
func (w *walker) ended(err error) bool { return w.upload.err == nil && errors.Is(err, io.EOF) }

// readError says whose fault err, met while reading, is: the reader's or the archive's.
func (w *walker) readError(err error) error {
	var refused *RefusedError
	switch {
	case w.upload.err != nil:
		return fmt.Errorf("reading the archive: %w", w.upload.err)
	case errors.As(err, &refused):
		return err
	case errors.Is(err, io.ErrNoProgress):
		return fmt.Errorf("reading the archive: %w", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return refuse("", "ends too early")
	case errors.Is(err, gzip.ErrChecksum):
		return refuse("", "is damaged: it does not match its gzip checksum or length")
	case errors.Is(err, gzip.ErrHeader):
		return refuse("", "has a damaged gzip header")
	}
	return refuse("", "is damaged: its compressed data is invalid")
}
