//go:build e2e

package replicas_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/nx"
)

// passedOn is a line of nginx's log of a request that a second server answered.
var passedOn = regexp.MustCompile(`(?m) (GET|PUT) \S+ 200 .* upstream=\S+, \S+ status=\S+, 200 `)

// What docs/replicas.md says of nginx, one thing after the other.
func TestBehindNginx(t *testing.T) {
	f := newFront(t)
	f.killWithRequests(t)
	f.readSlowly(t)
	f.breakDownload(t)
	f.endAll(t)
}

// url is where an artifact is for who goes through nginx.
func (f *front) url(hash string) string { return f.nginx.URL + "/web/v1/cache/" + hash }

// again has all servers run that do not.
func (f *front) again(t *testing.T, servers ...int) {
	t.Helper()
	for _, i := range servers {
		f.start(t, i)
	}
}

// Two of three servers take requests, answer nothing, and are killed. All are answered by the third.
func (f *front) killWithRequests(t *testing.T) {
	t.Helper()
	const n = 24
	for i := range n {
		if status, text, err := do(t.Context(), http.MethodPut, f.url(fmt.Sprintf("there-%d", i)), f.token, artifacttest.Random(1<<(10+i%12), uint64(i))); err != nil || status != http.StatusOK {
			t.Fatalf("upload: %d %s, %v", status, text, err)
		}
	}
	for _, s := range f.servers { // the third has to have it from the bucket
		await(t, "a spool is empty", func() bool { return queued(t, s) == 0 })
	}
	hang(t, f.servers[0])
	hang(t, f.servers[1])
	var wg sync.WaitGroup
	var answered atomic.Int32
	for i := range n {
		body := artifacttest.Random(1<<(10+i%12), uint64(i))
		wg.Go(func() {
			if status, text, err := do(t.Context(), http.MethodPut, f.url(fmt.Sprintf("new-%d", i)), f.token, body); err != nil || status != http.StatusOK {
				t.Errorf("an upload to a server that is killed: %d %s, %v", status, text, err)
			}
			answered.Add(1)
		})
		wg.Go(func() {
			if status, got, err := do(t.Context(), http.MethodGet, f.url(fmt.Sprintf("there-%d", i)), f.token, nil); err != nil || status != http.StatusOK || !bytes.Equal(got, body) {
				t.Errorf("a download from a server that is killed: %d, %d bytes, %v", status, len(got), err)
			}
			answered.Add(1)
		})
	}
	await(t, "the third server answers", func() bool { return answered.Load() >= 4 }) // the others have theirs by now
	f.servers[0].Kill()
	f.servers[1].Kill()
	wg.Wait()
	kinds := map[string]int{}
	for _, m := range passedOn.FindAllStringSubmatch(f.nginx.AccessLog(t), -1) {
		kinds[m[1]]++
	}
	t.Logf("of %d uploads and %[1]d downloads nginx passed on %v", n, kinds)
	if kinds["GET"] == 0 || kinds["PUT"] == 0 {
		t.Error("the killed servers had no requests")
	}
	f.again(t, 0, 1)
}

// large is more than what all sockets on the way hold, so that a download of it is under way for as long as its client wants.
const large = 24 << 20

// begin begins a download and reads a little of it.
func (f *front) begin(t *testing.T, url, token string) (rest io.ReadCloser, first []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("a large download: %v, %v", resp, err)
	}
	first = make([]byte, 1000)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	return resp.Body, first
}

func (f *front) sent(t *testing.T, hash string) bool {
	t.Helper()
	for _, s := range f.servers {
		for _, r := range s.Requests(t) {
			if r.Method == http.MethodGet && r.Hash == hash && r.Result == "hit" {
				return true
			}
		}
	}
	return false
}

// A client takes its time, and meanwhile all servers are killed. It gets the whole artifact: nginx has it.
func (f *front) readSlowly(t *testing.T) {
	t.Helper()
	body := artifacttest.Random(large, 1)
	if status, text, err := do(t.Context(), http.MethodPut, f.url("large"), f.token, body); err != nil || status != http.StatusOK {
		t.Fatalf("upload: %d %s, %v", status, text, err)
	}
	rest, got := f.begin(t, f.url("large"), f.token)
	defer rest.Close()
	await(t, "a server has sent a large artifact", func() bool { return f.sent(t, "large") })
	for _, s := range f.servers {
		s.Kill()
	}
	more, err := io.ReadAll(rest)
	if got = append(got, more...); err != nil || !bytes.Equal(got, body) {
		t.Errorf("a slow client got %d bytes of %d, %v", len(got), len(body), err)
	}
	f.again(t, 0, 1, 2)
}

// What remains: a server that is killed before nginx has all of a large artifact breaks the download. The client is told so.
func (f *front) breakDownload(t *testing.T) {
	t.Helper()
	// Directly: nginx takes milliseconds for it, and what it does with a broken one is to break its own, too.
	rest, got := f.begin(t, f.servers[0].URL+"/web/v1/cache/large", f.token)
	defer rest.Close()
	f.servers[0].Kill()
	more, err := io.ReadAll(rest)
	if got = append(got, more...); err == nil {
		t.Errorf("a download of %d bytes of %d looks whole", len(got), large)
	}
	t.Logf("a server that was killed had sent %d bytes of %d", len(got), large)
	f.again(t, 0)
}

// Without any server a build with real Nx is as without a cache, and other requests learn what happened.
func (f *front) endAll(t *testing.T) {
	t.Helper()
	for _, s := range f.servers {
		s.Kill()
	}
	for _, c := range []struct {
		method, path string
		body         []byte
		want         int
	}{
		{http.MethodGet, "/web/v1/cache/large", nil, http.StatusNotFound},
		{http.MethodGet, "//v1/cache/1", nil, http.StatusNotFound},
		{http.MethodPut, "/v1/cache/1", artifacttest.Random(1000, 1), http.StatusForbidden},
		{http.MethodPut, "/web/v1/cache/1", artifacttest.Random(large, 1), http.StatusForbidden},
		{http.MethodPost, "/v1/session", nil, http.StatusBadGateway},
	} {
		status, text, err := do(t.Context(), c.method, f.nginx.URL+c.path, f.token, c.body)
		if err != nil || status != c.want || c.want < 500 && !strings.Contains(string(text), "no server of the cache answers") {
			t.Errorf("%s %s: %d %s, %v; want %d", c.method, c.path, status, text, err, c.want)
		}
	}
	if !strings.Contains(f.nginx.AccessLog(t), " cause=balancer\n") {
		t.Error("the log of nginx does not say who answered")
	}
	versions := nx.Versions()
	for _, version := range []string{versions[0], versions[len(versions)-1]} {
		ws := nx.NewWorkspace(t, nx.Install(t, version), nx.Project{Name: "app", Script: "echo app >out/app/main.js"})
		if got := ws.Run(t, nx.Run{Server: f.nginx.URL + "/web", Token: &f.token}); got.Exit != 0 || len(got.Tasks) != 1 {
			t.Errorf("nx %s without any server ends with %d, %v", version, got.Exit, got.Tasks)
		}
	}
	f.again(t, 0, 1, 2)
	await(t, "nginx takes up servers that came back", func() bool {
		status, _, err := do(t.Context(), http.MethodGet, f.url("large"), f.token, nil)
		return err == nil && status == http.StatusOK
	})
}
