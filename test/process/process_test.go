//go:build e2e

// Package process_test runs the built server as processes: several on one directory, and killed at random.
package process_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

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
		path := fmt.Sprintf("/v1/cache/race-%d", round)
		race := bezoar.NewRace(t, servers, path, 50, 64<<10)
		if len(race.Won) > 1 {
			t.Fatalf("writers %v all won", race.Won)
		}
		for _, s := range servers {
			race.Read = append(race.Read, s.Get(t, path))
		}
		for _, got := range race.Read {
			if !bytes.Equal(got, race.Bodies[race.Won[0]]) {
				t.Errorf("a reader got %d bytes that are not the winner's", len(got))
			}
		}
	}
	for _, s := range servers {
		s.Stop(t)
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
