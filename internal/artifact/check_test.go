package artifact_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	build "github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

func check(body []byte) (artifact.Summary, error) {
	return artifact.Check(bytes.NewReader(body), artifact.DefaultLimits())
}

func TestHostile(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range build.Hostile() {
		t.Run(c.Name, func(t *testing.T) {
			if seen[c.Name] {
				t.Errorf("there are two cases of this name")
			}
			seen[c.Name] = true
			summary, err := check(c.Body)
			var refused *artifact.RefusedError
			if !errors.As(err, &refused) {
				t.Fatalf("got %+v, %v; want it refused", summary, err)
			}
			if refused.Member != c.WantMember || !strings.Contains(refused.Reason, c.WantReason) {
				t.Errorf("refused with member %q, reason %q; want member %q and a reason with %q",
					refused.Member, refused.Reason, c.WantMember, c.WantReason)
			}
			if summary != (artifact.Summary{}) {
				t.Errorf("a refusal came with a summary: %+v", summary)
			}
			// How the bytes arrive makes no difference.
			if _, again := artifact.Check(iotest.OneByteReader(bytes.NewReader(c.Body)), artifact.DefaultLimits()); again == nil || again.Error() != err.Error() {
				t.Errorf("byte by byte: %v; want %v", again, err)
			}
		})
	}
}

