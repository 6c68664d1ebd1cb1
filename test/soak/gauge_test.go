//go:build e2e

package soak_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// gauge is what a server holds.
type gauge struct {
	at                time.Duration // since the start
	rss, heap         float64       // MB: resident, and what Go's heap has in it
	files, goroutines int
}

func (g gauge) String() string {
	return fmt.Sprintf("%.0f MB resident, %.1f MB of heap, %d descriptors, %d goroutines", g.rss, g.heap, g.files, g.goroutines)
}

// least is the lower of each, of two.
func (g gauge) least(h gauge) gauge {
	return gauge{at: g.at, rss: min(g.rss, h.rss), heap: min(g.heap, h.heap), files: min(g.files, h.files), goroutines: min(g.goroutines, h.goroutines)}
}

// read reads the gauges of a server.
func (w *world) read(s *bezoar.Server) (gauge, error) {
	g := gauge{at: time.Since(w.result.begun)}
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.PID()))
	if err != nil {
		return g, err
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return g, fmt.Errorf("/proc/PID/statm is %q", statm)
	}
	pages, err := strconv.ParseFloat(fields[1], 64)
	if err != nil {
		return g, err
	}
	g.rss = pages * float64(os.Getpagesize()) / 1e6
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	if err != nil {
		return g, err
	}
	g.files = len(files)
	values, err := w.metrics()
	if err != nil {
		return g, err
	}
	g.heap = values["go_memstats_heap_alloc_bytes"] / 1e6
	g.goroutines = int(values["go_goroutines"])
	return g, nil
}

// metrics returns all metrics, by their names with labels.
func (w *world) metrics() (map[string]float64, error) {
	text, err := w.ask("/metrics")
	if err != nil {
		return nil, err
	}
	values := make(map[string]float64)
	for line := range strings.Lines(text) {
		if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			if v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64); err == nil {
				values[line[:at]] = v
			}
		}
	}
	return values, nil
}

func (w *world) ask(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.profile+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := web.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return string(text), err
}

// degraded are the causes that the server tells of, with their texts.
func (w *world) degraded(t *testing.T) map[string]string {
	text, err := w.ask("/readyz?verbose")
	if err != nil {
		t.Fatal(err)
	}
	causes := make(map[string]string)
	for line := range strings.Lines(text) {
		if cause, text, ok := strings.Cut(strings.TrimSpace(line), " degraded: "); ok {
			causes[cause] = text
		}
	}
	return causes
}

// settle lets the server do nothing for a while and tells what it holds then, the least of many looks.
func (w *world) settle(t *testing.T, p plan) gauge {
	release := w.weather.hold()
	defer release()
	var g gauge
	for begun, first := time.Now(), true; first || time.Since(begun) < p.settling; first = false {
		if _, err := w.ask("/debug/pprof/heap?gc=1"); err != nil { // it collects garbage
			t.Fatal(err)
		}
		now, err := w.read(w.at())
		if err != nil {
			t.Fatal(err)
		}
		if first {
			g = now
		}
		g = g.least(now)
		<-time.After(time.Second)
	}
	return g
}
