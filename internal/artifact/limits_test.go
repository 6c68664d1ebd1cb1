package artifact_test

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	build "github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

func TestLimits(t *testing.T) {
	plain := build.Tar(build.File("dist/a", strings.Repeat("a", 5000)), build.TerminalOutput("done"), build.Code(0))
	padded := append(bytes.Clone(plain), make([]byte, 1<<20)...)
	holes := build.Tar(build.Sparse("s", 1<<20, nil, build.At(1<<20, 0)), build.Code(0))
	name := strings.Repeat("n", 150)
	inflated := func(n int) artifact.Limits { return artifact.Limits{MaxInflated: int64(n)} }
	for _, c := range []struct {
		name   string
		tar    []byte
		lim    artifact.Limits
		reason string // empty: it passes
	}{
		{"no bounds", plain, artifact.Limits{}, ""},
		{"inflated, just", plain, inflated(len(plain)), ""},
		{"inflated", plain, inflated(len(plain) - 1), "unpacks to more than"},
		{"inflated padding, just", padded, inflated(len(padded)), ""},
		{"inflated padding", padded, inflated(len(padded) - 1), "unpacks to more than"},
		{"inflated holes, just", holes, inflated(len(holes) + 1<<20), ""},
		{"inflated holes", holes, inflated(len(holes) + 1<<20 - 1), "unpacks to more than"},
		{"a small bomb", build.Tar(build.File("zeros", strings.Repeat("\x00", 1<<20)), build.Code(0)), artifact.Limits{MaxRatio: 10}, ""},
		{"a bomb of holes", build.Tar(build.Sparse("s", 2<<30, nil, build.At(2<<30, 0)), build.Code(0)), artifact.Limits{MaxRatio: 200}, "times its size"},
		{"members, just", plain, artifact.Limits{MaxMembers: 3}, ""},
		{"members", plain, artifact.Limits{MaxMembers: 2}, "more than 2 members"},
		{"path, just", build.Tar(build.File("dist/abc", ""), build.Code(0)), artifact.Limits{MaxPathLength: 8}, ""},
		{"path", build.Tar(build.File("dist/abcd", ""), build.Code(0)), artifact.Limits{MaxPathLength: 8}, "path of more than 8 bytes"},
		{"long path, just", build.Tar(build.File(name, ""), build.Code(0)), artifact.Limits{MaxPathLength: 150}, ""},
		{"long path", build.Tar(build.File(name, ""), build.Code(0)), artifact.Limits{MaxPathLength: 149}, "more than 149 bytes"},
		{"long path by far", build.Tar(build.File(name, ""), build.Code(0)), artifact.Limits{MaxPathLength: 100}, "more than 100 bytes"},
		{"target, just", build.Tar(build.Symlink("a", "12345678"), build.Code(0)), artifact.Limits{MaxPathLength: 8}, ""},
		{"target", build.Tar(build.Symlink("a", "123456789"), build.Code(0)), artifact.Limits{MaxPathLength: 8}, "target has more than 8 bytes"},
		{"long target, just", build.Tar(build.Symlink("a", name), build.Code(0)), artifact.Limits{MaxPathLength: 150}, ""},
		{"long target", build.Tar(build.Symlink("a", name), build.Code(0)), artifact.Limits{MaxPathLength: 149}, "more than 149 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := artifact.Check(bytes.NewReader(build.Gzip(c.tar)), c.lim)
			var refused *artifact.RefusedError
			switch {
			case c.reason == "" && err != nil:
				t.Error(err)
			case c.reason != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Reason, c.reason)):
				t.Errorf("got %v; want it refused with %q", err, c.reason)
			}
		})
	}
}

func TestBoundOfAllPaths(t *testing.T) {
	long := strings.Repeat("nnn/", 1<<18) + "n"
	var members []build.Member
	for i := range 33 {
		members = append(members, build.File(strconv.Itoa(i)+long, ""))
	}
	_, err := artifact.Check(bytes.NewReader(build.Nx(members...)), artifact.Limits{})
	if err == nil || !strings.Contains(err.Error(), "bytes of paths") {
		t.Errorf("got %.1000v; want it refused", err)
	}
	if _, err := artifact.Check(bytes.NewReader(build.Nx(members[:31]...)), artifact.Limits{}); err != nil {
		t.Error(err)
	}
}

func TestBoundOfSegments(t *testing.T) {
	segments := make([]build.Segment, 1<<16+1)
	for i := range segments {
		segments[i].Offset = int64(i)
	}
	size := int64(len(segments) - 1)
	_, err := check(build.Nx(build.Sparse("s", size, nil, segments...)))
	if err == nil || !strings.Contains(err.Error(), "segments") {
		t.Errorf("got %v; want it refused", err)
	}
	if _, err := check(build.Nx(build.Sparse("s", size-1, nil, segments[:1<<16]...))); err != nil {
		t.Error(err)
	}
}

// TestManyLinks is about the time that links take to resolve: it must be bounded whatever they are.
func TestManyLinks(t *testing.T) {
	members := []build.Member{build.Dir("d")}
	for i := range 2000 {
		members = append(members, build.Symlink("l"+strings.Repeat("l", i%90)+string(rune('a'+i/90)), strings.Repeat("d/../", 400)+"d"))
	}
	if _, err := check(build.Nx(members...)); err == nil || !strings.Contains(err.Error(), "too long to resolve") {
		t.Errorf("got %v; want it refused", err)
	}
}
