//go:build e2e

package process_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// crashes is how often the server is killed; BEZOAR_TEST_CRASHES sets another number for a longer hunt.
const crashes = 60

// artifactOf is the one artifact of a seed, so that what is served can be held against what was uploaded.
func artifactOf(seed uint64, size int) []byte { return artifacttest.Random(size, seed) }

// storm is what clients upload under one hash: several bodies race for each, and all of them are known.
type storm struct {
	hash   string
	bodies [][]byte
}

func newStorm(round, n int) storm {
	s := storm{hash: fmt.Sprintf("r%d-%d", round, n)}
	for version := range 2 {
		// Sizes from a few hundred bytes to some megabytes, so that kills hit every part of an upload.
		size := 1 << (8 + rand.IntN(14))
		s.bodies = append(s.bodies, artifactOf(uint64(round)<<16|uint64(n)<<1|uint64(version), size))
	}
	return s
}

func (s storm) knows(got []byte) bool {
	for _, body := range s.bodies {
		if bytes.Equal(body, got) {
			return true
		}
	}
	return false
}

// TestKilledInAStorm kills the server at random instants of a storm of uploads, many times on one directory. Whatever is served
// afterwards is whole; what was acknowledged is there (the machine lives on, and with it what the server wrote);
// what is not there can be uploaded; nothing is left over.
func TestKilledInAStorm(t *testing.T) {
	rounds := crashes
	if n, err := strconv.Atoi(os.Getenv("BEZOAR_TEST_CRASHES")); err == nil {
		rounds = n
	}
	data, binary := t.TempDir(), bezoar.Build(t)
	var acknowledged, cut, served int
	for round := range rounds {
		s := binary.Serve(t, data)
		storms := make([]storm, 24)
		for i := range storms {
			storms[i] = newStorm(round, i)
		}
		acks := make([]atomic.Pointer[[]byte], len(storms))
		var broken atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i, st := range storms {
			for _, body := range st.bodies {
				wg.Go(func() {
					status, _, err := bezoar.Do(ctx, "PUT", s.URL+"/v1/cache/"+st.hash, body)
					switch {
					case err != nil:
						broken.Add(1)
					case status == http.StatusOK:
						acks[i].Store(&body)
					case status != http.StatusConflict:
						t.Errorf("PUT %s: %d", st.hash, status)
					}
				})
			}
		}
		<-time.After(time.Duration(rand.Int64N(int64(60 * time.Millisecond))))
		s.Kill()
		cancel()
		wg.Wait()
		cut += int(broken.Load())

		s = binary.Serve(t, data)
		for i, st := range storms {
			url := s.URL + "/v1/cache/" + st.hash
			status, got, err := bezoar.Do(t.Context(), "GET", url, nil)
			ack := acks[i].Load()
			switch {
			case err != nil:
				t.Fatalf("GET %s: %v", st.hash, err)
			case status == http.StatusOK && !st.knows(got):
				t.Fatalf("GET %s: %v (%d bytes, SHA-256 %x)", st.hash, errWrongBytes, len(got), sha256.Sum256(got))
			case ack != nil && !bytes.Equal(got, *ack):
				t.Errorf("GET %s: %d, but its upload was acknowledged", st.hash, status)
			case status == http.StatusOK:
				served++
			}
			if ack != nil {
				acknowledged++
			}
			want := http.StatusOK
			if status == http.StatusOK {
				want = http.StatusConflict
			}
			if status, body, err := bezoar.Do(t.Context(), "PUT", url, st.bodies[0]); err != nil || status != want {
				t.Errorf("PUT %s after the crash: %d %s %v, want %d", st.hash, status, body, err, want)
			}
		}
		s.Stop(t)
	}
	t.Logf("%d kills: %d uploads cut off, %d acknowledged, %d entries served whole", rounds, cut, acknowledged, served)
	if cut == 0 || acknowledged == 0 {
		t.Errorf("the kills hit nothing: %d uploads cut off, %d acknowledged", cut, acknowledged)
	}
	noLeftovers(t, binary, data)
}

// noLeftovers checks that what killed servers left half-written is gone.
func noLeftovers(t *testing.T, binary bezoar.Binary, data string) {
	t.Helper()
	s := binary.Serve(t, data)
	defer s.Stop(t)
	until(t, "the leftovers to be cleaned", func() bool {
		left := 0
		filepath.WalkDir(filepath.Join(data, "store", "tmp"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if info, err := d.Info(); err == nil && info.Size() > 0 {
					left++
				}
			}
			return nil
		})
		return left == 0
	})
}
