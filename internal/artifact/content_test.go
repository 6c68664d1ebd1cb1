package artifact_test

import (
	"compress/gzip"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	build "github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// TestContentGolden pins the encoding. The digest was computed by a program of its own, in another language,
// from the documentation of the encoding alone. If it changes, the version in it must change.
func TestContentGolden(t *testing.T) {
	summary, err := check(build.Nx(
		build.File("dist/app-1.js", "x"),
		build.Symlink("dist/latest", "app"),
		build.Member{Name: "dist/app/run.sh", Mode: 0o100755, Body: []byte("#!/bin/sh\n")},
		build.Sparse("dist/holes", 1028, []byte("data"), build.At(1024, 4)),
		build.File("./dist//app/main.js", "console.log(1);\n"),
		build.Dir("dist/app/"),
		build.Dir("dist"),
	))
	if err != nil {
		t.Fatal(err)
	}
	const want = "988ef4ab44d739d116be67c7c0418552c735dbf92f05966fb042a7b584acaf67"
	if got := summary.Content.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// tree draws outputs that make a valid archive.
func tree(t *rapid.T) []build.Member {
	var members []build.Member
	for i := range rapid.IntRange(0, 4).Draw(t, "directories") {
		dir := fmt.Sprintf("d%d", i)
		members = append(members, build.Member{Name: dir, Type: build.TypeDir, Mode: rapid.SampledFrom([]int64{0o755, 0o700}).Draw(t, "mode")})
		for j := range rapid.IntRange(0, 4).Draw(t, "members") {
			name := fmt.Sprintf("%s/%c-%d", dir, 'a'+j, j)
			switch rapid.IntRange(0, 4).Draw(t, "type") {
			case 0:
				members = append(members, build.Symlink(name, rapid.StringMatching(`(\.\./)?[a-d][0-4](/[a-z]{0,120})?`).Draw(t, "target")))
			case 1:
				members = append(members, build.Member{Name: name, Type: build.TypeDir})
			default:
				members = append(members, build.Member{
					Name: name, Body: rapid.SliceOfN(rapid.Byte(), 0, 1500).Draw(t, "body"),
					Mode: rapid.SampledFrom([]int64{0o644, 0o755, 0o400}).Draw(t, "mode"),
				})
			}
		}
	}
	return append(members, build.Code(rapid.Uint32().Draw(t, "code")))
}

func content(t *rapid.T, body []byte) string {
	summary, err := check(body)
	if err != nil {
		t.Fatal(err)
	}
	return summary.Content.String()
}

func TestContentIgnores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := tree(t)
		want := content(t, build.Archive(members...))
		other := rapid.Permutation(append(slices.Clone(members), build.TerminalOutput(rapid.String().Draw(t, "output")))).Draw(t, "order")
		for i := range other {
			m := &other[i]
			if m.Old {
				continue
			}
			m.ModTime = rapid.Int64Range(0, 1<<33-1).Draw(t, "time")
			m.UID = rapid.Int64Range(0, 1<<21-1).Draw(t, "owner")
			if m.Type != build.TypeSymlink { // Linux itself has but one mode for them
				m.Mode |= rapid.SampledFrom([]int64{0, 0o100000, 0o4000}).Draw(t, "type bits")
				if m.Mode&0o777 == 0 {
					m.Mode |= 0o755
				}
			} else {
				m.Mode = rapid.Int64Range(1, 0o777).Draw(t, "link mode")
			}
			if m.Type == build.TypeDir {
				m.Name += rapid.SampledFrom([]string{"", "/"}).Draw(t, "slash")
			}
		}
		level := rapid.IntRange(gzip.NoCompression, gzip.BestCompression).Draw(t, "level")
		if got := content(t, build.GzipLevel(build.Tar(other...), level)); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

func TestContentChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := tree(t)
		before := content(t, build.Archive(members...))
		i := rapid.IntRange(0, len(members)-1).Draw(t, "member")
		m := &members[i]
		switch {
		case m.Old:
			m.Body = []byte{^m.Body[0], m.Body[1], m.Body[2], m.Body[3]}
		case m.Type == build.TypeDir && rapid.Bool().Draw(t, "mode"):
			m.Mode = 0o711
		case m.Type == build.TypeDir:
			members = append(members, build.File(m.Name+"/new", ""))
		case m.Type == build.TypeSymlink && rapid.Bool().Draw(t, "target"):
			m.Target += "x"
		case m.Type == build.TypeSymlink:
			*m = build.File(m.Name, m.Target)
		default:
			switch rapid.IntRange(0, 4).Draw(t, "change") {
			case 0:
				m.Mode = 0o711
			case 1:
				m.Name += "x"
			case 2:
				m.Body = append(slices.Clone(m.Body), 0)
			case 3:
				m.Body = append([]byte{1}, m.Body...)
			default:
				members = slices.Delete(members, i, i+1)
			}
		}
		if after := content(t, build.Archive(members...)); after == before {
			t.Fatalf("a change left the digest as it was")
		}
	})
}
