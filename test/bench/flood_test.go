//go:build bench

package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// BenchmarkFlood tells what trusted downloads take beside slow connections and a flood of uploads from the scope of one pull request, many times more than it may have at
// once, against what they take alone. The two come in turns, as the machine has other work: what counts is the ratio of their times, the median of the rounds.
func BenchmarkFlood(b *testing.B) {
	for _, c := range []struct{ slow, flooders int }{{5000, 0}, {0, 64}, {5000, 64}} {
		b.Run(fmt.Sprintf("slow=%d/flooders=%d", c.slow, c.flooders), func(b *testing.B) { flood(b, c.slow, c.flooders) })
	}
}

func flood(b *testing.B, slow, flooders int) {
	const downloads, rounds = 1000, 7
	binary, data := bezoar.Build(b), b.TempDir()
	trusted, isolated := binary.CreateToken(b, data, "main", "trusted"), binary.CreateToken(b, data, "pr", "isolated")
	s := binary.Serve(b, data)
	small, large := artifacttest.Random(100_000, 1), artifacttest.Random(4_000_000, 2)
	if status := send(b.Context(), s, "PUT", "small", trusted.Secret, small); status != http.StatusOK {
		b.Fatalf("PUT: %d", status)
	}
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
	times() // so that everything is warm
	for b.Loop() {
		var idles, floodeds, ratios []float64
		for round := range rounds {
			idle := times()
			ctx, cancel := context.WithCancel(b.Context())
			var flood, up sync.WaitGroup
			for range slow {
				up.Add(1)
				flood.Go(func() { dawdle(ctx, s, sync.OnceFunc(up.Done)) })
			}
			up.Wait()
			for i := range flooders {
				flood.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						send(ctx, s, "PUT", fmt.Sprintf("%d-%d-%d", round, i, n), isolated.Secret, large)
					}
				})
			}
			flooded := times()
			cancel()
			flood.Wait()
			p99 := downloads * 99 / 100
			idles, floodeds = append(idles, idle[p99].Seconds()*1000), append(floodeds, flooded[p99].Seconds()*1000)
			ratios = append(ratios, flooded[p99].Seconds()/idle[p99].Seconds())
			b.Logf("round %d: idle p50 %s p99 %s, flooded p50 %s p99 %s", round, idle[downloads/2], idle[p99], flooded[downloads/2], flooded[p99])
		}
		for _, of := range []struct {
			name  string
			among []float64
		}{{"idle-p99-ms", idles}, {"flood-p99-ms", floodeds}, {"ratio", ratios}} {
			slices.Sort(of.among)
			b.ReportMetric(of.among[rounds/2], of.name)
		}
	}
}

// dawdle keeps a connection open on which the head of a request comes a byte at a time, and opens another one when it is cut off.
func dawdle(ctx context.Context, s *bezoar.Server, up func()) {
	defer up()
	var dialer net.Dialer
	head := "GET /v1/cache/slow HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 1000)
	for ctx.Err() == nil {
		conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(s.URL, "http://"))
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		for i := 0; i < len(head); i++ {
			if _, err := conn.Write([]byte{head[i]}); err != nil {
				break
			}
			up()
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
		}
		stop()
		conn.Close()
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