// ordinary is archives that must be let through, strange as some are.
func ordinary() map[string][]byte {
	long := strings.Repeat("p", 60) + "/" + strings.Repeat("n", 140)
	plain := build.Tar(build.File("dist/a", "a"), build.TerminalOutput("done\n"), build.Code(0))
	return map[string][]byte{
		"typical":                      build.Typical(7),
		"no outputs":                   build.Nx(),
		"no terminal output":           build.Archive(build.Code(1)),
		"other order":                  build.Archive(build.Code(3), build.File("b/c", "x"), build.TerminalOutput("x"), build.Dir("b"), build.File("a", "x")),
		"padded end":                   build.Gzip(append(bytes.Clone(plain), make([]byte, 9000)...)),
		"stored without compression":   build.GzipLevel(plain, 0),
		"empty files":                  build.Nx(build.File("a", ""), build.File("b", "")),
		"sizes around a block":         build.Nx(build.File("a", strings.Repeat("a", 511)), build.File("b", strings.Repeat("a", 512)), build.File("c", strings.Repeat("a", 513))),
		"a name of 100 bytes":          build.Nx(build.File(strings.Repeat("n", 100), "x")),
		"a name of 255 bytes":          build.Nx(build.File("d/"+strings.Repeat("n", 255), "x")),
		"a name of 101 bytes":          build.Nx(build.File(strings.Repeat("n", 101), "x")),
		"long name and long target":    build.Nx(build.File(long, "x"), build.Symlink(long+"-link", "../"+long)),
		"long target before long name": build.Nx(build.Long('K', long+"\x00"), build.Long('L', long+"\x00"), build.Symlink("cut", "cut")),
		"long name without a NUL":      build.Nx(build.Long('L', "dist/name"), build.File("cut", "x")),
		"PAX names":                    build.Nx(build.PAX("path", "dist/"+long, "mtime", "1.5"), build.Ustar(build.File("cut", "x")), build.PAX("linkpath", "gr\u00fcn"), build.Ustar(build.Symlink("l", "cut"))),
		"PAX of another archiver":      byStandardLibrary(),
		"old header without a mode":    build.Nx(build.Member{Name: "dist/a", Old: true, Body: []byte("x")}),
		"numbers padded with spaces":   build.Nx(build.Member{Name: "a", Edit: func(h []byte) { copy(h[100:108], "   644 \x00") }}),
		"a size in base 256":           build.Nx(build.Member{Name: "a", Body: []byte("xyz"), Edit: func(h []byte) { copy(h[124:136], "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03") }}),
		"a large owner and an odd time": build.Nx(build.Member{Name: "a", Edit: func(h []byte) {
			copy(h[108:116], "\x80\x00\x00\x00\x00\x2d\xc6\xc0")
			copy(h[136:148], "\x80\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")
		}}),
		"setuid and sticky":               build.Nx(build.Member{Name: "a", Mode: 0o104755}, build.Member{Name: "d", Type: build.TypeDir, Mode: 0o41777}),
		"a directory again":               build.Nx(build.Dir("a"), build.File("a/b", "x"), build.Dir("a/")),
		"a directory after its files":     build.Nx(build.File("a/b", "x"), build.Dir("a")),
		"dots and slashes":                build.Nx(build.Dir("./a/"), build.File("a//./b", "x")),
		"names that look like others":     build.Nx(build.File("..hidden", ""), build.File("...", ""), build.File("a..", ""), build.File("code2", ""), build.File("dist/code", "not the code"), build.File("Code", "")),
		"names that sort around a slash":  build.Nx(build.File("a/b", ""), build.File("a-b", ""), build.File("a.b", ""), build.Dir("a"), build.File("a0", ""), build.File("a b", "")),
		"names of Linux":                  build.Nx(build.File(`back\slash`, ""), build.File("new\nline", ""), build.File("a:b", ""), build.File("bad\xff\xfe", ""), build.File("*", ""), build.File("caf\u00e9", ""), build.File("cafe\u0301", "")),
		"names in two cases without link": build.Nx(build.File("a/x", ""), build.File("A/x", ""), build.File("a/X", "")),
		"links inside":                    build.Nx(build.Dir("a/b"), build.File("f", ""), build.Symlink("a/b/l", "../../f"), build.Symlink("a/m", "b/l"), build.Symlink("here", "."), build.Symlink("a/b/root", "../..")),
		"a link to nothing":               build.Nx(build.Symlink("l", "nothing/there")),
		"a link to itself":                build.Nx(build.Symlink("l", "l")),
		"links to each other":             build.Nx(build.Symlink("l", "m"), build.Symlink("m", "l")),
		"a link up after a directory":     build.Nx(build.Dir("a/b"), build.File("f", ""), build.Symlink("l", "a/b/../../f")),
		"a link up after another link":    build.Nx(build.File("a/b/c", ""), build.File("a/f", ""), build.Symlink("l", "a/b"), build.Symlink("m", "l/../f")),
		"a link up through a chain":       build.Nx(build.File("a/b/c", ""), build.Symlink("l1", "l2"), build.Symlink("l2", "./l3"), build.Symlink("l3", "a/b"), build.Symlink("m", "l1/../../f")),
		"links in two cases":              build.Nx(build.Symlink("Latest", "a"), build.Symlink("other", "A"), build.File("A", ""), build.Dir("Dir")),
		"sparse":                          build.Nx(build.Sparse("s", 8192, []byte("data"), build.At(4096, 4), build.At(8192, 0))),
		"all hole":                        build.Nx(build.Sparse("s", 1<<20, nil, build.At(1<<20, 0))),
		"sparse with more maps":           build.Nx(manyHoles(200)),
		"sparse and empty":                build.Nx(build.Sparse("s", 0, nil)),
		"text in many bytes":              build.Archive(build.TerminalOutput(strings.Repeat("a\u00e9\u20ac\U0001f600", 40_000)), build.Code(0)),
		"a random file":                   build.Random(200_000, 1),
		"text":                            build.Text(200_000, 1),
	}
}

// byStandardLibrary is what archivers that know nothing of Nx make of names that are long or not ASCII.
func byStandardLibrary() []byte {
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	for _, h := range []*tar.Header{
		{Name: "dist/gr\u00fcn.js", Mode: 0o644, Size: 1, ModTime: time.Unix(1, 5), AccessTime: time.Unix(2, 0), Format: tar.FormatPAX},
		{Name: "dist/" + strings.Repeat("n", 200), Mode: 0o755, Size: 1, Uname: "m\u00e9"},
		{Name: "dist/l", Typeflag: tar.TypeSymlink, Linkname: "gr\u00fcn.js"},
		{Name: "code", Mode: 0o644, Size: 4},
	} {
		if err := tw.WriteHeader(h); err != nil {
			panic(err)
		}
		if _, err := tw.Write(make([]byte, h.Size)); err != nil {
			panic(err)
		}
	}
	if err := tw.Close(); err != nil {
		panic(err)
	}
	return build.Gzip(out.Bytes())
}

