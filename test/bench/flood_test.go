//go:build bench

package bench_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// BenchmarkFlood tells what trusted downloads take beside a flood from one scope, many times more than it may have at once, against what they take alone.
func BenchmarkFlood(b *testing.B) {
	const downloads, flooders = 2000, 256
	binary, data := bezoar.Build(b), b.TempDir()
	trusted, isolated := binary.CreateToken(b, data, "main", "trusted"), binary.CreateToken(b, data, "pr", "isolated")
	s := binary.Serve(b, data)
	small, large := artifacttest.Random(100_000, 1), artifacttest.Random(4_000_000, 2)
	if status := send(b.Context(), s, "PUT", "small", trusted.Secret, small); status != http.StatusOK {
		b.Fatalf("PUT: %d", status)
	}
	for b.Loop() {
		times := func() []time.Duration {
			all := make([]time.Duration, downloads)
			for i := range all {
				begun := time.Now()
				if status := send(b.Context(), s, "GET", "small", trusted.Secret, nil); status != http.StatusOK {
					b.Fatalf("a trusted GET: %d", status)
				}
				all[i] = time.Since(begun)
			}
			slices.Sort(all)
			return all
		}
		idle := times()
		ctx, cancel := context.WithCancel(b.Context())
		var flood sync.WaitGroup
		for i := range flooders {
			flood.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					send(ctx, s, "PUT", strconv.Itoa(i)+"-"+strconv.Itoa(n), isolated.Secret, large)
				}
			})
		}
		flooded := times()
		cancel()
		flood.Wait()
		p99 := len(idle) * 99 / 100
		b.ReportMetric(float64(idle[p99].Microseconds())/1000, "idle-p99-ms")
		b.ReportMetric(float64(flooded[p99].Microseconds())/1000, "flood-p99-ms")
		b.ReportMetric(flooded[p99].Seconds()/idle[p99].Seconds(), "ratio")
	}
}

// send returns the status of the answer, 0 if there was none.
func send(ctx context.Context, s *bezoar.Server, method, name, token string, body []byte) int {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+"/v1/cache/"+name, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
