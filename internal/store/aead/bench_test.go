package aead

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// BenchmarkBody has what encryption costs beside SHA-256, which every body pays anyway.
func BenchmarkBody(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10, 64 << 20} {
		body := storetest.Body(1, size)
		b.Run(fmt.Sprintf("size=%d/sha256", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				sha256.Sum256(body)
			}
		})
		for _, segment := range []int{16 << 10, 64 << 10, 256 << 10, 1 << 20} {
			c, err := newCipher(keys, segment)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("size=%d/segment=%d/encrypt", size, segment), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := c.Encrypt(io.Discard, onlyReader{bytes.NewReader(body)}, context); err != nil {
						b.Fatal(err)
					}
				}
			})
			sealed := encrypt(b, c, body)
			b.Run(fmt.Sprintf("size=%d/segment=%d/decrypt", size, segment), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				buf := make([]byte, copySize)
				for b.Loop() {
					r, err := c.Decrypt(onlyReader{bytes.NewReader(sealed)}, context)
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.CopyBuffer(onlyWriter{io.Discard}, r, buf); err != nil || n != int64(size) {
						b.Fatal(n, err)
					}
				}
			})
		}
	}
}

func BenchmarkMeta(b *testing.B) {
	c := testCipher(b, 1)
	text := make([]byte, 700)
	sealed, err := c.SealMeta("sealed/web/trusted/1", text)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("seal", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.SealMeta("sealed/web/trusted/1", text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.OpenMeta("sealed/web/trusted/1", sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// onlyReader and onlyWriter hide shortcuts that a connection does not have.
type onlyReader struct{ io.Reader }

type onlyWriter struct{ io.Writer }
