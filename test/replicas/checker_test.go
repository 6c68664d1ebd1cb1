//go:build e2e

package replicas_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// checker uploads artifacts through nginx, all the time, and knows which were acknowledged. It reads them again at random.
type checker struct {
	f    *front
	done sync.WaitGroup

	mu           sync.Mutex
	acknowledged []int
	// refused are uploads that were answered 403, and missed are reads answered 404, by what the answer said.
	refused, missed map[string]int
	// read are all reads, broken those of large artifacts that broke off.
	read, broken int
}

// small is what a server hands to the kernel in one go, so that its end breaks no download.
const small = 64 << 10

// sizeOf and bodyOf are of the artifact of a number.
func sizeOf(i int) int    { return []int{500, 5_000, 40_000, 300_000, 2_000_000}[i%5] }
func bodyOf(i int) []byte { return artifacttest.Random(sizeOf(i), uint64(i)) }
func nameOf(i int) string { return fmt.Sprintf("check-%d", i) }

func startChecker(t *testing.T, f *front, stop <-chan struct{}) *checker {
	c := &checker{f: f, refused: map[string]int{}, missed: map[string]int{}}
	ctx := context.WithoutCancel(t.Context())
	const atOnce = 3
	for first := range atOnce {
		c.done.Go(func() {
			for i := first; ; i += atOnce {
				select {
				case <-stop:
					return
				case <-time.After(25 * time.Millisecond):
				}
				c.upload(ctx, t, i)
				c.readOne(ctx, t)
			}
		})
	}
	return c
}

func (c *checker) upload(ctx context.Context, t *testing.T, i int) {
	status, text, err := do(ctx, http.MethodPut, c.f.url(nameOf(i)), c.f.token, bodyOf(i))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil && status == http.StatusOK:
		c.acknowledged = append(c.acknowledged, i)
	case err == nil && status == http.StatusForbidden:
		c.refused[strings.TrimSpace(string(text))]++
	case err == nil && status == http.StatusConflict: // a server stored it and was killed before it said so
	default:
		t.Errorf("upload %d: %d %s, %v", i, status, text, err)
	}
}

func (c *checker) readOne(ctx context.Context, t *testing.T) {
	c.mu.Lock()
	if len(c.acknowledged) == 0 {
		c.mu.Unlock()
		return
	}
	i := c.acknowledged[rand.IntN(len(c.acknowledged))]
	c.mu.Unlock()
	status, got, err := do(ctx, http.MethodGet, c.f.url(nameOf(i)), c.f.token, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read++
	switch {
	case status == http.StatusOK && err != nil && sizeOf(i) > small:
		c.broken++
	case err == nil && status == http.StatusNotFound:
		c.missed[strings.TrimSpace(string(got))]++
	case err != nil || status != http.StatusOK || !bytes.Equal(got, bodyOf(i)):
		t.Errorf("read %d of %d bytes: %d, %d bytes, %v", i, sizeOf(i), status, len(got), err)
	}
}

// soFar is how many uploads were acknowledged.
func (c *checker) soFar() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acknowledged)
}

// end waits for the last requests, and then asks each server for each artifact that was acknowledged.
func (c *checker) end(t *testing.T) {
	t.Helper()
	c.done.Wait()
	t.Logf("%d uploads were acknowledged and refused were %v; of %d reads misses were %v, and %d of more than %d bytes broke off",
		len(c.acknowledged), c.refused, c.read, c.missed, c.broken, small)
	for _, s := range c.f.servers {
		await(t, "a spool is empty", func() bool { return queued(t, s) == 0 })
	}
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for _, s := range c.f.servers {
		for _, i := range c.acknowledged {
			group.Go(func() error {
				status, got, err := do(ctx, http.MethodGet, s.URL+"/web/v1/cache/"+nameOf(i), c.f.token, nil)
				if err != nil || status != http.StatusOK || !bytes.Equal(got, bodyOf(i)) {
					t.Errorf("%s was acknowledged, and %s answers %d, %d bytes, %v", nameOf(i), s.URL, status, len(got), err)
				}
				return nil
			})
		}
	}
	_ = group.Wait()
}
