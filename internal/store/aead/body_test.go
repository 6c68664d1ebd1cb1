package aead

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// smallSegment makes bodies of many segments small.
const smallSegment = 128

// firstPlain and nextPlain are how many bytes of a body are in the first segment and in each other one.
const (
	nextPlain  = smallSegment - tagSize
	firstPlain = nextPlain - bodyHeadSize
)

func smallCipher(tb testing.TB) *Cipher {
	tb.Helper()
	c, err := newCipher(keys, smallSegment)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func encrypt(tb testing.TB, c *Cipher, body []byte) []byte {
	tb.Helper()
	var sealed bytes.Buffer
	if err := c.Encrypt(&sealed, bytes.NewReader(body), context); err != nil {
		tb.Fatal(err)
	}
	return sealed.Bytes()
}

func decrypt(c *Cipher, sealed, context []byte) ([]byte, error) {
	r, err := c.Decrypt(bytes.NewReader(sealed), context)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// check fails unless decrypting changed bytes is an error that lasts, and gives only true bytes from the beginning of body before it.
func check(t *testing.T, c *Cipher, what string, changed, context, body []byte, want error) {
	t.Helper()
	r, err := c.Decrypt(bytes.NewReader(changed), context)
	var got []byte
	if err == nil {
		got, err = io.ReadAll(r)
		if len(got) == len(body) && len(body) > 0 {
			t.Errorf("%s: all of the body was given out", what)
		}
		for range 2 {
			if n, again := r.Read(make([]byte, 1)); n != 0 || again != err { //nolint:errorlint // the very same
				t.Errorf("%s: after %v came %d bytes, %v", what, err, n, again)
			}
		}
	}
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
	if !bytes.HasPrefix(body, got) {
		t.Errorf("%s: unverified bytes were given out", what)
	}
}

// wantOf returns what changed bytes are taken for, by what stands in the place of their head.
func wantOf(changed []byte) error {
	switch {
	case len(changed) >= headSize && changed[0] == version && KeyID(changed) != keys[0].ID:
		return ErrUnknownKey
	case len(changed) > 0 && version < changed[0] && changed[0] <= lastVersion:
		return ErrLater
	default:
		return bucket.ErrBroken
	}
}

func TestSizesAtBoundaries(t *testing.T) {
	c := smallCipher(t)
	for size := range 4 * smallSegment {
		body := storetest.Body(uint64(size), size)
		sealed := encrypt(t, c, body)
		if int64(len(sealed)) != c.Size(int64(size)) {
			t.Errorf("%d bytes: got %d encrypted, want %d", size, len(sealed), c.Size(int64(size)))
		}
		if got, err := decrypt(c, sealed, context); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
}

// TestRoundTrip has the real segments, and readers and writers that take and give what they like.
func TestRoundTrip(t *testing.T) {
	c := testCipher(t, 1)
	const next = segmentSize - tagSize
	rapid.Check(t, func(t *rapid.T) {
		size := max(0, rapid.IntRange(0, 4).Draw(t, "segments")*next-rapid.SampledFrom([]int{0, bodyHeadSize}).Draw(t, "head")+rapid.IntRange(-2, 2).Draw(t, "bytes"))
		if rapid.Bool().Draw(t, "any size") {
			size = rapid.IntRange(0, 5*segmentSize).Draw(t, "size")
		}
		body := storetest.Body(uint64(size), size)
		wrap := rapid.SampledFrom([]func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r }, iotest.HalfReader, iotest.DataErrReader,
			func(r io.Reader) io.Reader { return iotest.HalfReader(iotest.DataErrReader(r)) },
		})
		about := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "context")
		var sealed bytes.Buffer
		if err := c.Encrypt(&sealed, wrap.Draw(t, "body")(bytes.NewReader(body)), about); err != nil {
			t.Fatal(err)
		}
		if int64(sealed.Len()) != c.Size(int64(size)) {
			t.Fatalf("got %d bytes, want %d", sealed.Len(), c.Size(int64(size)))
		}
		r, err := c.Decrypt(wrap.Draw(t, "sealed")(bytes.NewReader(sealed.Bytes())), about)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(wrap.Draw(t, "plain")(r)); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	})
}

