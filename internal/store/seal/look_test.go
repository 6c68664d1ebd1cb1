package seal_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// dripping has every key, and gives no body while somebody waits for it, but moves.
type dripping struct{ cache.Store }

func (dripping) Create(context.Context, cache.Key) (cache.Draft, error) { return nil, cache.ErrExist }

func (dripping) Open(ctx context.Context, _ cache.Key) (*cache.Object, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
			cache.Progress(ctx)
		}
	}
}

// TestAnUploadDoesNotWaitForWhatIsInItsWay: a bucket that drips lets an upload of what is there wait for a moment, and not for a whole body.
func TestAnUploadDoesNotWaitForWhatIsInItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := seal.New(dripping{mem.New()}, ring(1), seal.Options{})
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := s.Create(ctx, storetest.Key("1"))
		if took := time.Since(begun); !errors.Is(err, cache.ErrExist) || took > 5*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
