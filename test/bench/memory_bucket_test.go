//go:build bench

package bench_test

import (
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// BenchmarkBucketMemory is [BenchmarkMemory] over a bucket: uploads wait for it, and each download is the first one of a new server. Its files are
// on the disk: they would take the memory that is to be measured.
func BenchmarkBucketMemory(b *testing.B) {
	p := onVersity(b, b.TempDir())
	p.key = p.binary.AddKey(b)
	body := artifacttest.Random(64e6, 1)
	for _, form := range forms {
		b.Run(form.name, func(b *testing.B) {
			for range b.N {
				defer p.clear(b)
				start := func(data string) *bezoar.Server {
					args := append(slices.Clip(form.args), "--write-wait=forever")
					if form.tier {
						args = append(args, "--tier-dir", filepath.Join(data, "tier"))
					}
					return p.serve(b, p.addr, data, args...)
				}
				at := func(s *bezoar.Server, method, name string) func(i int) {
					body := body
					if method == "GET" {
						body = nil
					}
					return func(i int) { request(b, s, method, name+strconv.Itoa(i), body) }
				}
				in := start(b.TempDir())
				b.ReportMetric(peak(b, in), "idle-MB")
				load(transfers, transfers, at(in, "PUT", "a"))
				b.ReportMetric(peak(b, in), "peak-in-MB")
				in.Stop(b)
				out := start(b.TempDir())
				load(transfers, transfers, at(out, "GET", "a"))
				b.ReportMetric(peak(b, out), "peak-out-MB")
				out.Stop(b)
				both := start(b.TempDir())
				var wg sync.WaitGroup
				wg.Go(func() { load(transfers/2, transfers/2, at(both, "PUT", "b")) })
				wg.Go(func() { load(transfers/2, transfers/2, at(both, "GET", "a")) })
				wg.Wait()
				b.ReportMetric(peak(b, both), "peak-both-MB")
				both.Stop(b)
			}
		})
	}
}