// TestEveryBit flips each one of a body of one segment, and of one of three.
func TestEveryBit(t *testing.T) {
	c := smallCipher(t)
	for _, size := range []int{0, 20, firstPlain + nextPlain + 30} {
		body := storetest.Body(1, size)
		sealed := encrypt(t, c, body)
		for i := range 8 * len(sealed) {
			changed := bytes.Clone(sealed)
			changed[i/8] ^= 1 << (i % 8)
			check(t, c, fmt.Sprintf("%d bytes, bit %d", size, i), changed, context, body, wantOf(changed))
		}
	}
}

func TestCutAndLengthened(t *testing.T) {
	c := smallCipher(t)
	for _, size := range []int{0, 1, firstPlain, firstPlain + 1, firstPlain + nextPlain, firstPlain + 2*nextPlain + 5} {
		body := storetest.Body(1, size)
		sealed := encrypt(t, c, body)
		for n := range sealed {
			check(t, c, fmt.Sprintf("%d bytes, cut to %d", size, n), sealed[:n], context, body, bucket.ErrBroken)
		}
		for n := 1; n <= 2*smallSegment; n++ {
			check(t, c, fmt.Sprintf("%d bytes, and %d zeros", size, n), append(bytes.Clone(sealed), make([]byte, n)...), context, body, bucket.ErrBroken)
			check(t, c, fmt.Sprintf("%d bytes, and %d of its own", size, n), append(bytes.Clone(sealed), sealed[max(0, len(sealed)-n):]...), context, body, bucket.ErrBroken)
		}
	}
}

// TestSegmentsMoved swaps, repeats, leaves out and mixes whole segments.
func TestSegmentsMoved(t *testing.T) {
	c := smallCipher(t)
	body := storetest.Body(1, firstPlain+4*nextPlain)
	sealed, twin := encrypt(t, c, body), encrypt(t, c, body)
	whole, others := slices.Collect(slices.Chunk(sealed, smallSegment)), slices.Collect(slices.Chunk(twin, smallSegment))
	if len(whole) != 5 {
		t.Fatalf("there are %d segments", len(whole))
	}
	try := func(what string, segments ...[]byte) {
		t.Helper()
		changed := slices.Concat(segments...)
		check(t, c, what, changed, context, body, wantOf(changed))
	}
	for i := range whole {
		left := slices.Delete(slices.Clone(whole), i, i+1)
		try(fmt.Sprintf("without segment %d", i), left...)
		try(fmt.Sprintf("segment %d twice", i), slices.Insert(slices.Clone(whole), i, whole[i])...)
		try(fmt.Sprintf("up to segment %d", i), whole[:i]...)
		mixed := slices.Clone(whole)
		mixed[i] = others[i]
		try(fmt.Sprintf("segment %d of another encryption of the same", i), mixed...)
		for j := range i {
			swapped := slices.Clone(whole)
			swapped[i], swapped[j] = whole[j], whole[i]
			try(fmt.Sprintf("segments %d and %d swapped", i, j), swapped...)
		}
	}
	mixed := slices.Concat(sealed[:bodyHeadSize], twin[bodyHeadSize:])
	check(t, c, "the head of another", mixed, context, body, bucket.ErrBroken)
}

func TestContext(t *testing.T) {
	c := smallCipher(t)
	body := storetest.Body(1, 500)
	sealed := encrypt(t, c, body)
	for _, other := range [][]byte{nil, context[1:], append(bytes.Clone(context), 0), bytes.ToUpper(context), []byte(name)} {
		r, err := c.Decrypt(bytes.NewReader(sealed), other)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, bucket.ErrBroken) {
			t.Errorf("%q: got %d bytes, %v", other, n, err)
		}
	}
}

// TestBrokenSources: a line that breaks is not damage, whatever its error, and does not look like an end.
func TestBrokenSources(t *testing.T) {
	c := smallCipher(t)
	body := storetest.Body(1, firstPlain+2*nextPlain)
	sealed := encrypt(t, c, body)
	for _, broke := range []error{errors.New("the line broke"), io.ErrUnexpectedEOF, fmt.Errorf("wrapped: %w", io.EOF)} {
		for n := range len(sealed) + 1 {
			r, err := c.Decrypt(io.MultiReader(bytes.NewReader(sealed[:n]), iotest.ErrReader(broke)), context)
			if err == nil {
				var got []byte
				if got, err = io.ReadAll(r); !bytes.HasPrefix(body, got) {
					t.Errorf("after %d bytes: unverified bytes were given out", n)
				}
			}
			if err != broke { //nolint:errorlint // as it is
				t.Errorf("after %d bytes: got %v, want %v", n, err, broke)
			}
		}
	}
}

