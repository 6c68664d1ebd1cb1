package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// TestAStoreThatFailsIsLeftAlone: requests become misses, then misses at once, and hits again without a restart.
func TestAStoreThatFailsIsLeftAlone(t *testing.T) {
	data := t.TempDir()
	s := startServe(t, "--data", data, "--listen", "127.0.0.1:0", "--breaker-probe", "10ms")
	url := "http://" + s.addr + "/v1/cache/1"
	if status, got := request(t, http.DefaultClient, "PUT", url, artifacttest.Typical(1)); status != 200 {
		t.Fatalf("PUT: %d %s", status, got)
	}
	entries := filepath.Join(data, "store", "entries")
	if err := os.Rename(entries, entries+".gone"); err != nil {
		t.Fatal(err)
	}
	// A link that leads to itself is a disk that fails, for any user.
	if err := os.Symlink("entries", entries); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the circuit to open", func() bool {
		if status, got := request(t, http.DefaultClient, "GET", url, nil); status != 404 {
			t.Fatalf("GET: %d %s", status, got)
		}
		return strings.Contains(s.stderr.String(), `cause=breaker`)
	})
	waitFor(t, "the cause in the log", func() bool {
		return strings.Contains(s.stderr.String(), `does not work as it should" cause=store`)
	})
	if !s.metric(`bezoar_degraded{cause="store"} 1`) || !s.metric(`bezoar_breaker_open{op="open"} 1`) {
		t.Error("the gauges do not tell")
	}
	if err := os.Remove(entries); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(entries+".gone", entries); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the entry", func() bool {
		status, _ := request(t, http.DefaultClient, "GET", url, nil)
		return status == 200
	})
	s.stop()
}
