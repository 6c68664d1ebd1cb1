//go:build bench

package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// floodVariable says to a process of this test that it is a flood: URL, token, slow connections, flooders, Gbit/s of all these together. It ends with its standard input.
const floodVariable = "BEZOAR_BENCH_FLOOD"

func TestMain(m *testing.M) {
	if what := os.Getenv(floodVariable); what != "" {
		beFlood(what)
		return
	}
	m.Run()
}

// BenchmarkFlood tells what trusted downloads take beside slow connections and a flood of uploads from the scope of one pull request, many times more than it may have at
// once, against what they take alone. The flood is a process of its own, with the lowest priority, and sends no more than a line of 1 or 10 Gbit/s takes: what it needs of the
// machine itself is not the server's. Its artifacts are damaged at their end, so that they are checked and fill no disk. Both come in turns, as the machine has other work:
// what counts is the ratio of their times, the median of the rounds.
func BenchmarkFlood(b *testing.B) {
	for _, c := range []struct{ slow, flooders, gbit int }{{5000, 0, 1}, {0, 64, 1}, {5000, 64, 1}, {0, 64, 10}} {
		b.Run(fmt.Sprintf("slow=%d/flooders=%d/Gbit=%d", c.slow, c.flooders, c.gbit), func(b *testing.B) { flood(b, c.slow, c.flooders, c.gbit) })
	}
}

func flood(b *testing.B, slow, flooders, gbit int) {
	const downloads, rounds = 1000, 9
	binary, data := bezoar.Build(b), b.TempDir()
	trusted, isolated := binary.CreateToken(b, data, "main", "trusted"), binary.CreateToken(b, data, "pr", "isolated")
	s := binary.Serve(b, data)
	small := artifacttest.Random(100_000, 1)
	if status := send(b.Context(), s.URL, "PUT", "small", trusted.Secret, bytes.NewReader(small), len(small)); status != http.StatusOK {
		b.Fatalf("PUT: %d", status)
	}
	times := func() []time.Duration {
		all := make([]time.Duration, downloads)
		for i := range all {
			begun := time.Now()
			if status := send(b.Context(), s.URL, "GET", "small", trusted.Secret, nil, 0); status != http.StatusOK {
				b.Fatalf("a trusted GET: %d", status)
			}
			all[i] = time.Since(begun)
		}
		slices.Sort(all)
		return all
	}
	times() // so that everything is warm
	for b.Loop() {
		const p99 = downloads * 99 / 100
		var idles, floodeds, ratios, medians, mb []float64
		for round := range rounds {
			idle := times()
			end := startFlood(b, fmt.Sprint(s.URL, " ", isolated.Secret, " ", slow, " ", flooders, " ", gbit))
			flooded := times()
			mb = append(mb, end())
			idles, floodeds = append(idles, idle[p99].Seconds()*1000), append(floodeds, flooded[p99].Seconds()*1000)
			ratios = append(ratios, flooded[p99].Seconds()/idle[p99].Seconds())
			medians = append(medians, flooded[downloads/2].Seconds()/idle[downloads/2].Seconds())
			b.Logf("round %d: idle p50 %s p99 %s, flooded p50 %s p99 %s", round, idle[downloads/2], idle[p99], flooded[downloads/2], flooded[p99])
		}
		for _, of := range []struct {
			name  string
			among []float64
		}{{"idle-p99-ms", idles}, {"flood-p99-ms", floodeds}, {"p99-ratio", ratios}, {"p50-ratio", medians}, {"flood-MB/s", mb}} {
			slices.Sort(of.among)
			b.ReportMetric(of.among[rounds/2], of.name)
		}
	}
}

// startFlood starts one and waits until it is there. When it ends, it tells how many MB it sent in a second.
func startFlood(b *testing.B, what string) (end func() (mb float64)) {
	cmd := exec.CommandContext(b.Context(), "nice", "-n", "19", os.Args[0])
	cmd.Env = append(os.Environ(), floodVariable+"="+what)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		b.Fatalf("the flood: %v", err)
	}
	begun := time.Now()
	return func() (mb float64) {
		took := time.Since(begun)
		in.Close()
		bytes, _ := io.ReadAll(out)
		_ = cmd.Wait()
		var n float64
		_, _ = fmt.Sscanf(string(bytes), "p\n%f", &n)
		return n / 1e6 / took.Seconds()
	}
}

func beFlood(what string) {
	var url, token string
	var slow, flooders, gbit int
	if _, err := fmt.Sscan(what, &url, &token, &slow, &flooders, &gbit); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var flood, up sync.WaitGroup
	for range slow {
		up.Add(1)
		flood.Go(func() { dawdle(ctx, url, sync.OnceFunc(up.Done)) })
	}
	up.Wait()
	damaged := artifacttest.Random(4_000_000, 2)
	damaged[len(damaged)-5] ^= 1
	for i := range flooders {
		flood.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				send(ctx, url, "PUT", fmt.Sprintf("%d-%d-%d", os.Getpid(), i, n), token, &line{bytes.NewReader(damaged), flooders, gbit}, len(damaged))
			}
		})
	}
	<-time.After(500 * time.Millisecond) // so that it is under way
	fmt.Fprintln(os.Stdout, "up")
	sent.Store(0)
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Fprintln(os.Stdout, sent.Load())
	cancel()
	flood.Wait()
}

// sent counts the bytes of a flood.
var sent atomic.Int64

// line is one of so many that share a line.
type line struct {
	r          io.Reader
	many, gbit int
}

func (l *line) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(len(p), 64<<10)])
	sent.Add(int64(n))
	<-time.After(time.Duration(n*l.many) * time.Second / time.Duration(l.gbit*125_000_000))
	return n, err
}

// dawdle keeps a connection open on which the head of a request comes a byte at a time, and opens another one when it is cut off.
func dawdle(ctx context.Context, url string, up func()) {
	defer up()
	var dialer net.Dialer
	head := "GET /v1/cache/slow HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 1000)
	for ctx.Err() == nil {
		conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		for i := range len(head) {
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
func send(ctx context.Context, url, method, name, token string, body io.Reader, size int) int {
	req, err := http.NewRequestWithContext(ctx, method, url+"/v1/cache/"+name, body)
	if err != nil {
		return 0
	}
	req.ContentLength = int64(size)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
