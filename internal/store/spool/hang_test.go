package spool

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/store/prompt"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestADiskThatHangsHoldsNobody: uploads are refused in time, what is in the bucket is read, and everything goes on when the disk is back. What was acknowledged before
// is sent then.
func TestADiskThatHangsHoldsNobody(t *testing.T) {
	const wait, syncWait = 2 * time.Second, 10 * time.Second
	for name, ops := range map[string][]string{
		"creating":   {"create", "delete"},
		"writing":    {"write", "abort", "delete"},
		"committing": {"commit", "abort", "delete"},
		"syncing":    {"sync", "delete"},
		"everything": {"open", "record", "create", "write", "commit", "abort", "delete", "sync"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRemote()
				disk := storetest.NewDisk(local(t, t.TempDir()))
				s := open(t, r, prompt.New(disk, prompt.Options{Wait: wait, SyncWait: syncWait}), Options{})
				there, before := storetest.Key("there"), storetest.Key("before")
				put(t, s, there, body)
				pass(time.Minute) // the bucket has it
				r.set(fail, nil)
				put(t, s, before, body)
				mend := disk.Hang(ops...)
				for i := range 10 {
					begun := time.Now()
					if err := storetest.Put(t.Context(), s, storetest.Key(fmt.Sprint(i)), body); !errors.Is(err, prompt.ErrHangs) {
						t.Errorf("upload %d: %v", i, err)
					}
					most := time.Duration(0)
					if i == 0 {
						most = syncWait + wait
					}
					if took := time.Since(begun); took > most {
						t.Errorf("upload %d took %s", i, took)
					}
					begun = time.Now()
					want(t, s, there, body)
					if took := time.Since(begun); took > 0 {
						t.Errorf("a download from the bucket took %s", took)
					}
				}
				mend()
				r.set(nil, nil)
				pass(5 * time.Minute)
				for i := range 10 {
					key := storetest.Key(fmt.Sprint("after", i))
					put(t, s, key, body)
					want(t, s, key, body)
				}
				pass(5 * time.Minute)
				want(t, r, before, body)
				for i := range 10 {
					wantMiss(t, s, storetest.Key(fmt.Sprint(i)))
				}
				if len(s.items) != 0 || s.used.Load() != 0 {
					t.Errorf("%d items, %d bytes are left", len(s.items), s.used.Load())
				}
			})
		})
	}
}
