package artifact_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	build "github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// lostError is the error of a reader that is of no kind known to this package.
type lostError struct{}

func (lostError) Error() string { return "connection lost" }

func TestErrorsOfTheReader(t *testing.T) {
	body := build.Nx(build.Dir("a"), build.File("a/b", "some text"), build.Sparse("s", 8192, []byte("data"), build.At(4096, 4), build.At(8192, 0)))
	allow := artifact.DefaultLimits()
	allow.AllowUnknown = true
	for _, lost := range []error{lostError{}, io.ErrUnexpectedEOF, fmt.Errorf("connection: %w", io.EOF)} {
		for n := range len(body) + 1 {
			for name, lim := range map[string]artifact.Limits{"": artifact.DefaultLimits(), "opaque": allow} {
				data := bytes.Clone(body)
				if name == "opaque" {
					data[0] = 'x'
				}
				summary, err := artifact.Check(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(lost)), lim)
				var refused *artifact.RefusedError
				if !errors.Is(err, lost) || errors.As(err, &refused) || summary != (artifact.Summary{}) {
					t.Fatalf("%s: %v after %d bytes: got %+v, %v", name, lost, n, summary, err)
				}
			}
		}
	}
}

func TestReaderThatStalls(t *testing.T) {
	_, err := artifact.Check(stalled{}, artifact.DefaultLimits())
	var refused *artifact.RefusedError
	if !errors.Is(err, io.ErrNoProgress) || errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
}

type stalled struct{}

func (stalled) Read([]byte) (int, error) { return 0, nil }

func TestEveryCut(t *testing.T) {
	body := build.Typical(3)
	for n := range body {
		var refused *artifact.RefusedError
		if summary, err := check(body[:n]); !errors.As(err, &refused) {
			t.Fatalf("the first %d bytes of %d: got %+v, %v", n, len(body), summary, err)
		}
	}
	plain := build.Tar(build.Dir("a"), build.File("a/b", "text"), build.Code(0))
	for n := 0; n < len(plain); n += 32 { // on every boundary of a block, and within
		var refused *artifact.RefusedError
		if summary, err := check(build.Gzip(plain[:n])); !errors.As(err, &refused) {
			t.Fatalf("the first %d bytes of the tar of %d: got %+v, %v", n, len(plain), summary, err)
		}
	}
}

// TestEveryFlip damages each byte: whatever gets through is the same archive.
func TestEveryFlip(t *testing.T) {
	body := build.Typical(3)
	want, err := check(body)
	if err != nil {
		t.Fatal(err)
	}
	for i := range body {
		damaged := bytes.Clone(body)
		damaged[i] ^= 0x10
		got, err := check(damaged)
		if err == nil && got.Content != want.Content {
			t.Errorf("with byte %d damaged it passed as something else: %+v", i, got)
		}
	}
}
