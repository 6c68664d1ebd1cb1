//go:build e2e

// Package process_test runs the built server as processes: several on one directory, and killed at random.
package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

var client = &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}

// do sends a request; an error is one of the connection.
func do(ctx context.Context, method, url string, body []byte) (status int, got []byte, err error) {
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

// TestFiftyWritersThroughTwoServers races different bodies under one key through two processes on one directory: one is told
// 200, the others 409, and every reader of either sees a miss or the winner's bytes.
func TestFiftyWritersThroughTwoServers(t *testing.T) {
	binary := bezoar.Build(t)
	shared := []string{"--store", "file://" + t.TempDir(), "--seal-key-file", binary.AddKey(t)}
	servers := []*bezoar.Server{
		binary.Serve(t, t.TempDir(), shared...),
		binary.Serve(t, t.TempDir(), shared...),
	}
	for round := range 10 {
		raceOnce(t, servers, fmt.Sprintf("/v1/cache/race-%d", round), 50)
	}
	for _, s := range servers {
		s.Stop(t)
	}
}

func raceOnce(t *testing.T, servers []*bezoar.Server, path string, writers int) {
	t.Helper()
	type answer struct {
		status int
		body   []byte
	}
	bodies := make([][]byte, writers)
	puts := make([]answer, writers)
	gets := make([]answer, writers)
	var wg sync.WaitGroup
	for i := range writers {
		bodies[i] = artifactOf(uint64(i), 64<<10)
		s := servers[i%len(servers)]
		wg.Go(func() {
			status, body, err := do(t.Context(), "PUT", s.URL+path, bodies[i])
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
			puts[i] = answer{status, body}
		})
		wg.Go(func() {
			status, body, err := do(t.Context(), "GET", s.URL+path, nil)
			if err != nil {
				t.Errorf("reader %d: %v", i, err)
			}
			gets[i] = answer{status, body}
		})
	}
	wg.Wait()
	winner := -1
	for i, a := range puts {
		switch {
		case a.status == http.StatusOK && winner < 0:
			winner = i
		case a.status == http.StatusOK:
			t.Fatalf("writers %d and %d both won", winner, i)
		case a.status != http.StatusConflict:
			t.Errorf("writer %d: %d %s", i, a.status, a.body)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	for _, s := range servers {
		status, body, err := do(t.Context(), "GET", s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		gets = append(gets, answer{status, body})
		if status != http.StatusOK {
			t.Errorf("%s: %d after the race", s.URL, status)
		}
	}
	for _, a := range gets {
		if a.status != http.StatusNotFound && (a.status != http.StatusOK || !bytes.Equal(a.body, bodies[winner])) {
			t.Errorf("a reader got %d and %d bytes that are not the winner's", a.status, len(a.body))
		}
	}
}

// until polls for something that only a broken server never does.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !happened() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

var errWrongBytes = errors.New("bytes that nobody uploaded under this hash")
