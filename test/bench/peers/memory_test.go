//go:build bench

package peers_test

import (
	"cmp"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// memoryResult is the memory of a server that moves many artifacts at once, in 10^6 bytes.
type memoryResult struct {
	Name        string  `json:"name"`
	Size        size    `json:"size"`
	Connections int     `json:"connections"`
	Idle        float64 `json:"idle"`
	In          float64 `json:"uploads"`
	Out         float64 `json:"downloads"`
	Both        float64 `json:"both"`
	// Failed counts transfers that were not answered with 2xx, of three for each connection.
	Failed int64 `json:"failed"`
}

// measureMemory has many connections move an artifact each: all upload, all download, then half of them each. Artifacts do not compress: it is the number of bytes on the
// way that counts here. Uploads go to a disk, since all of them together would fill the memory. Only bezoar and nginx move large ones: the others hold whole uploads
// in memory, some of them, and a disk is written long enough as it is.
func measureMemory(t *testing.T, r *report) {
	type form struct {
		size        size
		connections int
	}
	forms := []form{{mb1, 256}, {mb64, 256}}
	if testing.Short() {
		forms = []form{{mb1, 64}}
	}
	for _, f := range forms {
		parent := cmp.Or(options.dir, os.TempDir())
		var disk syscall.Statfs_t
		if err := syscall.Statfs(parent, &disk); err != nil {
			t.Fatal(err)
		}
		need := uint64(f.connections) * uint64(f.size) * 7 / 4 // uploads, half of them twice
		if free := disk.Bavail * uint64(disk.Bsize); free < need {
			t.Errorf("%d at once of %v need %d GB in %s, see -dir; there are %d", f.connections, f.size, need/1e9, parent, free/1e9)
			continue
		}
		for _, k := range r.Servers {
			if f.size > mb1 && k.name != "bezoar" && k.name != yardstick {
				continue
			}
			start := k.start
			if k.name == "bezoar" { // which would else refuse what is more than it takes at once, and show less than so many need
				start = startBezoar(r.binary.With("BEZOAR_MAX_UPLOADS=1024", "BEZOAR_MAX_DOWNLOADS=1024"))
			}
			t.Run(k.name+" "+f.size.String(), func(t *testing.T) {
				dir, err := os.MkdirTemp(parent, "bezoar-bench-*")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { os.RemoveAll(dir) })
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				m := moveAll(t, start(t, dir, nil), f.size, f.connections)
				r.Memory = append(r.Memory, m)
				t.Logf("%+v", m)
			})
		}
	}
}

func moveAll(t *testing.T, s *server, of size, connections int) memoryResult {
	m := memoryResult{Name: s.name, Size: of, Connections: connections, Idle: s.peak(t)}
	body := artifacttest.Random(int(of), 1)
	var failed atomic.Int64
	var once sync.Once
	all := func(way func(w *wire, i int) error) float64 {
		var wg sync.WaitGroup
		for i := range connections {
			wg.Go(func() {
				w := wire{server: s}
				defer w.close()
				if err := way(&w, i); err != nil {
					failed.Add(1)
					once.Do(func() { t.Logf("%s: the first that failed: %v; its log:\n%s", s.name, err, s.lastRefusal()) })
				}
			})
		}
		wg.Wait()
		return s.peak(t)
	}
	put := func(first uint64) func(w *wire, i int) error {
		return func(w *wire, i int) error { return w.put(t.Context(), first+uint64(i), body) }
	}
	get := func(w *wire, i int) error { return w.ask(t.Context(), "GET", s.keys.path(firstUpload+uint64(i)), nil) }
	m.In = all(put(firstUpload))
	m.Out = all(get)
	again := put(firstUpload + perTurn)
	m.Both = all(func(w *wire, i int) error {
		if i%2 == 0 {
			return get(w, i)
		}
		return again(w, i)
	})
	m.Failed = failed.Load()
	return m
}
