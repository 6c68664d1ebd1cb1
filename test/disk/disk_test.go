//go:build e2e

// Package disk_test breaks the disks of the built server, by means of the kernel: full, without inodes, read-only, gone, and a process without
// descriptors. It needs root, to mount file systems.
package disk_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// patience bounds the wait for what only a broken server never does.
const patience = 2 * time.Minute

// run runs a command of the system.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s\nTHESE TESTS NEED ROOT AND THE RIGHT TO MOUNT (mount, umount and prlimit of util-linux): they say nothing without",
			name, strings.Join(args, " "), err, out)
	}
}

// mounted mounts a small file system in memory at dir, until the end of the test.
func mounted(t *testing.T, dir, options string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir)
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", dir, err, out)
		}
	})
	return dir
}

// fault breaks the file system at dir, or the server, and returns what mends it.
type fault func(t *testing.T, dir string, s *bezoar.Server) (mend func())

// full fills the disk to the last byte.
func full(t *testing.T, dir string, _ *bezoar.Server) (mend func()) {
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if n, err := f.Write(make([]byte, size)); err != nil && n == 0 {
			size /= 2
		}
	}
	return func() { remove(t, path) }
}

// noInodes makes empty files until there can be no more.
func noInodes(t *testing.T, dir string, _ *bezoar.Server) (mend func()) {
	ballast := filepath.Join(dir, "ballast")
	if err := os.Mkdir(ballast, 0o750); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(ballast, strconv.Itoa(i)), nil, 0o640); err != nil {
			break
		}
	}
	return func() { remove(t, ballast) }
}

// readOnly puts a view of the directory over it through which nothing can be written: the kernel's own way to make a file system read-only on
// errors can be had by no command.
func readOnly(t *testing.T, dir string, _ *bezoar.Server) (mend func()) {
	run(t, "mount", "--bind", dir, dir)
	run(t, "mount", "-o", "remount,bind,ro", dir)
	return func() { run(t, "umount", "-l", dir) }
}

// gone puts an empty directory in the place, as is left of a disk that was unmounted.
func gone(t *testing.T, dir string, _ *bezoar.Server) (mend func()) {
	run(t, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", dir)
	return func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%v was written in the place of what had gone, %v", left, err)
		}
		run(t, "umount", "-l", dir)
	}
}

// noDescriptors lets the server open nothing more. Connections that it has go on.
func noDescriptors(t *testing.T, _ string, s *bezoar.Server) (mend func()) {
	pid := strconv.Itoa(s.PID())
	open, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	for _, e := range open {
		used[e.Name()] = true
	}
	free := 0
	for used[strconv.Itoa(free)] {
		free++
	}
	run(t, "prlimit", "--pid", pid, fmt.Sprintf("--nofile=%d:", free))
	return func() { run(t, "prlimit", "--pid", pid, fmt.Sprintf("--nofile=%d:", free+200)) }
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
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
