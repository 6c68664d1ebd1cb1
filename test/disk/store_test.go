//go:build e2e

package disk_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/disk/faulty"
)

// TestStoreDirectory breaks the disk of a directory store: what is there is served as far as it can be reached, uploads are refused and not torn, the
// operator hears of it, and when it is over the server works without a restart and has lost nothing.
func TestStoreDirectory(t *testing.T) {
	binary := bezoar.Build(t)
	for name, c := range map[string]struct {
		fault fault
		get   int
	}{
		"full":           {full, http.StatusOK},
		"no inodes":      {noInodes, http.StatusOK},
		"read-only":      {readOnly, http.StatusOK},
		"gone":           {gone, http.StatusNotFound},
		"no descriptors": {noDescriptors, http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			data, dir := t.TempDir(), filepath.Join(t.TempDir(), "disk")
			faulty.Mounted(t, dir, "size=24m,nr_inodes=1000")
			args := []string{"--store", "file://" + dir}
			// With memory-cache, what was read a moment ago comes from a file that is still open, and those files are descriptors.
			s := binary.Serve(t, data, append(args, "--scrub-rate", "0", "--memory-cache", "0")...)
			b := newBuild(t, s)
			for _, hash := range []string{"a", "b"} {
				b.want("PUT before", b.put(hash), http.StatusOK)
			}
			b.want("GET before", b.get("a"), http.StatusOK)
			b.want("a miss before", b.get("none"), http.StatusNotFound)
			if causes := b.degraded(); len(causes) != 0 {
				t.Errorf("degraded before: %v", causes)
			}

			mend := c.fault(t, dir, s)
			for range 2 {
				b.want("PUT", b.put("c"), http.StatusForbidden)
				b.want("GET", b.get("a"), c.get)
				b.want("GET of what was not read before", b.get("b"), c.get)
				b.want("a miss", b.get("c"), http.StatusNotFound)
			}
			if !b.degraded()["store"] {
				t.Error("nobody hears of it")
			}

			mend()
			b.recovers("r", "store")
			b.want("GET afterwards", b.get("a"), http.StatusOK)
			b.want("GET afterwards", b.get("b"), http.StatusOK)
			b.want("PUT of what was refused", b.put("c"), http.StatusOK)
			b.want("GET of what was refused", b.get("c"), http.StatusOK)
			s.Stop(t)
			binary.Output(t, append([]string{"verify", "--data", data}, args...)...) // it fails the test if anything is torn
		})
	}
}
