//go:build bench

// Package bench_test measures the built server from outside. Its figures are in docs/performance.md.
package bench_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
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
	s := bezoar.Build(b).Serve(b, b.TempDir())
	idle := peak(b, s)
	put := func(name string) { do(b, s, "PUT", name, bytes.NewReader(body), http.StatusOK) }
	get := func(name string) { do(b, s, "GET", name, nil, http.StatusOK) }
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
	afterIn := peak(b, s)
	each(get)
	afterOut := peak(b, s)
	each(get, func(name string) { put("more" + name) })
	b.ReportMetric(float64(len(body))/1e6, "body-MB")
	b.ReportMetric(idle, "idle-MB")
	b.ReportMetric(afterIn, "peak-in-MB")
	b.ReportMetric(afterOut, "peak-out-MB")
	b.ReportMetric(peak(b, s), "peak-both-MB")
}

func do(b *testing.B, s *bezoar.Server, method, name string, body io.Reader, want int) {
	req, err := http.NewRequest(method, s.URL+"/v1/cache/"+name, body)
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
func peak(b *testing.B, s *bezoar.Server) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
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
