//go:build bench

package bench_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// client is the one of all requests to bezoar.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

// drain reads a body to its end with as little work as can be.
func drain(body io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{body}, make([]byte, 256<<10))
	return err
}

// request sends one to bezoar and reads the answer.
func request(b *testing.B, s *bezoar.Server, method, name string, body []byte) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(b.Context(), method, s.URL+"/v1/cache/"+name, reader)
	if err != nil {
		b.Error(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	defer resp.Body.Close()
	if err := drain(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		b.Errorf("%s %s: %d %v", method, name, resp.StatusCode, err)
	}
}

// load does something n times, so many at once, and returns how long that took.
func load(n, atOnce int, do func(i int)) time.Duration {
	work := make(chan int)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := range work {
				do(i)
			}
		})
	}
	start := time.Now()
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	return time.Since(start)
}

// contender is one of those that are measured side by side. It returns how long a round took it.
type contender func(round int) time.Duration

// race runs contenders in turns, in changing order, and returns the times of each by round.
func race(rounds int, contenders ...contender) [][]time.Duration {
	times := make([][]time.Duration, len(contenders))
	for round := range rounds {
		for i := range contenders {
			at := (i + round) % len(contenders)
			times[at] = append(times[at], contenders[at](round))
		}
	}
	return times
}

// reportRatio reports how fast one was beside another in the same round: the median, the least and the most.
func reportRatio(b *testing.B, name string, times, other []time.Duration) {
	ratios := make([]float64, len(times))
	for i := range times {
		ratios[i] = other[i].Seconds() / times[i].Seconds()
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], name)
	b.ReportMetric(ratios[0], name+"-min")
	b.ReportMetric(ratios[len(ratios)-1], name+"-max")
}

// reportSpeed reports the median in 10^6 bytes per second.
func reportSpeed(b *testing.B, name string, bytes int64, times []time.Duration) {
	b.ReportMetric(float64(bytes)/1e6/median(times).Seconds(), name+"-MB/s")
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

// cpu is the processor time that a server has used so far, its own and the kernel's for it, in seconds; see proc(5).
func cpu(b *testing.B, s *bezoar.Server) float64 {
	b.Helper()
	return cpuOf(b, s.PID())
}

func cpuOf(b *testing.B, pid int) float64 {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var ticks int
	for _, field := range fields[11:13] { // utime and stime, behind pid and name
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return float64(ticks) / 100
}