// limited fails after some bytes.
type limited struct {
	bytes.Buffer
	left int
}

var errFull = errors.New("the disk is full")

func (l *limited) Write(p []byte) (int, error) {
	n := min(l.left, len(p))
	l.left -= n
	l.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

// TestEncryptFails: what was written until then is not taken for whole.
func TestEncryptFails(t *testing.T) {
	c := smallCipher(t)
	body := storetest.Body(1, firstPlain+2*nextPlain)
	whole := c.Size(int64(len(body)))
	for n := range int(whole) {
		out := &limited{left: n}
		if err := c.Encrypt(out, bytes.NewReader(body), context); !errors.Is(err, errFull) {
			t.Errorf("room for %d bytes: got %v", n, err)
		}
		check(t, c, fmt.Sprintf("room for %d bytes", n), out.Bytes(), context, body, bucket.ErrBroken)
	}
	broke := errors.New("the upload broke off")
	for n := range len(body) + 1 {
		var out bytes.Buffer
		err := c.Encrypt(&out, io.MultiReader(bytes.NewReader(body[:n]), iotest.ErrReader(broke)), context)
		if !errors.Is(err, broke) {
			t.Errorf("after %d bytes: got %v", n, err)
		}
		check(t, c, fmt.Sprintf("a body of %d bytes that broke off", n), out.Bytes(), context, body, bucket.ErrBroken)
	}
}

// TestTinkReadsIt holds the form against Tink's own: after the first seven bytes, which are also part of its associated data, it is its AES256_GCM_HKDF.
func TestTinkReadsIt(t *testing.T) {
	c := testCipher(t, 1)
	tink, err := subtle.NewAESGCMHKDF(c.keys[0].body[:], "SHA256", 32, segmentSize, headSize)
	if err != nil {
		t.Fatal(err)
	}
	about := slices.Concat(c.head(), context)
	for _, size := range []int{0, 1, segmentSize - tagSize - bodyHeadSize, segmentSize, 3*segmentSize + 17} {
		body := storetest.Body(1, size)
		sealed := encrypt(t, c, body)
		r, err := tink.NewDecryptingReader(bytes.NewReader(sealed[headSize:]), about)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, body) {
			t.Errorf("Tink reads %d bytes of %d, %v", len(got), size, err)
		}
		theirs := bytes.NewBuffer(c.head())
		w, err := tink.NewEncryptingWriter(theirs, about)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := decrypt(c, theirs.Bytes(), context); err != nil || !bytes.Equal(got, body) {
			t.Errorf("of Tink's: got %d bytes of %d, %v", len(got), size, err)
		}
	}
}

// TestAtOnce shares one cipher.
func TestAtOnce(t *testing.T) {
	c := testCipher(t, 1)
	body := storetest.Body(1, 3*segmentSize)
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 4 {
				if got, err := decrypt(c, encrypt(t, c, body), context); err != nil || !bytes.Equal(got, body) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
			}
		})
	}
}

// FuzzDecrypt: whatever comes, it is whole only if it is what was encrypted, and what is given out before is true.
func FuzzDecrypt(f *testing.F) {
	c := smallCipher(f)
	body := storetest.Body(1, firstPlain+nextPlain+10)
	sealed := golden(f, "segments_v1.hex") // each process that fuzzes has the same
	for _, seed := range [][]byte{nil, {1}, {2}, sealed, sealed[:smallSegment], sealed[:smallSegment+1], sealed[smallSegment:], append(bytes.Clone(sealed), 0)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decrypt(c, data, context)
		if (err == nil) != bytes.Equal(data, sealed) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		if !bytes.HasPrefix(body, got) {
			t.Error("unverified bytes were given out")
		}
		if err != nil && !errors.Is(err, bucket.ErrBroken) && !errors.Is(err, ErrUnknownKey) && !errors.Is(err, ErrLater) {
			t.Errorf("got %v", err)
		}
	})
}
