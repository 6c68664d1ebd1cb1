package artifact_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	build "github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

func TestLook(t *testing.T) {
	output := strings.Repeat("line ä\n", 20_000)
	body := build.Archive(
		build.Dir("dist"), build.File("dist/main.js", "x"), build.Symlink("dist/link", "main.js"),
		build.TerminalOutput(output), build.Code(258))
	summary, err := artifact.Check(bytes.NewReader(body), artifact.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ members, output int }{{0, 0}, {2, 10}, {5, len(output)}, {100, 1 << 20}} {
		in, err := artifact.Look(bytes.NewReader(body), artifact.DefaultLimits(), c.members, c.output)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(summary, in.Summary); diff != "" {
			t.Errorf("the summary (-Check +Look):\n%s", diff)
		}
		if !in.HasCode || in.Code != 258 {
			t.Errorf("code %d, %v", in.Code, in.HasCode)
		}
		if string(in.Output) != output[:min(c.output, len(output))] || in.OutputSize != int64(len(output)) {
			t.Errorf("%d bytes of output, of %d", len(in.Output), in.OutputSize)
		}
		var paths []string
		for _, m := range in.First {
			paths = append(paths, m.Path)
		}
		want := []string{"dist", "dist/main.js", "dist/link", "terminalOutput", "code"}
		if diff := cmp.Diff(want[:min(c.members, len(want))], paths[:]); diff != "" && c.members > 0 {
			t.Errorf("members (-want +got):\n%s", diff)
		}
	}
}

// TestLookAtAFault shows what was there before it.
func TestLookAtAFault(t *testing.T) {
	body := build.Archive(build.TerminalOutput("text"), build.Code(1), build.File("good", ""), build.File("../bad", ""), build.File("behind", ""))
	in, err := artifact.Look(bytes.NewReader(body), artifact.DefaultLimits(), 10, 10)
	if err == nil || !strings.Contains(err.Error(), "../bad") {
		t.Errorf("got %v", err)
	}
	if len(in.First) != 3 || string(in.Output) != "text" || in.Code != 1 || in.Summary != (artifact.Summary{}) {
		t.Errorf("got %+v", in)
	}
	if in, err := artifact.Look(strings.NewReader("no gzip"), artifact.DefaultLimits(), 10, 10); err == nil || in.HasCode {
		t.Errorf("got %+v, %v", in, err)
	}
}

// TestLookLeavesNothing for the next walk, which uses the same buffers.
func TestLookLeavesNothing(t *testing.T) {
	body := build.Nx(build.File("a", "b"))
	in, err := artifact.Look(bytes.NewReader(body), artifact.DefaultLimits(), 10, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	before := string(in.Output)
	if _, err := artifact.Check(bytes.NewReader(build.Nx(build.TerminalOutput("another"))), artifact.DefaultLimits()); err == nil {
		t.Fatal("two outputs were accepted")
	}
	if string(in.Output) != before {
		t.Errorf("the output became %q", in.Output)
	}
}
