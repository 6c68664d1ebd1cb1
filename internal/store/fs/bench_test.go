package fs

import (
	"fmt"
	"io"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

var benchSizes = []int{1 << 10, 64 << 10, 1 << 20}

func size(n int) string { return fmt.Sprintf("%dKB", n>>10) }

// BenchmarkOpenRead reads an entry that is known to be whole into memory.
func BenchmarkOpenRead(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(size(n), func(b *testing.B) {
			s := openWith(b, b.TempDir(), Options{Logger: discard()})
			put(b, s, storetest.Key("12777289511367993887"), storetest.Body(1, n))
			buf := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				object, err := s.Open(b.Context(), storetest.Key("12777289511367993887"))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(object.Body, buf); err != nil {
					b.Fatal(err)
				}
				_ = object.Close()
			}
		})
	}
}

// BenchmarkFirstOpen opens an entry that this process has not verified yet.
func BenchmarkFirstOpen(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(size(n), func(b *testing.B) {
			s := openWith(b, b.TempDir(), Options{Logger: discard()})
			put(b, s, storetest.Key("12777289511367993887"), storetest.Body(1, n))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				forget(s)
				object, err := s.Open(b.Context(), storetest.Key("12777289511367993887"))
				if err != nil {
					b.Fatal(err)
				}
				_ = object.Close()
			}
		})
	}
}

// BenchmarkOpenMiss asks for what is not there.
func BenchmarkOpenMiss(b *testing.B) {
	s := openWith(b, b.TempDir(), Options{Logger: discard()})
	put(b, s, storetest.Key("1"), nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Open(b.Context(), storetest.Key("12777289511367993887")); err == nil {
			b.Fatal("found")
		}
	}
}

// BenchmarkCreateCommit stores entries under ever new keys; each is deleted outside of the measurement.
func BenchmarkCreateCommit(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(size(n), func(b *testing.B) {
			s := openWith(b, b.TempDir(), Options{Logger: discard()})
			body := storetest.Body(1, n)
			record := storetest.Record(body)
			put(b, s, storetest.Key("stays"), nil)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				key := storetest.Key(fmt.Sprint(i % 1000))
				if i++; i > 1000 {
					b.StopTimer()
					if err := s.Delete(b.Context(), key); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				draft, err := s.Create(b.Context(), key)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := draft.Write(body); err != nil {
					b.Fatal(err)
				}
				if err := draft.Commit(b.Context(), record); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMemo measures the bookkeeping of one more file.
func BenchmarkMemo(b *testing.B) {
	m := newMemo()
	b.ReportAllocs()
	var n uint64
	for b.Loop() {
		n++
		m.add(file(n))
	}
}
