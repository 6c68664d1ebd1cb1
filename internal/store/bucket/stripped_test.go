package bucket_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/bucket/membucket"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestStrippedMetadata: when a proxy begins to drop metadata, no entry is lost for it: reads fail, and work again when it is over.
func TestStrippedMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := membucket.New()
		s, err := bucket.Open(t.Context(), b, bucket.Options{TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		key, body := storetest.Key("1"), storetest.Body(1, 1000)
		entry := cache.Entry{Key: key, Record: storetest.Record(body)}
		if err := s.Put(t.Context(), entry, bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		b.Stripped.Store(true)
		puts := b.Calls("put")
		for range 3 {
			if _, err := s.Open(t.Context(), key); err == nil || errors.Is(err, cache.ErrDamaged) || errors.Is(err, cache.ErrNotExist) {
				t.Errorf("without metadata: %v, want trouble", err)
			}
			for step, err := range s.Walk(t.Context(), cache.Part{}, "", cache.SetAside) {
				if err == nil && step.Stuck == nil {
					t.Errorf("the walk set it aside: %+v", step)
				}
			}
		}
		if n := b.Calls("put") - puts; n != 1 {
			t.Errorf("%d looks at the way, want 1 within a minute", n)
		}
		b.Stripped.Store(false)
		if _, got, err := storetest.Get(t.Context(), drafts{Store: s}, key); err != nil || !bytes.Equal(got, body) {
			t.Errorf("afterwards: %v", err)
		}
		// One that has really no record is set aside, once the way is known to be good.
		time.Sleep(2 * time.Minute) //nolint:forbidigo // of a bubble's clock
		b.Edit("entries/default/trusted/1", func(body []byte, _ string) ([]byte, string) { return body, "" })
		if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrDamaged) {
			t.Errorf("without a record: %v", err)
		}
		for _, name := range b.Names() {
			if len(name) > 6 && name[:6] == "check/" {
				t.Errorf("%s was left behind", name)
			}
		}
	})
}
