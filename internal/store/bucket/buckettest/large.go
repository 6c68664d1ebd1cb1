package buckettest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// testLarge puts bodies of sizes around those at which something is done otherwise.
func testLarge(t *testing.T, s *suite) {
	b := s.open(t)
	for i, size := range []int64{s.threshold - 1, s.threshold, s.threshold + 1, max(s.threshold, 2*s.part) + 3, max(s.threshold, 3*s.part)} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			name, body := fmt.Sprintf("large/%d-%d", i, size), Body(uint64(i), int(size))
			put(t, b, name, body, "note", bucket.IfAbsent)
			version := wantObject(t, b, name, body, "note")
			if err := tryPut(t.Context(), b, name, contentOf(Body(99, int(size)), "other"), bucket.IfAbsent); err == nil || errors.Is(err, bucket.ErrRefused) {
				t.Errorf("put another one: got %v, want ErrExist", err)
			}
			if now := wantObject(t, b, name, body, "note"); now != version {
				t.Errorf("the version was %q and is %q", version, now)
			}
			offset := size - 10
			if _, got, err := get(t.Context(), b, name, offset, version); err != nil || !bytes.Equal(got, body[offset:]) {
				t.Errorf("get from %d on: %d bytes, %v", offset, len(got), err)
			}
			other := Body(uint64(i)+50, int(size))
			put(t, b, name, other, "replaced", bucket.Replace)
			if now := wantObject(t, b, name, other, "replaced"); now == version {
				t.Errorf("another body has the same version, %q", version)
			}
			if _, _, err := get(t.Context(), b, name, offset, version); !errors.Is(err, bucket.ErrChanged) && !errors.Is(err, bucket.ErrNotExist) {
				t.Errorf("get the replaced version: got %v, want ErrChanged", err)
			}
			if err := del(t.Context(), b, name, version); err != nil {
				t.Errorf("delete the replaced version: %v", err)
			}
			wantObject(t, b, name, other, "replaced")
		})
	}
}

func testInParts(t *testing.T, s *suite) {
	b := s.open(t)
	for i, size := range []int{0, 1, 1000} {
		name, body := fmt.Sprint("parts/", size), Body(uint64(i), size)
		content := contentOf(body, "note")
		content.InParts = true
		if err := tryPut(t.Context(), b, name, content, bucket.IfAbsent); err != nil {
			t.Fatalf("put %d bytes: %v", size, err)
		}
		wantObject(t, b, name, body, "note")
		if err := tryPut(t.Context(), b, name, content, bucket.IfAbsent); err == nil || errors.Is(err, bucket.ErrRefused) {
			t.Errorf("put %d bytes again: got %v, want ErrExist", size, err)
		}
	}
}

// errSource is what becomes of a body whose file is lost.
var errSource = errors.New("the disk is gone")

// brokenSource fails from an offset on.
type brokenSource struct {
	from int64
	body *bytes.Reader
}

func (b brokenSource) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.from {
		return 0, errSource
	}
	return b.body.ReadAt(p, off)
}

// testBrokenSource lets the body fail while it is sent: nothing may be there afterwards.
func testBrokenSource(t *testing.T, s *suite) {
	b := s.open(t)
	for _, size := range []int64{100_000, 2 << 20, s.threshold + s.part + 1} {
		for _, from := range []int64{0, size / 2, size - 1} {
			content := contentOf(Body(1, int(size)), "note")
			content.Body = brokenSource{from, bytes.NewReader(Body(1, int(size)))}
			for _, mode := range []bucket.Mode{bucket.IfAbsent, bucket.Replace} {
				name := fmt.Sprintf("broken/%d-%d-%d", size, from, mode)
				err := tryPut(t.Context(), b, name, content, mode)
				if err == nil || errors.Is(err, bucket.ErrExist) || errors.Is(err, bucket.ErrRefused) {
					t.Errorf("put %d bytes that fail at %d: got %v, want an error of the body", size, from, err)
				}
				if !s.cuts {
					wantAbsent(t, b, name)
				} else if info, err := head(t.Context(), b, name); err == nil && info.Size >= size {
					t.Errorf("%d bytes that fail at %d are there as %d", size, from, info.Size)
				}
			}
		}
	}
	if !s.cuts {
		wantList(t, b, "")
	}
}
