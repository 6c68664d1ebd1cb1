package cache_test

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
)

// slowly gives some bytes at a time, and says when it is at work: from then on somebody else may be.
type slowly struct {
	r     io.Reader
	began *atomic.Int64
}

func (s slowly) Read(p []byte) (int, error) {
	s.began.Add(1)
	<-time.After(time.Second)
	return s.r.Read(p[:min(len(p), 1000)])
}

// TestUploadsThatWaitHaveNoTurn: of many that come slowly, all come at the same time, and none keeps a trusted one waiting.
func TestUploadsThatWaitHaveNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := cache.NewTurns(1)
		c := cache.New(mem.New(), cache.Options{Limits: artifact.DefaultLimits(), OthersTurns: turns, Now: time.Now})
		body := artifacttest.Random(10_000, 1)
		put := func(scope cache.Scope, hash string, r io.Reader) {
			t.Helper()
			grant := cache.Grant{Workspace: "default", Read: []cache.Scope{scope}, Write: scope}
			if _, err := c.Put(t.Context(), grant, cache.Upload{Hash: cache.Hash(hash), Size: int64(len(body)), Body: r}); err != nil {
				t.Errorf("%s: %v", hash, err)
			}
		}
		var began atomic.Int64
		var all sync.WaitGroup
		begun := time.Now()
		for _, hash := range []string{"1", "2", "3", "4", "5"} {
			all.Go(func() { put("pr/1", hash, slowly{bytes.NewReader(body), &began}) })
		}
		synctest.Wait()
		if n := began.Load(); n != 5 {
			t.Errorf("%d uploads of 5 wait for bytes", n)
		}
		all.Wait()
		if took := time.Since(begun); took > time.Minute/2 {
			t.Errorf("they took %s, one after the other", took)
		}

		turns <- struct{}{} // somebody is at it
		put(cache.Trusted, "6", bytes.NewReader(body))
		done := false
		go func() { put("pr/1", "7", bytes.NewReader(body)); done = true }()
		synctest.Wait()
		if done {
			t.Error("there was no turn, and it was checked")
		}
		<-turns
		synctest.Wait()
		if !done {
			t.Error("there is a turn, and it is not checked")
		}
	})
}
