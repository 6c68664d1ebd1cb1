package tier

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/prompt"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestADiskThatHangsHoldsNobody: what is in the storage is read from there, the first time after a short wait and then at once, and everything is as before when the disk is
// back.
func TestADiskThatHangsHoldsNobody(t *testing.T) {
	const wait = 2 * time.Second
	for name, ops := range map[string][]string{
		"reading":    {"open", "record"},
		"creating":   {"create", "delete"},
		"writing":    {"write", "abort"},
		"committing": {"commit", "abort"},
		"following":  {"follow", "abort"},
		"everything": {"open", "record", "create", "write", "commit", "abort", "follow", "delete"},
	} {
		for way, ahead := range map[string]int64{"ahead": -1, "flowing": 1000} {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					inner := mem.New()
					keys := make([]cache.Key, 10)
					bodies := make([][]byte, len(keys))
					for i := range keys {
						keys[i], bodies[i] = storetest.Key(fmt.Sprint(i)), storetest.Body(uint64(i), 100_000)
						put(t, inner, keys[i], bodies[i])
					}
					disk := storetest.NewDisk(openFS(t, t.TempDir()))
					s := openOver(t, inner, prompt.New(disk, prompt.Options{Wait: wait}), Options{Size: 1 << 30, VerifyAhead: ahead})
					synctest.Wait()
					mustGet(t, s, keys[0])
					synctest.Wait()
					if !keeps(t, s, keys[0]) {
						t.Fatal("nothing is kept before")
					}
					mend := disk.Hang(ops...)
					for i, key := range keys {
						begun := time.Now()
						if got := mustGet(t, s, key); !bytes.Equal(got, bodies[i]) {
							t.Fatal("the bytes differ")
						}
						most := time.Duration(0)
						if i < 2 { // one that is kept, and one that is to be
							most = 2 * wait
						}
						if took := time.Since(begun); took > most {
							t.Errorf("download %d took %s", i, took)
						}
						synctest.Wait()
					}
					time.Sleep(2 * wait) //nolint:forbidigo // of a bubble's clock
					if s.Degraded() == nil {
						t.Error("nobody hears of it")
					}
					mend()
					for i := range 5 {
						time.Sleep(30 * time.Second) //nolint:forbidigo // the same
						mustGet(t, s, keys[0])
						mustGet(t, s, keys[5+i])
						synctest.Wait()
					}
					if err := s.Degraded(); err != nil {
						t.Errorf("it is over, but: %v", err)
					}
					if !keeps(t, s, keys[0]) || !keeps(t, s, keys[9]) {
						t.Error("nothing is kept afterwards")
					}
				})
			})
		}
	}
}
