package bucket

import (
	"errors"
	"fmt"
	"io"
)

// Cipher encrypts what goes into a bucket, so that who can read and write there alone learns and changes nothing. Its errors wrap [ErrBroken]
// for what is not as it was encrypted; others say that it cannot tell, such as for want of a key.
type Cipher interface {
	// SealMeta and OpenMeta protect the text that is kept beside an object, bound to the object's name.
	SealMeta(name string, text []byte) ([]byte, error)
	OpenMeta(name string, sealed []byte) ([]byte, error)
	// Encrypt writes body to w in encrypted form, bound to context: key and record of the entry.
	Encrypt(w io.Writer, body io.Reader, context []byte) error
	// Decrypt reads what Encrypt wrote. It passes no byte on that is not verified.
	Decrypt(r io.Reader, context []byte) (io.Reader, error)
	// Size is that of the encrypted form of size bytes.
	Size(size int64) int64
}

// ErrBroken is wrapped by what a [Cipher] says of something that was changed, cut, or moved from another place.
var ErrBroken = errors.New("it is not as it was encrypted")

// cipherError tells damage from what the cipher cannot judge.
func cipherError(what string, err error) error {
	if errors.Is(err, ErrBroken) {
		return damageError(what + ": " + err.Error())
	}
	return fmt.Errorf("decrypt %s: %w", what, err)
}
