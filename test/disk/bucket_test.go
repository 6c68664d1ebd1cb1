//go:build e2e

package disk_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/disk/faulty"
	"github.com/bezoar-cache/bezoar/test/emulator"
)

// TestSpoolAndTier breaks the disk on which spool and tier are, in front of a bucket that works: no read fails by it.
func TestSpoolAndTier(t *testing.T) {
	storage := emulator.Versity(t)
	storage.Setenv(t)
	binary := bezoar.Build(t).With(storage.Environ()...)
	for name, c := range map[string]struct {
		fault fault
		get   int
	}{
		"full":           {full, http.StatusOK},
		"no inodes":      {noInodes, http.StatusOK},
		"read-only":      {readOnly, http.StatusOK},
		"gone":           {gone, http.StatusOK},
		"no descriptors": {noDescriptors, 0}, // with connections to the bucket that are left, it may be a hit
	} {
		t.Run(name, func(t *testing.T) {
			dir := faulty.Mounted(t, filepath.Join(t.TempDir(), "disk"), "size=24m,nr_inodes=1000")
			s := overBucket(t, binary, storage, dir)
			b := newBuild(t, s)
			for _, hash := range []string{"a", "b"} {
				b.want("PUT before", b.put(hash), http.StatusOK)
			}
			b.want("GET before", b.get("a"), http.StatusOK)

			mend := c.fault(t, dir, s)
			for range 2 {
				b.want("PUT", b.put("c"), http.StatusForbidden)
				for _, hash := range []string{"a", "b"} {
					if got := b.get(hash); c.get != 0 && got != c.get || got != http.StatusOK && got != http.StatusNotFound {
						t.Errorf("GET %s: %d, want %d", hash, got, c.get)
					}
				}
				b.want("a miss", b.get("c"), http.StatusNotFound)
			}
			if !b.degraded()["store"] {
				t.Error("nobody hears of it")
			}

			mend()
			b.recovers("r", "store")
			for _, hash := range []string{"a", "b"} {
				b.want("GET afterwards", b.get(hash), http.StatusOK)
			}
			b.want("PUT of what was refused", b.put("c"), http.StatusOK)
			b.want("GET of what was refused", b.get("c"), http.StatusOK)
			s.Stop(t)
		})
	}
}

func overBucket(t *testing.T, binary bezoar.Binary, storage emulator.S3, dir string) *bezoar.Server {
	return binary.Serve(t, t.TempDir(), "--scrub-rate", "0",
		"--store", "s3://"+storage.NewBucket(t)+"/cache?endpoint="+storage.Endpoint+"&path_style=true&region="+storage.Region,
		"--spool-dir", filepath.Join(dir, "spool"), "--max-artifact-size", "2MiB", "--spool-size", "8MiB",
		"--tier-dir", filepath.Join(dir, "tier"), "--tier-size", "1GiB")
}

// TestCopiesGiveWay: a tier that was allowed more than there is fills the disk, and gives up copies as often as an upload or another copy needs the room.
func TestCopiesGiveWay(t *testing.T) {
	storage := emulator.Versity(t)
	storage.Setenv(t)
	binary := bezoar.Build(t).With(storage.Environ()...)
	dir := faulty.Mounted(t, filepath.Join(t.TempDir(), "disk"), "size=4m")
	s := overBucket(t, binary, storage, dir)
	b := newBuild(t, s)
	refused := 0
	for i := range 40 {
		hash := fmt.Sprint(i)
		switch status := b.put(hash); status {
		case http.StatusOK:
			b.want("GET "+hash, b.get(hash), http.StatusOK)
		case http.StatusForbidden:
			refused++
		default:
			t.Errorf("PUT %s: %d", hash, status)
		}
	}
	s.AwaitMetric(t, "bezoar_tier_evictions_total", "some", func(n float64) bool { return n > 0 })
	if refused > 20 {
		t.Errorf("%d uploads of 40 were refused, though there was room to make", refused)
	}
	b.recovers("r", "store")
	s.Stop(t)
}
