//go:build e2e

package disk_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/emulator"
)

// storeTimeout is that of the servers here. answered is when an answer must be there in any case, on a machine that has other things to do: a disk that hangs here does so
// until the test lets it go.
const (
	storeTimeout = "2s"
	answered     = 20 * time.Second
)

// frozen mounts a disk, ext4 in a file, that can be made to hang.
func frozen(t *testing.T) (dir string, freeze func() (thaw func())) {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "disk")
	run(t, "mkdir", dir)
	run(t, "truncate", "-s", "256M", image)
	run(t, "mkfs.ext4", "-q", "-F", "-m", "0", image)
	run(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", dir, err, out)
		}
	})
	return dir, func() func() {
		run(t, "fsfreeze", "-f", dir)
		return func() { run(t, "fsfreeze", "-u", dir) }
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// half is an upload of which half is sent, and which waits for the rest to be wanted.
type half struct {
	rest   io.Writer
	body   []byte
	status chan int
}

// begin sends half of an artifact.
func (b *build) begin(hash string) *half {
	b.t.Helper()
	r, w := io.Pipe()
	h := &half{w, artifacttest.Random(1<<20, 77), make(chan int, 1)}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPut, b.s.URL+"/v1/cache/"+hash, r)
	if err != nil {
		b.t.Fatal(err)
	}
	req.ContentLength = int64(len(h.body))
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			h.status <- 0
			return
		}
		defer resp.Body.Close()
		h.status <- resp.StatusCode
	}()
	if _, err := w.Write(h.body[:len(h.body)/2]); err != nil {
		b.t.Fatal(err)
	}
	return h
}

// end sends the rest, and returns the status, or 0 if there is none in time.
func (h *half) end() int {
	go func() { _, _ = io.Copy(h.rest, bytes.NewReader(h.body[len(h.body)/2:])) }() // the server need not take it
	select {
	case status := <-h.status:
		return status
	case <-time.After(answered):
		return 0
	}
}

// TestHanging freezes the disk under a directory, and under tier and spool in front of a bucket: whoever writes hangs in the kernel. Reads go on, uploads are refused in
// time, also one that is in the middle, and nothing is torn or has to be started again.
func TestHanging(t *testing.T) {
	storage := emulator.Versity(t)
	storage.Setenv(t)
	binary := bezoar.Build(t).With(storage.Environ()...)
	common := []string{"--scrub-rate", "0", "--memory-cache", "0", "--store-timeout", storeTimeout, "--breaker-probe", "1s"}
	for name, settings := range map[string]func(dir string) []string{
		"directory": func(dir string) []string {
			return []string{"--store", "file://" + filepath.Join(dir, "store"), "--min-free", "0"}
		},
		"tier and spool": func(dir string) []string {
			return []string{
				"--store", "s3://" + storage.NewBucket(t) + "/cache?endpoint=" + storage.Endpoint + "&path_style=true&region=" + storage.Region,
				"--spool-dir", filepath.Join(dir, "spool"), "--tier-dir", filepath.Join(dir, "tier"), "--tier-size", "100MiB",
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, freeze := frozen(t)
			data, own := t.TempDir(), settings(dir)
			s := binary.Serve(t, data, append(own, common...)...)
			t.Cleanup(func() { // before the server is ended, which could not end
				_ = exec.CommandContext(context.WithoutCancel(t.Context()), "fsfreeze", "-u", dir).Run() // it hangs only if the test failed
			})
			b := newBuild(t, s)
			b.client.Timeout = answered
			for _, hash := range []string{"a", "b"} {
				b.want("PUT before", b.put(hash), http.StatusOK)
			}
			b.want("GET before", b.get("a"), http.StatusOK)
			for range 3 {
				h := b.begin("half")
				thaw := freeze()
				b.want("PUT that was under way", h.end(), http.StatusForbidden)
				for range 3 {
					b.want("PUT", b.put("c"), http.StatusForbidden)
					b.want("GET", b.get("a"), http.StatusOK)
					b.want("GET of what was not read before", b.get("b"), http.StatusOK)
					b.want("a miss", b.get("c"), http.StatusNotFound)
				}
				if !b.degraded()["store"] {
					t.Error("nobody hears of it")
				}
				thaw()
				b.recovers("r"+time.Now().Format("150405"), "store")
			}
			b.want("PUT of what was refused", b.put("c"), http.StatusOK)
			b.want("GET of what was refused", b.get("c"), http.StatusOK)
			b.want("GET of what was cut off", b.get("half"), http.StatusNotFound)
			s.Stop(t)
			if name == "directory" {
				binary.Output(t, "verify", "--data", data, own[0], own[1]) // it fails the test if anything is torn
			}
		})
	}
}
