package bucket

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// withheld is how much of a body's end is given out only when all of it fits the digest.
const withheld = 32 << 10

// verified passes a body on and holds it against its record: size and SHA-256.
type verified struct {
	r      io.Reader
	raw    *reader
	want   cache.Record
	damage func(damageError) error // says it, and sets the entry aside

	sum  hash.Hash
	left int64 // to be given out before the end
	end  []byte
	err  error
}

func newVerified(r io.Reader, raw *reader, want cache.Record, damage func(damageError) error) *verified {
	return &verified{r: r, raw: raw, want: want, damage: damage, sum: sha256.New(), left: max(0, want.Size-withheld)}
}

// begin reads a small body to its end, so that what is wrong with it shows before anything is given out.
func (v *verified) begin() (err error) {
	if v.left == 0 {
		v.end, err = v.finish()
		v.err = err
	}
	return err
}

func (v *verified) Read(p []byte) (int, error) {
	switch {
	case v.err != nil:
		return 0, v.err
	case len(p) == 0:
		return 0, nil
	case v.left == 0 && v.end == nil:
		if v.end, v.err = v.finish(); v.err != nil {
			return 0, v.err
		}
	}
	if v.left > 0 {
		n, err := v.r.Read(p[:min(int64(len(p)), v.left)])
		v.sum.Write(p[:n])
		v.left -= int64(n)
		if err != nil {
			v.err = v.judge(err)
		}
		return n, v.err
	}
	if len(v.end) == 0 {
		return 0, io.EOF
	}
	n := copy(p, v.end)
	v.end = v.end[n:]
	return n, nil
}

// finish reads the last bytes and returns them if all is as it should be.
func (v *verified) finish() ([]byte, error) {
	end := make([]byte, min(v.want.Size, withheld))
	if _, err := io.ReadFull(v.r, end); err != nil {
		return nil, v.judge(err)
	}
	v.sum.Write(end)
	// The end of an encrypted body is authenticated when it is read.
	switch n, err := io.ReadFull(v.r, make([]byte, 1)); {
	case n > 0:
		return nil, v.damage("its body is longer than its record says")
	case !errors.Is(err, io.EOF):
		return nil, v.judge(err)
	}
	if [sha256.Size]byte(v.sum.Sum(nil)) != v.want.SHA256 {
		return nil, v.damage("its body does not have the SHA-256 of its record")
	}
	return end, nil
}

// judge tells a body that is damaged from a line that broke.
func (v *verified) judge(err error) error {
	switch {
	case errors.Is(err, ErrBroken):
		return v.damage(damageError("its body: " + err.Error()))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		// The reader below knows the object's length and takes an early end for a broken line: the plaintext is short.
		return v.damage("its body is shorter than its record says")
	}
	return err
}

func (v *verified) Close() error {
	if v.err == nil {
		v.err = errors.New("read after close")
	}
	v.raw.close()
	return nil
}
