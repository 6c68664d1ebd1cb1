//go:build e2e

package storage_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// writers is how many upload to one path at once, half of them through each of two replicas.
const writers = 50

// TestFiftyWritersWait: replicas that wait for the bucket tell one writer 200 and 49 that it is there, and from both come the winner's bytes.
func TestFiftyWritersWait(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		servers := p.replicas(t, 2, "--write-wait", "forever")
		for round := range 5 {
			path := fmt.Sprintf("/v1/cache/waits-%d", round)
			race := bezoar.NewRace(t, servers, path, writers, 64<<10)
			if len(race.Won) != 1 {
				t.Fatalf("writers %v won", race.Won)
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
	})
}

// TestFiftyWritersDoNotWait: at most one writer is told 200 on each replica, and as soon as their queues are empty, both give the same bytes: those of
// one who was told 200.
func TestFiftyWritersDoNotWait(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		servers := p.replicas(t, 2, "--write-wait", "0s")
		for round := range 5 {
			path := fmt.Sprintf("/v1/cache/hurries-%d", round)
			race := bezoar.NewRace(t, servers, path, writers, 64<<10)
			won := map[int]bool{}
			for _, i := range race.Won {
				if won[i%2] {
					t.Fatalf("writers %v won, two of them on one replica", race.Won)
				}
				won[i%2] = true
			}
			for _, s := range servers {
				awaitSent(t, s)
			}
			first, second := servers[0].Get(t, path), servers[1].Get(t, path)
			if !bytes.Equal(first, second) {
				t.Errorf("the replicas have %d and %d bytes that differ", len(first), len(second))
			}
			known := false
			for _, i := range race.Won {
				known = known || bytes.Equal(first, race.Bodies[i])
			}
			if !known {
				t.Errorf("the replicas have the bytes of nobody who was told 200")
			}
		}
	})
}

// TestKilledWithAQueue: the bucket hangs, uploads are acknowledged all the same, the server is killed and started anew. None is lost; meanwhile the
// replica that took them serves them.
func TestKilledWithAQueue(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		data := t.TempDir()
		args := []string{"--store", p.url, "--seal-key-file", p.key, "--write-wait", "50ms"}
		s := p.binary.Serve(t, data, args...)
		bodies := map[string][]byte{}
		p.server.Pause(t)
		for i := range 20 {
			path := fmt.Sprintf("/v1/cache/queued-%d", i)
			bodies[path] = artifacttest.Random(1<<(8+i%12), uint64(i))
			status, text, err := bezoar.Do(t.Context(), "PUT", s.URL+path, bodies[path])
			if err != nil || status != http.StatusOK {
				t.Fatalf("PUT %s while the bucket hangs: %d %s, %v", path, status, text, err)
			}
		}
		for path, body := range bodies {
			if got := s.Get(t, path); !bytes.Equal(got, body) {
				t.Errorf("GET %s while the bucket hangs: %d bytes that are others", path, len(got))
			}
		}
		s.Kill()
		p.server.Resume(t)
		s = p.binary.Serve(t, data, args...)
		awaitSent(t, s)
		other := p.binary.Serve(t, t.TempDir(), args...)
		for path, body := range bodies {
			for _, s := range []*bezoar.Server{s, other} {
				if got := s.Get(t, path); !bytes.Equal(got, body) {
					t.Errorf("GET %s%s afterwards: %d bytes that are others", s.URL, path, len(got))
				}
			}
		}
	})
}

// TestABucketThatHangsBreaksNoRequest: a read of what only the bucket has becomes a miss, an upload is kept, and all is well as soon as it goes on.
func TestABucketThatHangsBreaksNoRequest(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		s := p.replicas(t, 1, "--store-timeout", "500ms", "--write-wait", "100ms")[0]
		body := artifacttest.Random(100_000, 1)
		put := func(path string, want int) {
			t.Helper()
			if status, text, err := bezoar.Do(t.Context(), "PUT", s.URL+path, body); err != nil || status != want {
				t.Fatalf("PUT %s: %d %s, %v; want %d", path, status, text, err, want)
			}
		}
		put("/v1/cache/before", http.StatusOK)
		awaitSent(t, s)
		p.server.Pause(t)
		if status, _, err := bezoar.Do(t.Context(), "GET", s.URL+"/v1/cache/before", nil); err != nil || status != http.StatusNotFound {
			t.Errorf("GET while the bucket hangs: %d, %v", status, err)
		}
		put("/v1/cache/meanwhile", http.StatusOK)
		p.server.Resume(t)
		awaitSent(t, s)
		for _, path := range []string{"/v1/cache/before", "/v1/cache/meanwhile"} {
			if got := s.Get(t, path); !bytes.Equal(got, body) {
				t.Errorf("GET %s afterwards: %d bytes that are others", path, len(got))
			}
		}
	})
}

// TestRedirected: a client is sent to the bucket and gets the artifact there.
func TestRedirected(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		if !p.presigns { // fake-gcs-server is asked without credentials, and nothing can be signed without
			out, err := p.binary.Command(t.Context(), "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--store", p.url,
				"--seal-key-file", p.key, "--redirect", "on").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "no URL can be signed") {
				t.Errorf("a server that cannot redirect: %v, %s", err, out)
			}
			return
		}
		s := p.replicas(t, 1, "--redirect", "on", "--write-wait", "forever")[0]
		body := artifacttest.Random(100_000, 1)
		if status, text, err := bezoar.Do(t.Context(), "PUT", s.URL+"/v1/cache/1", body); err != nil || status != http.StatusOK {
			t.Fatalf("PUT: %d %s, %v", status, text, err)
		}
		resp, err := (&http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 10 * time.Second,
		}).Get(s.URL + "/v1/cache/1")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("GET: %d", resp.StatusCode)
		}
		if got := s.Get(t, "/v1/cache/1"); !bytes.Equal(got, body) {
			t.Errorf("GET, redirected: %d bytes that are others", len(got))
		}
	})
}
