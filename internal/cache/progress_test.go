package cache_test

import (
	"context"
	"sync"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
)

// busy is a store that tells of its progress from a goroutine of its own, also while its answer is on the way.
type busy struct {
	cache.Store
	running *sync.WaitGroup
}

func (b busy) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	begun := make(chan struct{})
	b.running.Go(func() {
		close(begun)
		for range 200 {
			cache.Progress(ctx)
		}
	})
	<-begun
	return b.Store.Open(ctx, key)
}

// TestProgressWhileTheAnswerComes: nobody takes a store for late because it told that it gets on in the moment in which it answered.
func TestProgressWhileTheAnswerComes(t *testing.T) {
	var running sync.WaitGroup
	defer running.Wait()
	store := mem.New()
	c := newCache(busy{store, &running})
	if err := put(c, trusted, "1", artifacttest.Typical(1)); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		obj, err := c.Get(t.Context(), trusted, "1")
		if err != nil {
			t.Fatal(err)
		}
		obj.Close()
	}
}
