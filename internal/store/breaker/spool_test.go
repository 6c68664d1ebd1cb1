package breaker_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/breaker"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/spool"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// pipe is a bucket behind a line that can be cut: then nothing answers.
type pipe struct {
	*mem.Store
	cut atomic.Bool
}

var errCut = errors.New("no answer")

func (p *pipe) answer(ctx context.Context) error {
	if !p.cut.Load() {
		return nil
	}
	<-ctx.Done()
	return errCut
}

func (p *pipe) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if err := p.answer(ctx); err != nil {
		return nil, err
	}
	return p.Store.Open(ctx, key)
}

func (p *pipe) Has(ctx context.Context, key cache.Key) (bool, error) {
	obj, err := p.Open(ctx, key)
	if errors.Is(err, cache.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, obj.Close()
}

func (p *pipe) Put(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
	if err := p.answer(ctx); err != nil {
		return err
	}
	d, err := p.Create(ctx, entry.Key)
	if err != nil {
		return err
	}
	defer d.Abort()
	if _, err := io.Copy(d, io.NewSectionReader(body, 0, entry.Record.Size)); err != nil {
		return err
	}
	return d.Commit(ctx, entry.Record)
}

// files is a local store of a spool, whose bodies can be read at an offset.
type files struct{ cache.Store }

// TestUploadsDoNotWaitForABucketThatIsKnownToBeDown: the first ones wait as long as they are told to; once the circuit is open they go to the local
// disk at once, and all of them reach the bucket when it is back.
func TestUploadsDoNotWaitForABucketThatIsKnownToBeDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = 2 * time.Second
		bucket := &pipe{Store: mem.New()}
		b, err := breaker.New(breaker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		remote := b.OverRemote(bucket)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); b.Run(ctx) }()
		s, err := spool.Open(remote, files{mem.New()}, spool.Options{Wait: wait})
		if err != nil {
			t.Fatal(err)
		}
		upload := func(hash string) time.Duration {
			t.Helper()
			begun := time.Now()
			if err := storetest.Put(t.Context(), s, storetest.Key(hash), storetest.Body(1, 1000)); err != nil {
				t.Fatalf("upload %s: %v", hash, err)
			}
			return time.Since(begun)
		}
		bucket.cut.Store(true)
		for _, hash := range []string{"1", "2", "3", "4", "5"} {
			if took := upload(hash); took < wait {
				t.Errorf("upload %s did not wait for the bucket: %s", hash, took)
			}
		}
		<-time.After(2 * spool.DefaultStall) // the sends fail
		if err := b.Degraded(); err == nil {
			t.Fatal("no circuit opened")
		}
		quick := 0
		for _, hash := range []string{"6", "7", "8", "9"} {
			if upload(hash) == 0 {
				quick++
			}
		}
		if quick < 3 { // one of them may be the probe
			t.Errorf("%d of 4 uploads did not wait, want 3", quick)
		}
		bucket.cut.Store(false)
		<-time.After(5 * time.Minute)
		for _, hash := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"} {
			if has, err := bucket.Has(t.Context(), storetest.Key(hash)); !has {
				t.Errorf("upload %s did not reach the bucket: %v", hash, err)
			}
		}
		if err := b.Degraded(); err != nil {
			t.Errorf("Degraded: %v", err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		cancel()
		<-ended
	})
}
