package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
)

// TestBurst has many more uploads come at once than are sent at once, with a wait for each that is much shorter than the queue takes.
func TestBurst(t *testing.T) {
	const (
		uploads = 64
		workers = 8
		timeout = 10 * time.Second
	)
	hash := func(i int) cache.Hash { return cache.Hash(fmt.Sprintf("%04d", i)) }
	steps := func(ctx context.Context, step time.Duration, n int, tell bool) error {
		for range n {
			select {
			case <-time.After(step):
				if tell {
					cache.Progress(ctx)
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}
	for _, c := range []struct {
		name string
		// send is what a send does before the remote store takes the entry.
		send func(ctx context.Context, entry cache.Entry) error
		// fails says which uploads are given up, took how long all of them take.
		fails func(hash cache.Hash) bool
		took  time.Duration
	}{
		{
			"each send moves",
			func(ctx context.Context, _ cache.Entry) error { return steps(ctx, 2*time.Second, 6, true) },
			func(cache.Hash) bool { return false },
			uploads / workers * 12 * time.Second,
		},
		{
			"sends only end",
			func(ctx context.Context, _ cache.Entry) error { return steps(ctx, 8*time.Second, 1, false) },
			func(cache.Hash) bool { return false },
			uploads / workers * 8 * time.Second,
		},
		{
			"nothing moves",
			func(ctx context.Context, _ cache.Entry) error { return steps(ctx, time.Hour, 1, false) },
			func(cache.Hash) bool { return true },
			timeout,
		},
		{
			"all but one move", // the others do not keep that one alive
			func(ctx context.Context, entry cache.Entry) error {
				if entry.Key.Hash == hash(0) {
					return steps(ctx, time.Hour, 1, false)
				}
				return steps(ctx, 2*time.Second, 6, true)
			},
			func(h cache.Hash) bool { return h == hash(0) },
			uploads / workers * 12 * time.Second,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRemote()
				r.put = func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
					if err := c.send(ctx, entry); err != nil {
						return err
					}
					return r.write(ctx, entry, body)
				}
				s := open(t, r, mem.New(), Options{Wait: Forever, Workers: workers, Stall: 2 * time.Hour})
				heart := cache.New(s, cache.Options{StoreTimeout: timeout, Now: time.Now})
				grant := cache.Grant{Workspace: key.Workspace, Read: []cache.Scope{cache.Trusted}, Write: cache.Trusted}
				archive := artifacttest.Typical(1)
				start := time.Now()
				var wg sync.WaitGroup
				for i := range uploads {
					wg.Go(func() {
						_, err := heart.Put(t.Context(), grant, cache.Upload{Hash: hash(i), Size: int64(len(archive)), Body: bytes.NewReader(archive)})
						failed := err != nil
						if failed != c.fails(hash(i)) || failed && !errors.Is(err, cache.ErrStore) {
							t.Errorf("upload %d after %s: %v", i, time.Since(start), err)
						}
						if failed && !strings.Contains(err.Error(), "no progress within 10s") {
							t.Errorf("upload %d: the error does not say why: %v", i, err)
						}
					})
				}
				wg.Wait()
				// Whose turn comes in the moment in which the first give up has a time of his own.
				if took := time.Since(start); took < c.took || took > c.took+timeout+2*watchInterval {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				if got := s.used.Load(); got != 0 {
					t.Errorf("%d bytes are in the queue", got)
				}
			})
		})
	}
}
