package doctor

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"strings"
)

// seed makes an artifact repeatable: a body is generated anew for each attempt, never kept.
type seed [32]byte

func newSeed(random io.Reader) (seed, error) {
	var s seed
	if _, err := io.ReadFull(random, s[:]); err != nil {
		return s, fmt.Errorf("read random bytes: %w", err)
	}
	return s, nil
}

// newHash makes a hash that nobody has used, and that a person who looks at the store recognizes.
func newHash(random io.Reader) (string, error) {
	var b [12]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return "doctor-" + hex.EncodeToString(b[:]), nil
}

// newPayload makes an artifact as Nx does, a gzip'd tar of outputs, "terminalOutput" and "code", with one file of size
// random bytes. It is generated twice: once to learn its length, which an upload has to declare, and
// its digest, then to be sent.
func newPayload(s seed, size int64) (*payload, error) {
	meter := &meter{hash: sha256.New()}
	if err := writeArtifact(meter, s, size); err != nil {
		return nil, err
	}
	p := &payload{size: meter.size, open: func() io.ReadCloser { return generate(s, size) }}
	meter.hash.Sum(p.sum[:0])
	return p, nil
}

// writeArtifact writes the same bytes for the same seed and size.
func writeArtifact(w io.Writer, s seed, size int64) error {
	// Random bytes cannot be compressed: to try would only cost time.
	zip, err := gzip.NewWriterLevel(w, gzip.NoCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zip)
	text := "Written by bezoar doctor to check this cache. It can be deleted.\n"
	var code [4]byte
	binary.BigEndian.PutUint32(code[:], 0)
	members := []struct {
		name string
		size int64
		body io.Reader
	}{
		{"bezoar-doctor/random.bin", size, io.LimitReader(rand.NewChaCha8(s), size)},
		{"terminalOutput", int64(len(text)), strings.NewReader(text)},
		{"code", int64(len(code)), bytes.NewReader(code[:])},
	}
	buf := make([]byte, 64<<10)
	for _, m := range members {
		if err := archive.WriteHeader(&tar.Header{Name: m.name, Size: m.size, Mode: 0o644, Format: tar.FormatGNU}); err != nil {
			return err
		}
		if _, err := io.CopyBuffer(onlyWriter{archive}, m.body, buf); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return zip.Close()
}

// generate streams an artifact. Close ends the goroutine that writes it, and waits for its end.
func generate(s seed, size int64) io.ReadCloser {
	r, w := io.Pipe()
	g := &generator{PipeReader: r, done: make(chan struct{})}
	go func() {
		defer close(g.done)
		w.CloseWithError(writeArtifact(w, s, size))
	}()
	return g
}

type generator struct {
	*io.PipeReader
	done chan struct{}
}

func (g *generator) Close() error {
	err := g.PipeReader.Close()
	<-g.done
	return err
}

type meter struct {
	hash hash.Hash
	size int64
}

func (m *meter) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	return m.hash.Write(p)
}

// onlyWriter hides ReadFrom, so that the copy goes through the buffer and the bytes are the same each time.
type onlyWriter struct{ io.Writer }
