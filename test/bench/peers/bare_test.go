//go:build bench

package peers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
)

// bareVariable holds, for the process that is the yardstick of uploads, what it is to do.
const bareVariable = "BEZOAR_BENCH_BARE"

const bareName = "bare loop"

// bareTask has one loop for each core inflate a body and write it, as it came, to a file that gets its name at the end: what a server that checks uploads cannot do
// without, and no network.
type bareTask struct {
	Dir, Body string
	Long      time.Duration
	Volume    int64
}

// bare measures that.
func bare(tb testing.TB, dir string, s size, long time.Duration, volume int64) reading {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "body")
	if err := os.WriteFile(file, bodies(s)[0], 0o600); err != nil {
		tb.Fatal(err)
	}
	files, err := os.MkdirTemp(dir, "bare-*")
	if err != nil {
		tb.Fatal(err)
	}
	defer os.RemoveAll(files)
	task, err := json.Marshal(bareTask{files, file, long, volume})
	if err != nil {
		tb.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), self)
	cmd.Env = append(os.Environ(), bareVariable+"="+string(task))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var done struct{ Count, Seconds float64 }
	if err == nil {
		err = json.Unmarshal(out, &done)
	}
	if err != nil {
		tb.Fatalf("the bare loop: %v\n%s", err, out)
	}
	used := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return reading{PerSecond: done.Count / done.Seconds, CPU: used / done.Count}
}

// bareMain prints what it did, or nothing, and why to standard error.
func bareMain() {
	if err := bareLoops(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func bareLoops() error {
	var task bareTask
	if err := json.Unmarshal([]byte(os.Getenv(bareVariable)), &task); err != nil {
		return err
	}
	body, err := os.ReadFile(task.Body)
	if err != nil {
		return err
	}
	var (
		loops errgroup.Group
		count atomic.Int64
		most  = max(1, task.Volume/int64(len(body)))
		began = time.Now()
	)
	for range runtime.GOMAXPROCS(0) {
		loops.Go(func() error {
			inflater, buffer := new(gzip.Reader), make([]byte, 256<<10)
			for {
				n := count.Add(1)
				if n > most || time.Since(began) >= task.Long && n > 1 {
					count.Add(-1)
					return nil
				}
				if err := bareOne(task.Dir, strconv.FormatInt(n, 10), body, inflater, buffer); err != nil {
					return err
				}
			}
		})
	}
	if err := loops.Wait(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, `{"Count": %d, "Seconds": %g}`, count.Load(), time.Since(began).Seconds())
	return err
}

func bareOne(dir, name string, body []byte, inflater *gzip.Reader, buffer []byte) error {
	f, err := os.OpenFile(filepath.Join(dir, name+".tmp"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := inflater.Reset(io.TeeReader(bytes.NewReader(body), f)); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{inflater}, buffer); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}
