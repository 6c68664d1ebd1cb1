package artifact_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	build "github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// BenchmarkCheck compares Check with merely inflating the same body. Bytes are those after decompression.
func BenchmarkCheck(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"1KB", 1 << 10}, {"512KB", 512 << 10}, {"64MB", 64 << 20}} {
		body := build.Text(c.size, 1)
		b.Run(c.name+"/inflate", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(c.size))
			var zr gzip.Reader
			reader := bytes.NewReader(nil)
			buf := make([]byte, 64<<10)
			for b.Loop() {
				reader.Reset(body)
				if err := zr.Reset(reader); err != nil {
					b.Fatal(err)
				}
				if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{&zr}, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/check", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(c.size))
			reader := bytes.NewReader(nil)
			for b.Loop() {
				reader.Reset(body)
				if _, err := artifact.Check(reader, artifact.DefaultLimits()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
