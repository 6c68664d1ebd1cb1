//go:build faults || e2e

package faults_test

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// clockVariable names the file whose first eight bytes are seconds that the wall clock of a [clocked] binary is ahead.
const clockVariable = "BEZOARTEST_CLOCK"

// skewSource is put into the standard library's package time for this binary only. A Go program asks the kernel for the time without any library that
// libfaketime could stand in for, and a time namespace has no wall clock of its own; so the one function that reads that clock is built with an addition. The
// monotonic clock stays as it is, as when an administrator or NTP sets the time.
const skewSource = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var skew = openSkew()

func openSkew() *int64 {
	path, ok := syscall.Getenv("` + clockVariable + `")
	if !ok {
		return new(int64)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		panic("the clock of the test cannot be read")
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("the clock of the test cannot be read")
	}
	return (*int64)(unsafe.Pointer(&page[0]))
}

func skewed() int64 {
	if skew == nil { // before this package is ready
		return 0
	}
	return atomic.LoadInt64(skew)
}
`

// clocked builds bezoar with a wall clock that a test can set.
func clocked(tb testing.TB, binary bezoar.Binary) bezoar.Binary {
	tb.Helper()
	dir := tb.TempDir()
	root, err := exec.CommandContext(tb.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		tb.Fatalf("go env GOROOT: %v", err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		tb.Fatal(err)
	}
	const reading = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	if strings.Count(string(text), reading) != 1 {
		tb.Fatalf("%s does not read the clock as it did: the test has to be adapted to this release of Go", original)
	}
	changed := strings.Replace(string(text), reading, "\tsec, nsec, mono := runtimeNow()\n\tsec += skewed()\n\tif mono == 0 {", 1)
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			tb.Fatal(err)
		}
		return path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		original: write("time.go", changed),
		filepath.Join(filepath.Dir(original), "skew.go"): write("skew.go", skewSource),
	}})
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(dir, "bezoar")
	build := exec.CommandContext(tb.Context(), "go", "build", "-overlay", write("overlay.json", string(overlay)), "-o", path, "github.com/bezoar-cache/bezoar/cmd/bezoar")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("go build -overlay: %v\n%s", err, out)
	}
	return binary.At(path)
}

// clock is the wall clock of a server.
type clock struct {
	file string
	page []byte
}

func newClock(tb testing.TB) *clock {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "clock")
	if err := os.WriteFile(file, make([]byte, 8), 0o644); err != nil {
		tb.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	page, err := unix.Mmap(int(f.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := unix.Munmap(page); err != nil {
			tb.Error(err)
		}
	})
	return &clock{file, page}
}

// set makes the clock run ahead by d; a negative one makes it late.
func (c *clock) set(d time.Duration) {
	binary.NativeEndian.PutUint64(c.page, uint64(d/time.Second))
}
