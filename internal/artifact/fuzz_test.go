package artifact_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"io"
	"path"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	build "github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

var fuzzLimits = artifact.Limits{MaxInflated: 1 << 20, MaxRatio: 200, MaxMembers: 100, MaxPathLength: 300}

// FuzzCheck feeds anything at all.
func FuzzCheck(f *testing.F) {
	for _, body := range ordinary() {
		f.Add(body)
	}
	for _, c := range build.Hostile() {
		f.Add(c.Body)
	}
	f.Fuzz(judge)
}

// FuzzTar feeds tars, whose checksums it sets right so that more than the first header gets read.
func FuzzTar(f *testing.F) {
	add := func(body []byte) {
		if zr, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			if plain, err := io.ReadAll(zr); err == nil && len(plain) < 1<<16 {
				f.Add(plain)
			}
		}
	}
	for _, body := range ordinary() {
		add(body)
	}
	for _, c := range build.Hostile() {
		add(c.Body)
	}
	zw, err := gzip.NewWriterLevel(nil, gzip.HuffmanOnly) // made once: it costs more than all else
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		plain = bytes.Clone(plain)
		for rest := plain; len(rest) >= build.BlockSize; {
			if header := rest[:build.BlockSize]; len(bytes.Trim(header, "\x00")) > 0 {
				build.Checksum(header)
			}
			next := build.BlockSize + (numeric(rest[124:136])+build.BlockSize-1)&^(build.BlockSize-1)
			if next < build.BlockSize || next > len(rest) {
				break
			}
			rest = rest[next:]
		}
		var body bytes.Buffer
		zw.Reset(&body)
		if _, err := zw.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		judge(t, body.Bytes())
	})
}

// judge checks body and, if it passes, holds what passed against two readers of other makes.
func judge(t *testing.T, body []byte) {
	var members []artifact.Member
	summary, err := artifact.Walk(bytes.NewReader(body), fuzzLimits, func(m artifact.Member) error {
		members = append(members, m)
		return nil
	})
	if len(members) > fuzzLimits.MaxMembers {
		t.Errorf("walked over %d members", len(members))
	}
	if err != nil {
		var refused *artifact.RefusedError
		if !errors.As(err, &refused) || refused.Reason == "" || summary != (artifact.Summary{}) {
			t.Errorf("got %+v, %v", summary, err)
		}
		return
	}
	if summary.Size != int64(len(body)) || summary.SHA256 != artifact.Digest(sha256.Sum256(body)) ||
		summary.Inflated > fuzzLimits.MaxInflated || summary.Members != len(members) {
		t.Errorf("got %+v for %d bytes, %d members", summary, len(body), len(members))
	}
	u := unpack(body)
	if len(u.problems) > 0 {
		t.Errorf("it passed, but: %q", u.problems)
	}
	compareWithStandardLibrary(t, body, members)
}

// compareWithStandardLibrary reads body with archive/tar, as far as that reads it, and compares. It is pickier about
// fields that do not matter here, such as times.
func compareWithStandardLibrary(t *testing.T, body []byte, members []artifact.Member) {
	zr, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	tr := tar.NewReader(zr)
	for _, m := range members {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			t.Errorf("the standard library does not see %q", m.Path)
			return
		}
		if err != nil {
			return
		}
		content := sha256.New()
		size, err := io.Copy(content, tr)
		if err != nil {
			t.Errorf("%q: the standard library cannot read it: %v", m.Path, err)
			return
		}
		var digest artifact.Digest
		if m.Type == artifact.File {
			content.Sum(digest[:0])
		}
		kind := map[byte]artifact.Type{tar.TypeReg: artifact.File, tar.TypeGNUSparse: artifact.File, tar.TypeDir: artifact.Dir, tar.TypeSymlink: artifact.Symlink}[h.Typeflag]
		if path.Clean(h.Name) != m.Path || kind != m.Type || size != m.Size || digest != m.SHA256 ||
			m.Type == artifact.Symlink && h.Linkname != m.Target || m.Type != artifact.Symlink && h.FileInfo().Mode().Perm() != m.Mode {
			t.Errorf("the standard library sees %+v, of %d bytes; want %+v", h, size, m)
		}
	}
	if h, err := tr.Next(); err == nil {
		t.Errorf("the standard library sees one more: %+v", h)
	}
}
