//go:build bench

package bench_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// rounds is how often each contender is measured.
const rounds = 5

// bulk is a kind of load: so many artifacts of one size, so many at once.
type bulk struct {
	name   string
	body   []byte
	n      int
	atOnce int
}

// bulks are artifacts that do not compress: of them, bytes in the bucket and bytes in the check are about the same. The large ones are just small enough
// to be sent in one piece, as a plain client does it.
func bulks() []bulk {
	small, large := artifacttest.Random(1e6, 1), artifacttest.Random(64e6, 1)
	return []bulk{
		{"1MB/1", small, 96, 1},
		{"1MB/8", small, 192, 8},
		{"64MB/1", large, 3, 1},
		{"64MB/8", large, 8, 8},
	}
}

func (k bulk) bytes() int64 { return int64(k.n) * int64(len(k.body)) }

// ways are the lines to the storage server.
var ways = []struct {
	name string
	addr func(b *testing.B, p place) string
}{
	{"loopback", func(_ *testing.B, p place) string { return p.addr }},
	{"1Gbit", func(b *testing.B, p place) string { return slowLine(b, p.addr) }},
}

// formsOf are all forms on the loopback; over a line they differ by less than can be measured.
func formsOf(p place, addr string) []form {
	if addr != p.addr {
		return forms[:1]
	}
	return forms
}

// eachWay runs a benchmark on each storage server and line.
func eachWay(b *testing.B, bench func(b *testing.B, p place, addr string)) {
	for _, at := range places {
		b.Run(at.name, func(b *testing.B) {
			p := at.start(b, memoryDir(b))
			p.key = p.binary.AddKey(b)
			for _, way := range ways {
				b.Run(way.name, func(b *testing.B) { bench(b, p, way.addr(b, p)) })
			}
		})
	}
}

// form is a choice of settings that changes the way of a transfer.
type form struct {
	name string
	tier bool
	args []string
}

var forms = []form{
	{"plain", false, nil},
	{"tier", true, nil},
	{"aead", false, []string{"--seal=aead"}},
	{"aead-tier", true, []string{"--seal=aead"}},
}

// BenchmarkBucketGet downloads what no server has seen yet, beside a plain client of the same bucket.
func BenchmarkBucketGet(b *testing.B) {
	eachWay(b, func(b *testing.B, p place, addr string) {
		client := p.plain(addr)
		for _, kind := range bulks() {
			p.clear(b)
			for _, args := range [][]string{nil, {"--seal=aead"}} {
				writer := p.serve(b, p.addr, memoryDir(b), append(args, "--write-wait=forever")...)
				load(kind.n, 4, func(i int) { request(b, writer, "PUT", strconv.Itoa(i), kind.body) })
				writer.Stop(b)
			}
			load(kind.n, 4, func(i int) { check(b, p.plain(p.addr).put(b.Context(), plainName(i), kind.body)) })
			for _, form := range formsOf(p, addr) {
				b.Run(kind.name+"/"+form.name, func(b *testing.B) {
					for range b.N {
						var used float64
						server := func(int) time.Duration {
							data := memoryDir(b)
							defer os.RemoveAll(data)
							args := form.args
							if form.tier {
								args = append(slices.Clip(args), "--tier-dir", filepath.Join(data, "tier"))
							}
							s := p.serve(b, addr, data, args...)
							defer s.Stop(b)
							before := cpu(b, s)
							took := load(kind.n, kind.atOnce, func(i int) { request(b, s, "GET", strconv.Itoa(i), nil) })
							used += cpu(b, s) - before
							return took
						}
						other := func(int) time.Duration {
							return load(kind.n, kind.atOnce, func(i int) {
								body, err := client.get(b.Context(), plainName(i))
								if check(b, err) {
									check(b, drain(body))
									body.Close()
								}
							})
						}
						times := race(rounds, server, other)
						reportRatio(b, "of-sdk", times[0], times[1])
						reportSpeed(b, "server", kind.bytes(), times[0])
						reportSpeed(b, "sdk", kind.bytes(), times[1])
						reportCPU(b, used, rounds*kind.bytes())
					}
				})
			}
		}
	})
}

