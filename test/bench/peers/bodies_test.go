//go:build bench

package peers_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// size is one of artifacts, in bytes.
type size int

const (
	b300  size = 300
	kb1   size = 1_000
	kb12  size = 12_000
	kb64  size = 64_000
	kb500 size = 500_000
	mb1   size = 1_000_000
	mb64  size = 64_000_000
)

var sizes = []size{b300, kb1, kb12, kb64, kb500, mb1, mb64}

func (s size) String() string {
	switch {
	case s >= 500_000:
		return fmt.Sprintf("%g MB", float64(s)/1e6)
	case s >= 1000:
		return fmt.Sprintf("%d KB", s/1000)
	default:
		return fmt.Sprintf("%d B", int(s))
	}
}

// large says that a turn may end before an answer does: what has come of it counts.
func (s size) large() bool { return s >= kb500 }

// pool is how many different artifacts there are of a size.
func (s size) pool() int {
	switch {
	case s >= mb64:
		return 1
	case s.large():
		return 4
	default:
		return 16
	}
}

var (
	made   = map[size][][]byte{}
	makers sync.Mutex
)

// bodies are artifacts of about a size, made once: gzip'd tars as Nx uploads them, of text that compresses about as code does.
func bodies(s size) [][]byte {
	makers.Lock()
	defer makers.Unlock()
	for seed := len(made[s]); seed < s.pool(); seed++ {
		made[s] = append(made[s], body(s, uint64(seed)))
	}
	return made[s]
}

// body adds files until there is enough. The outputs of a task are of 250 KB at most each, large ones in many files.
func body(s size, seed uint64) []byte {
	const most = 250_000
	text := code(most, seed)
	archive := func(total int) []byte {
		members := []artifacttest.Member{artifacttest.Dir("dist")}
		for i := 0; total > 0; i++ {
			n := min(total, most)
			members = append(members, artifacttest.File(fmt.Sprintf("dist/chunk-%d.js", i), text[most-n:]))
			total -= n
		}
		return artifacttest.Nx(members...)
	}
	whole := archive(most)
	total := max(0, int(float64(s)*most/float64(len(whole))))
	for range 4 { // small ones are mostly headers
		got := archive(total)
		if diff := int(s) - len(got); diff < -int(s)/50 || diff > int(s)/50 {
			total = max(0, total+diff*most/len(whole))
			continue
		}
		return got
	}
	return archive(total)
}

// code is text of n bytes that compresses about as code does.
func code(n int, seed uint64) string {
	random := rand.New(rand.NewPCG(seed, 1))
	words := strings.Fields("const let function return import export default async await class extends module undefined null props state render value index result error")
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %s%d(%s) { ", words[random.IntN(len(words))], words[random.IntN(len(words))], random.IntN(100_000), words[random.IntN(len(words))])
	}
	return b.String()[:n]
}
