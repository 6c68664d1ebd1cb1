//go:build bench

// Package bench_test measures the built server from outside. Its figures are in docs/performance.md.
package bench_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

const (
	transfers = 64
	size      = 64 << 20
)

// BenchmarkMemory moves 64 artifacts of 64 MB at once, first in, then out, then both ways, and reports the server's peak of resident
// memory, as the kernel counts it, in MB (10^6 bytes). Page cache is not in it. The bodies are of two kinds: what does not compress, and
// what compresses as code does.
func BenchmarkMemory(b *testing.B) {
	for _, kind := range []struct {
		name string
		body []byte
	}{
		{"random", artifacttest.Random(size, 1)},
		{"text", artifacttest.Text(4*size, 1)}, // about 64 MB compressed
	} {
		b.Run(kind.name, func(b *testing.B) {
			for range b.N {
				measure(b, kind.body)
			}
		})
	}
}

func measure(b *testing.B, body []byte) {
	s := start(b)
	idle := s.peak(b)
	put := func(name string) { s.do(b, "PUT", name, bytes.NewReader(body), http.StatusOK) }
	get := func(name string) { s.do(b, "GET", name, nil, http.StatusOK) }
	each := func(do ...func(name string)) {
		var wg sync.WaitGroup
		for i := range transfers {
			for _, f := range do {
				wg.Go(func() { f(strconv.Itoa(i)) })
			}
		}
		wg.Wait()
	}
	each(put)
	afterIn := s.peak(b)
	each(get)
	afterOut := s.peak(b)
	each(get, func(name string) { put("more" + name) })
	b.ReportMetric(float64(len(body))/1e6, "body-MB")
	b.ReportMetric(idle, "idle-MB")
	b.ReportMetric(afterIn, "peak-in-MB")
	b.ReportMetric(afterOut, "peak-out-MB")
	b.ReportMetric(s.peak(b), "peak-both-MB")
}

type server struct {
	url string
	pid int
}

func start(b *testing.B) *server {
	b.Helper()
	dir := b.TempDir()
	binary := filepath.Join(dir, "bezoar")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", binary, "github.com/bezoar-cache/bezoar/cmd/bezoar").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.Command(binary, "serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"), "--log-level", "warn")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if m := regexp.MustCompile(`SERVER=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			return &server{m[1], cmd.Process.Pid}
		}
	}
	b.Fatal("the server did not start")
	return nil
}

func (s *server) do(b *testing.B, method, name string, body io.Reader, want int) {
	req, err := http.NewRequest(method, s.url+"/v1/cache/"+name, body)
	if err != nil {
		b.Error(err)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != want {
		b.Errorf("%s %s: %d %v", method, name, resp.StatusCode, err)
	}
}

// peak is the server's largest resident set so far, in 10^6 bytes; see proc(5).
func (s *server) peak(b *testing.B) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kb), "kB")))
			if err != nil {
				b.Fatal(err)
			}
			return float64(n) * 1024 / 1e6
		}
	}
	b.Fatal("no VmHWM")
	return 0
}