// BenchmarkBucketPut uploads through to the bucket, beside a plain client, and one that unpacks each body before it sends it.
func BenchmarkBucketPut(b *testing.B) {
	eachWay(b, func(b *testing.B, p place, addr string) {
		client := p.plain(addr)
		for _, kind := range bulks() {
			for _, form := range formsOf(p, addr) {
				if form.tier {
					continue // uploads pass the tier by
				}
				b.Run(kind.name+"/"+form.name, func(b *testing.B) {
					for range b.N {
						data := memoryDir(b)
						s := p.serve(b, addr, data, append(slices.Clip(form.args), "--write-wait=forever")...)
						var used float64
						var unique atomic.Int64
						fresh := func() string { return strconv.FormatInt(unique.Add(1), 10) }
						run := func(put func(name string)) time.Duration {
							p.clear(b)
							return load(kind.n, kind.atOnce, func(int) { put(fresh()) })
						}
						server := func(int) time.Duration {
							before := cpu(b, s)
							defer func() { used += cpu(b, s) - before }()
							return run(func(name string) { request(b, s, "PUT", name, kind.body) })
						}
						other := func(int) time.Duration {
							return run(func(name string) { check(b, client.put(b.Context(), "plain/"+name, kind.body)) })
						}
						unpacking := func(int) time.Duration {
							return run(func(name string) {
								if check(b, inflate(kind.body)) {
									check(b, client.put(b.Context(), "plain/"+name, kind.body))
								}
							})
						}
						times := race(rounds, server, other, unpacking)
						p.clear(b)
						s.Stop(b)
						reportRatio(b, "of-sdk", times[0], times[1])
						reportRatio(b, "of-unpacking", times[0], times[2])
						reportSpeed(b, "server", kind.bytes(), times[0])
						reportSpeed(b, "sdk", kind.bytes(), times[1])
						reportCPU(b, used, rounds*kind.bytes())
					}
				})
			}
		}
	})
}

// BenchmarkTier downloads what the tier has, beside a server over a directory.
func BenchmarkTier(b *testing.B) {
	p := onVersity(b, memoryDir(b))
	p.key = p.binary.AddKey(b)
	data := memoryDir(b)
	tiered := p.serve(b, p.addr, data, "--write-wait=forever", "--tier-dir", filepath.Join(data, "tier"))
	direct := p.binary.Serve(b, memoryDir(b))
	for _, kind := range []struct {
		name    string
		size, n int
	}{{"1KB", 1e3, 3000}, {"64KB", 64e3, 3000}, {"1MB", 1e6, 800}} {
		const entries = 16
		body := artifacttest.Random(kind.size, 1)
		name := func(i int) string { return fmt.Sprintf("%s-%d", kind.name, i%entries) }
		for i := range entries {
			request(b, tiered, "PUT", name(i), body)
			request(b, direct, "PUT", name(i), body)
			request(b, tiered, "GET", name(i), nil)
		}
		for _, atOnce := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, atOnce), func(b *testing.B) {
				for range b.N {
					fetched := tiered.Metric(b, "bezoar_tier_fetched_bytes_total")
					var used [2]float64
					get := func(s *bezoar.Server, used *float64) contender {
						return func(int) time.Duration {
							before := cpu(b, s)
							defer func() { *used += cpu(b, s) - before }()
							return load(kind.n, atOnce, func(i int) { request(b, s, "GET", name(i), nil) })
						}
					}
					const rounds = 2*rounds + 1
					times := race(rounds, get(tiered, &used[0]), get(direct, &used[1]))
					if again := tiered.Metric(b, "bezoar_tier_fetched_bytes_total"); again != fetched {
						b.Errorf("%v bytes were not from the tier", again-fetched)
					}
					reportRatio(b, "of-directory", times[0], times[1])
					b.ReportMetric(float64(kind.n)/median(times[0]).Seconds(), "tier-GET/s")
					b.ReportMetric(float64(kind.n)/median(times[1]).Seconds(), "directory-GET/s")
					b.ReportMetric(used[0]*1e6/float64(rounds*kind.n), "tier-cpu-us/GET")
					b.ReportMetric(used[1]*1e6/float64(rounds*kind.n), "directory-cpu-us/GET")
				}
			})
		}
	}
}

func plainName(i int) string { return "plain/" + strconv.Itoa(i) }

func check(b *testing.B, err error) bool {
	if err != nil {
		b.Error(err)
	}
	return err == nil
}

// inflate unpacks a body and throws it away: what nobody who looks into uploads can spare.
func inflate(body []byte) error {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return err
	}
	_, err = io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r})
	return err
}

// reportCPU reports what a server's processors did for each 10^9 bytes of artifacts.
func reportCPU(b *testing.B, seconds float64, bytes int64) {
	b.ReportMetric(seconds/(float64(bytes)/1e9), "cpu-s/GB")
}
