//go:build e2e

// Package disk_test breaks the disks of the built server, by means of the kernel: full, without inodes, read-only, gone, and a process without
// descriptors. It needs root, to mount file systems.
package disk_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/disk/faulty"
)

// patience bounds the wait for what only a broken server never does.
const patience = 2 * time.Minute

// fault breaks the file system at dir, or the server, and returns what mends it.
type fault func(t *testing.T, dir string, s *bezoar.Server) (mend func())

var (
	full          = ofDisk(faulty.Full)
	noInodes      = ofDisk(faulty.NoInodes)
	readOnly      = ofDisk(faulty.ReadOnly)
	gone          = ofDisk(faulty.Gone)
	noDescriptors = fault(func(t *testing.T, _ string, s *bezoar.Server) func() {
		mend, err := faulty.NoDescriptors(s.PID())
		return mending(t, mend, err)
	})
)

func ofDisk(breaks func(dir string) (faulty.Mend, error)) fault {
	return func(t *testing.T, dir string, _ *bezoar.Server) func() {
		mend, err := breaks(dir)
		return mending(t, mend, err)
	}
}

func mending(t *testing.T, mend faulty.Mend, err error) func() {
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := mend(); err != nil {
			t.Error(err)
		}
	}
}

// build is a client of a server, over one connection that stays.
type build struct {
	t      *testing.T
	s      *bezoar.Server
	client *http.Client
}

func newBuild(t *testing.T, s *bezoar.Server) *build {
	transport := &http.Transport{DisableCompression: true, MaxConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	return &build{t, s, &http.Client{Transport: transport, Timeout: patience}}
}

func (b *build) do(method, path string, body []byte) (int, []byte) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.s.URL+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatalf("%s %s: %d, then %v", method, path, resp.StatusCode, err)
	}
	return resp.StatusCode, got
}

// artifactOf is the one artifact of a hash.
func artifactOf(hash string) []byte {
	seed := uint64(0)
	for _, c := range []byte(hash) {
		seed = seed*31 + uint64(c)
	}
	return artifacttest.Random(200<<10, seed)
}

func (b *build) put(hash string) int {
	b.t.Helper()
	status, _ := b.do("PUT", "/v1/cache/"+hash, artifactOf(hash))
	return status
}

// get returns the status; a hit has the right bytes.
func (b *build) get(hash string) int {
	b.t.Helper()
	status, got := b.do("GET", "/v1/cache/"+hash, nil)
	if status == http.StatusOK && !bytes.Equal(got, artifactOf(hash)) {
		b.t.Fatalf("GET %s: %d bytes that nobody uploaded", hash, len(got))
	}
	return status
}

func (b *build) want(what string, got, want int) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// degraded returns the causes that the server tells of.
func (b *build) degraded() map[string]bool {
	b.t.Helper()
	_, text := b.do("GET", "/metrics", nil)
	causes := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, `bezoar_degraded{cause="`); ok && strings.HasSuffix(rest, " 1\n") {
			cause, _, _ := strings.Cut(rest, `"`)
			causes[cause] = true
		}
	}
	return causes
}

// recovers uses the server until it tells of no trouble with these any more, and everything works.
func (b *build) recovers(prefix string, causes ...string) {
	b.t.Helper()
	for deadline, i := time.Now().Add(patience), 0; ; i++ {
		hash := fmt.Sprintf("%s%d", prefix, i)
		put, got := b.put(hash), b.get(hash)
		now := b.degraded()
		trouble := false
		for _, cause := range causes {
			trouble = trouble || now[cause]
		}
		if put == http.StatusOK && got == http.StatusOK && !trouble {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("it is mended, but: PUT %d, GET %d, degraded %v", put, got, now)
		}
		<-time.After(time.Second)
	}
}
