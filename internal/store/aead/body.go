package aead

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle/noncebased"
)

// The head of a body goes on as Tink's streams begin: with the length of their own head, in which that byte counts.
const (
	saltSize     = 32
	prefixSize   = 7
	tinkHeadSize = 1 + saltSize + prefixSize
	bodyHeadSize = headSize + tinkHeadSize
)

// Encrypt writes body to w, encrypted and bound to context. After an error, what was written decrypts to nothing whole: it has no end. It
// reads and writes in pieces; errors of body and w come back as they are.
func (c *Cipher) Encrypt(w io.Writer, body io.Reader, context []byte) error {
	by := c.keys[0]
	head := make([]byte, bodyHeadSize)
	copy(head, c.head())
	head[headSize] = tinkHeadSize
	salt, prefix := head[headSize+1:headSize+1+saltSize], head[headSize+1+saltSize:]
	_, _ = rand.Read(head[headSize+1:]) // never fails
	gcm, err := bodyGCM(by, salt, head[:headSize], context)
	if err != nil {
		return err
	}
	out, err := noncebased.NewWriter(noncebased.WriterParams{
		W:                            w,
		SegmentEncrypter:             segments{gcm},
		NonceSize:                    nonceSize,
		NoncePrefix:                  prefix,
		PlaintextSegmentSize:         c.segment - tagSize,
		FirstCiphertextSegmentOffset: bodyHeadSize,
	})
	if err != nil {
		return fmt.Errorf("begin to encrypt: %w", err)
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	buf := c.buffers.Get().(*[copySize]byte)
	defer c.buffers.Put(buf)
	if _, err := io.CopyBuffer(out, body, buf[:]); err != nil {
		return err // and no Close, which would write an end
	}
	return out.Close()
}

// Decrypt returns a reader of what Encrypt made for the same context. It gives out no byte that is not verified. That the body is whole is known
// with [io.EOF] and not before: what came until then is its beginning, in order.
//
// Errors, of Decrypt and of Read: [bucket.ErrBroken] for what was changed, cut, lengthened, or encrypted for another context;
// [ErrUnknownKey]; [ErrLater]; those of r as they are. A reader that failed stays so.
func (c *Cipher) Decrypt(r io.Reader, context []byte) (io.Reader, error) {
	src := &source{r: r}
	head := make([]byte, bodyHeadSize)
	n, err := io.ReadFull(src, head)
	if src.err != nil {
		return nil, src.err
	}
	by, errKey := c.keyOf(head[:min(n, headSize)])
	switch {
	case errKey != nil:
		return nil, errKey
	case err != nil:
		return nil, broken("it is cut")
	case head[headSize] != tinkHeadSize:
		return nil, broken("its head was changed")
	}
	gcm, err := bodyGCM(by, head[headSize+1:headSize+1+saltSize], head[:headSize], context)
	if err != nil {
		return nil, err
	}
	in, err := noncebased.NewReader(noncebased.ReaderParams{
		R:                            src,
		SegmentDecrypter:             segments{gcm},
		NonceSize:                    nonceSize,
		NoncePrefix:                  head[headSize+1+saltSize:],
		CiphertextSegmentSize:        c.segment,
		FirstCiphertextSegmentOffset: bodyHeadSize,
	})
	if err != nil {
		return nil, fmt.Errorf("begin to decrypt: %w", err)
	}
	return &reader{src: src, in: in}, nil
}

// Size returns how many bytes the encrypted form of size bytes has. There must be no fewer than none.
func (c *Cipher) Size(size int64) int64 {
	plain := int64(c.segment - tagSize)
	first := plain - bodyHeadSize
	count := int64(1)
	if size > first {
		count += (size - first + plain - 1) / plain
	}
	return bodyHeadSize + size + count*tagSize
}

// bodyGCM makes the key of one stream, as Tink does: its own head comes before the context in what Tink calls associated data.
func bodyGCM(by key, salt, head, context []byte) (cipher.AEAD, error) {
	own, err := hkdf.Key(sha256.New, by.body[:], salt, string(slices.Concat(head, context)), len(by.body))
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return newGCM(own)
}

// segments encrypts and decrypts them. The methods with a destination spare one allocation for each.
type segments struct{ gcm cipher.AEAD }

func (s segments) EncryptSegment(segment, nonce []byte) ([]byte, error) {
	return s.EncryptSegmentWithDst(nil, segment, nonce)
}

func (s segments) EncryptSegmentWithDst(dst, segment, nonce []byte) ([]byte, error) {
	return s.gcm.Seal(slices.Grow(dst, len(segment)+tagSize), nonce, segment, nil), nil
}

func (s segments) DecryptSegment(segment, nonce []byte) ([]byte, error) {
	return s.DecryptSegmentWithDst(nil, segment, nonce)
}

func (s segments) DecryptSegmentWithDst(dst, segment, nonce []byte) ([]byte, error) {
	return s.gcm.Open(slices.Grow(dst, len(segment)), nonce, segment, nil)
}

// errSource stands for any error of a source. Tink takes [io.ErrUnexpectedEOF] for an end, and that is what a broken line looks like.
var errSource = errors.New("the encrypted bytes cannot be read")

// source is what is decrypted. It remembers why it failed.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, errSource
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF { // a wrapped one is no end, by the contract of Reader
		s.err, err = err, errSource
	}
	return n, err
}

// reader gives out what is verified. Tink's own has an end after an error in the last segment; this one stays with the error.
type reader struct {
	src *source
	in  *noncebased.Reader
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	for { // an empty segment gives no bytes and no error
		n, err := r.in.Read(p)
		if n > 0 || err != nil {
			r.err = r.judge(err)
			return n, r.err
		}
	}
}

// judge tells a source that failed from bytes that are not as they were.
func (r *reader) judge(err error) error {
	switch {
	case err == nil, err == io.EOF: //nolint:errorlint // Tink's is bare
		return err
	case r.src.err != nil:
		return r.src.err
	default:
		return broken("somebody without the server's key changed, cut or moved it")
	}
}