func manyHoles(n int) build.Member {
	var segments []build.Segment
	for i := range n {
		segments = append(segments, build.At(int64(i)*1024, 512))
	}
	return build.Sparse("s", int64(n)*1024-512, bytes.Repeat([]byte("x"), n*512), segments...)
}

func TestOrdinary(t *testing.T) {
	for name, body := range ordinary() {
		t.Run(name, func(t *testing.T) {
			want, err := check(body)
			if err != nil {
				t.Fatal(err)
			}
			if want.Size != int64(len(body)) || want.SHA256 != artifact.Digest(sha256.Sum256(body)) || want.Content.IsZero() || want.Opaque {
				t.Errorf("got %+v for %d bytes", want, len(body))
			}
			got, err := artifact.Check(iotest.OneByteReader(iotest.DataErrReader(bytes.NewReader(body))), artifact.DefaultLimits())
			if err != nil || got != want {
				t.Errorf("byte by byte: %+v, %v; want %+v", got, err, want)
			}
		})
	}
}

// TestRealArchives has uploads of real build.Nx releases; the name of a file begins with the release.
func TestRealArchives(t *testing.T) {
	files, err := filepath.Glob("testdata/nx/*.tgz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := check(body); err != nil {
				t.Error(err)
			}
			if problems := unpack(body).problems; len(problems) > 0 {
				t.Error(problems)
			}
		})
	}
}

func TestWalk(t *testing.T) {
	body := build.Nx(build.Dir("dist/"), build.Member{Name: "./dist/run.sh", Mode: 0o100755, Body: []byte("#!/bin/sh\n")}, build.Symlink("dist/l", "./run.sh"),
		build.Sparse("dist/s", 4, []byte("data"), build.At(0, 4)))
	digest := func(s string) artifact.Digest { return sha256.Sum256([]byte(s)) }
	want := []artifact.Member{
		{Path: "dist", Type: artifact.Dir, Mode: 0o755},
		{Path: "dist/run.sh", Type: artifact.File, Mode: 0o755, Size: 10, SHA256: digest("#!/bin/sh\n")},
		{Path: "dist/l", Type: artifact.Symlink, Target: "./run.sh"},
		{Path: "dist/s", Type: artifact.File, Mode: 0o644, Size: 4, SHA256: digest("data")},
		{Path: "terminalOutput", Type: artifact.File, Size: 15, SHA256: digest("built in 42 ms\n")},
		{Path: "code", Type: artifact.File, Size: 4, SHA256: digest("\x00\x00\x00\x00")},
	}
	var got []artifact.Member
	summary, err := artifact.Walk(bytes.NewReader(body), artifact.DefaultLimits(), func(m artifact.Member) error {
		got = append(got, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if checked, err := check(body); err != nil || checked != summary || summary.Members != len(want) {
		t.Errorf("Walk says %+v; Check says %+v, %v", summary, checked, err)
	}
	stop := errors.New("enough")
	if _, err := artifact.Walk(bytes.NewReader(body), artifact.DefaultLimits(), func(artifact.Member) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v; want the error of the function", err)
	}
}

func TestUnknownBodies(t *testing.T) {
	lim := artifact.DefaultLimits()
	lim.AllowUnknown = true
	for _, body := range []string{"x", "\x1f", "some other format", strings.Repeat("long ", 100_000)} {
		got, err := artifact.Check(strings.NewReader(body), lim)
		want := artifact.Summary{Size: int64(len(body)), SHA256: sha256.Sum256([]byte(body)), Opaque: true}
		if err != nil || got != want {
			t.Errorf("%.20q: got %+v, %v; want %+v", body, got, err, want)
		}
	}
	// What claims to be a gzip is held to it, and nothing is no format at all.
	var refused *artifact.RefusedError
	for _, body := range []string{"", "\x1f\x8b", "\x1f\x8bnonsense"} {
		if _, err := artifact.Check(strings.NewReader(body), lim); !errors.As(err, &refused) {
			t.Errorf("%q: got %v; want it refused", body, err)
		}
	}
}
