package tier

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// BenchmarkHotRead reads an entry that the local store has, through the tier and without it.
func BenchmarkHotRead(b *testing.B) {
	for _, n := range []int{1 << 10, 64 << 10, 1 << 20} {
		local := openFS(b, b.TempDir())
		inner := mem.New()
		put(b, inner, key, storetest.Body(1, n))
		s := openOver(b, inner, local, Options{Size: 1 << 30})
		mustGet(b, s, key)
		settle(b, s)
		for name, store := range map[string]cache.Store{"tier": s, "fs": local} {
			b.Run(fmt.Sprintf("%dKB/%s", n>>10, name), func(b *testing.B) {
				buf := make([]byte, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					read(b, store, key, buf)
				}
			})
		}
	}
}

func read(b *testing.B, store cache.Store, key cache.Key, buf []byte) {
	object, err := store.Open(b.Context(), key)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(object.Body, buf); err != nil {
		b.Fatal(err)
	}
	object.Close()
}

// BenchmarkHotReadParallel has all processors read.
func BenchmarkHotReadParallel(b *testing.B) {
	inner := mem.New()
	put(b, inner, key, storetest.Body(1, 1<<10))
	s := openTier(b, inner, Options{Size: 1 << 30})
	mustGet(b, s, key)
	settle(b, s)
	for name, store := range map[string]cache.Store{"tier": s, "fs": s.local} {
		b.Run(name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				buf := make([]byte, 1<<10)
				for pb.Next() {
					read(b, store, key, buf)
				}
			})
		})
	}
}

// BenchmarkColdRead reads what the tier does not have: through a draft that becomes an entry, and through a temporary file.
func BenchmarkColdRead(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 20, 16 << 20} {
		for name, size := range map[string]int64{"kept": 256 << 20, "not kept": 0} {
			b.Run(fmt.Sprintf("%dKB/%s", n>>10, name), func(b *testing.B) {
				body := storetest.Body(1, n)
				s := openTier(b, anything{mem.New(), body, storetest.Record(body)}, Options{Size: size})
				buf := make([]byte, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					i++
					read(b, s, storetest.Key(strconv.Itoa(i)), buf)
				}
			})
		}
	}
}

// anything has the same body under all keys.
type anything struct {
	cache.Store
	body   []byte
	record cache.Record
}

func (a anything) Open(_ context.Context, key cache.Key) (*cache.Object, error) {
	return &cache.Object{Entry: cache.Entry{Key: key, Record: a.record}, Body: io.NopCloser(bytes.NewReader(a.body))}, nil
}

// BenchmarkIndexMemory fills an index with a million entries of four scopes and reports what one takes.
func BenchmarkIndexMemory(b *testing.B) {
	for name, hash := range map[string]string{"hashes of Nx": "12777289511%09d", "other hashes": "sha-%032x"} {
		b.Run(name, func(b *testing.B) {
			const n = 1_000_000
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				s := new(Store)
				for i := range s.shards {
					s.shards[i].init()
				}
				for i := range n {
					key := cache.Key{Workspace: cache.DefaultWorkspace, Scope: cache.Scope(fmt.Sprintf("pr/%d", i%4)), Hash: cache.Hash(fmt.Sprintf(hash, i))}
					id := idOf(key)
					x := &s.shard(id).index
					node, at := x.add(id, key, 1, held)
					x.use(node, at, int64(i))
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/entry")
				runtime.KeepAlive(s)
			}
		})
	}
}
