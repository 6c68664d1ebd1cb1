//go:build e2e

package soak_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// longest is how long an answer may take, whatever is broken: less than a disk hangs. The waits that a request can come across add up to some 20 seconds.
const longest = 30 * time.Second

// web opens a connection for each request, as Nx does.
var web = &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}, Timeout: longest}

// bodies counts artifacts, so that no two are alike.
var bodies atomic.Uint64

// newBody makes an artifact of the size that most have: of some KiB, seldom up to a MiB.
func newBody(r *rand.Rand) []byte {
	size := 300 + r.IntN(16<<10)
	switch n := r.IntN(20); {
	case n == 0:
		size = r.IntN(1 << 20)
	case n < 6:
		size = r.IntN(128 << 10)
	}
	return artifacttest.Random(size, *seed^bodies.Add(1))
}

// client makes requests and pauses, until ctx ends.
func (w *world) client(ctx context.Context, r *rand.Rand) {
	for {
		pause := time.NewTimer(time.Duration(r.ExpFloat64() * clients / *rate * float64(time.Second)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
		w.weather.wait(ctx)
		if ctx.Err() != nil {
			return
		}
		some := w.shelf.pick(r)
		switch n := r.IntN(100); {
		case n < 30 || some == nil:
			w.put(w.shelf.add(), newBody(r))
		case n < 36:
			w.put(some, newBody(r))
		case n < 39:
			w.breakOff(w.shelf.add(), newBody(r), r)
		case n < 42:
			w.breakOff(some, newBody(r), r)
		case n < 44:
			w.leave(some, r)
		case n < 49:
			w.get(&entry{hash: fmt.Sprintf("9999%d", r.Uint64())})
		default:
			w.get(some)
		}
	}
}

// do makes a request to its end. The test's end does not cut it short: it is waited for.
func (w *world) do(method string, e *entry, body io.Reader, size int) (status int, got []byte, err error) {
	req, err := http.NewRequestWithContext(context.Background(), method, w.at().URL+"/v1/cache/"+e.hash, body)
	if err != nil {
		return 0, nil, err
	}
	req.ContentLength = int64(size)
	late := time.AfterFunc(longest*2/3, w.stacks)
	defer late.Stop()
	resp, err := web.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	got, err = io.ReadAll(resp.Body)
	return resp.StatusCode, got, err
}

// stacks keeps what the server's goroutines are at, once: whoever waits for so long may wait for what nobody knows of.
func (w *world) stacks() {
	w.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), longest/2)
		defer cancel()
		_, text, err := bezoar.Do(ctx, "GET", w.profile+"/debug/pprof/goroutine?debug=2", nil)
		if err != nil {
			text = []byte(err.Error())
		}
		f, err := os.CreateTemp("", "soak-stacks-*.txt")
		if err != nil {
			return
		}
		defer f.Close()
		_, _ = f.Write(text)
		w.result.had("an answer took 20 seconds, and " + f.Name() + " has what the server was at")
	})
}

func (w *world) put(e *entry, body []byte) {
	e.offer(body, sent)
	before := e.isStored()
	end, begun := w.weather.begin(), time.Now()
	status, text, err := w.do("PUT", e, bytes.NewReader(body), len(body))
	sky := end()
	if !w.result.answered("PUT", status, err, sky, time.Since(begun), e.hash, text) {
		return
	}
	switch status {
	case http.StatusOK:
		took := time.Since(begun)
		slow := !w.isOne && took >= w.look
		if others := e.acknowledge(body, took); len(others) > 0 && (w.isOne || sky == calm && !slow) {
			w.result.violated("PUT %s: acknowledged again, after %s; the one before %s ago, after %s", e.hash, took, time.Since(others[0].at), others[0].took)
		}
		before = before && !slow
	case http.StatusConflict:
	case http.StatusForbidden:
		if sky == calm {
			w.result.violated("PUT %s: refused though nothing is broken: %s", e.hash, text)
		}
	default:
		w.result.violated("PUT %s: %d %s", e.hash, status, text)
	}
	if before && sky == calm && status != http.StatusConflict {
		w.result.violated("PUT %s, which is there: %d", e.hash, status)
	}
}

func (w *world) get(e *entry) {
	stored := e.isStored()
	end, begun := w.weather.begin(), time.Now()
	status, body, err := w.do("GET", e, nil, 0)
	sky := end()
	if !w.result.answered("GET", status, err, sky, time.Since(begun), e.hash, nil) {
		return
	}
	switch status {
	case http.StatusOK:
		if err := e.judge(body, w.isOne); err != nil {
			w.result.violated("GET %s: %v", e.hash, err)
		}
	case http.StatusNotFound:
		if stored && sky == calm {
			w.result.violated("GET %s: a miss, though it was acknowledged and nothing is broken: %s", e.hash, body)
		}
	default:
		w.result.violated("GET %s: %d", e.hash, status)
	}
}

var errBrokenOff = errors.New("the client breaks off")

// breakOff uploads a part of a body.
func (w *world) breakOff(e *entry, body []byte, r *rand.Rand) {
	e.offer(body, cut)
	part := io.MultiReader(bytes.NewReader(body[:r.IntN(len(body))]), failing{})
	end := w.weather.begin()
	defer end()
	if status, _, err := w.do("PUT", e, part, len(body)); err == nil && status == http.StatusOK {
		w.result.violated("PUT %s: 200, of a part", e.hash)
	}
	w.result.had("a client broke off an upload")
}

type failing struct{}

func (failing) Read([]byte) (int, error) {
	<-time.After(20 * time.Millisecond) // so that the server is at it
	return 0, errBrokenOff
}

// leave reads a part of an answer.
func (w *world) leave(e *entry, r *rand.Rand) {
	end := w.weather.begin()
	defer end()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, w.at().URL+"/v1/cache/"+e.hash, nil)
	if err != nil {
		w.result.violated("%v", err)
		return
	}
	resp, err := web.Do(req)
	if err == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, r.Int64N(10_000))
		resp.Body.Close()
	}
	w.result.had("a client broke off a download")
}

// sweep reads all that was ever acknowledged.
func (w *world) sweep(t *testing.T, s *bezoar.Server) {
	all := w.shelf.all()
	next := make(chan *entry)
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for e := range next {
				status, body, err := bezoar.Do(t.Context(), "GET", s.URL+"/v1/cache/"+e.hash, nil)
				if err == nil && status == http.StatusOK {
					err = e.judge(body, w.isOne)
				}
				if err != nil || status != http.StatusOK {
					w.result.violated("at the end, of what was acknowledged: GET %s: %d, %v", e.hash, status, err)
				}
			}
		})
	}
	for _, e := range all {
		next <- e
	}
	close(next)
	readers.Wait()
	w.result.swept = len(all)
}
