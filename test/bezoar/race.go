package bezoar

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

var client = &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}

// Do sends a request over a connection of its own, as Nx does; an error is one of the connection.
func Do(ctx context.Context, method, url string, body []byte) (status int, got []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	got, err = io.ReadAll(resp.Body)
	return resp.StatusCode, got, err
}

// Race is what became of writers that uploaded different artifacts to one path at once, through several servers in turn.
type Race struct {
	// Bodies are what they uploaded.
	Bodies [][]byte
	// Won are the numbers of the writers that were told 200; all others were told 409. Writer i spoke to server i%len(servers).
	Won []int
	// Read are the bodies that readers got meanwhile.
	Read [][]byte
}

// NewRace runs a race to its end. Other answers than 200 and 409 to a writer, and 200 and 404 to a reader, fail the test.
func NewRace(tb testing.TB, servers []*Server, path string, writers, size int) *Race {
	tb.Helper()
	race := &Race{Bodies: make([][]byte, writers)}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range writers {
		race.Bodies[i] = artifacttest.Random(size, uint64(i))
		url := servers[i%len(servers)].URL + path
		wg.Go(func() {
			status, text, err := Do(tb.Context(), "PUT", url, race.Bodies[i])
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				tb.Errorf("writer %d: %v", i, err)
			case status == http.StatusOK:
				race.Won = append(race.Won, i)
			case status != http.StatusConflict:
				tb.Errorf("writer %d: %d %s", i, status, text)
			}
		})
		wg.Go(func() {
			status, got, err := Do(tb.Context(), "GET", url, nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				tb.Errorf("reader %d: %v", i, err)
			case status == http.StatusOK:
				race.Read = append(race.Read, got)
			case status != http.StatusNotFound:
				tb.Errorf("reader %d: %d", i, status)
			}
		})
	}
	wg.Wait()
	if len(race.Won) == 0 {
		tb.Fatal("nobody won")
	}
	return race
}

// Get reads a path of a server, which must have it.
func (s *Server) Get(tb testing.TB, path string) []byte {
	tb.Helper()
	status, got, err := Do(tb.Context(), "GET", s.URL+path, nil)
	if err != nil || status != http.StatusOK {
		tb.Fatalf("GET %s%s: %d, %v", s.URL, path, status, err)
	}
	return got
}
