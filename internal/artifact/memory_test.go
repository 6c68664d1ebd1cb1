package artifact_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	build "github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// sixtyFour is an archive of 64 MB of files.
func sixtyFour() []byte {
	text := make([]byte, 0, 64<<20)
	for part := build.Text(1<<20, 1); len(text)+len(part) < cap(text); {
		text = append(text, part...) // gzip'd text: it hardly compresses again
	}
	return build.Nx(build.Member{Name: "dist/bundle.bin", Body: text})
}

// TestMemory counts all bytes that are ever allocated, which garbage collection cannot hide.
func TestMemory(t *testing.T) {
	body := sixtyFour()
	allocated := func(body []byte) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := artifact.Check(bytes.NewReader(body), artifact.DefaultLimits()); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if got := allocated(body); got > 1<<20 {
		t.Errorf("an archive of %d MB took %d KB", len(body)>>20, got>>10)
	}
	// Holes take none either.
	if got := allocated(build.Nx(build.Sparse("s", 16<<20, nil, build.At(16<<20, 0)))); got > 1<<20 {
		t.Errorf("16 MB of holes took %d KB", got>>10)
	}
}

func TestAllocations(t *testing.T) {
	body := build.Typical(1)
	reader := bytes.NewReader(body)
	got := testing.AllocsPerRun(100, func() {
		reader.Reset(body)
		if _, err := artifact.Check(reader, artifact.DefaultLimits()); err != nil {
			t.Fatal(err)
		}
	})
	if most := 40.0; got > most {
		t.Errorf("a small archive took %v allocations, more than %v", got, most)
	}
}
