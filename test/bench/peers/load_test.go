//go:build bench

package peers_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// turnVolume bounds what one turn of uploads stores, in bytes.
const turnVolume = 256_000_000

// bench has what the cells share.
type bench struct {
	parent  *testing.T // lives as long as all cells
	turns   uint64     // so far
	kinds   []kind
	secured pair
	binary  bezoar.Binary
	// running are servers with all entries in them, by name; those with TLS apart.
	running, runningTLS map[string]*server
	files               map[size][]string // the bodies, for wrk
}

// measureLoad runs the cells one after the other, and in each the servers in turns. The order changes with the round, so that no server always follows the same.
func measureLoad(t *testing.T, r *report, only *regexp.Regexp) {
	b := &bench{parent: t, kinds: r.Servers, secured: newPair(t), binary: r.binary, running: map[string]*server{}, runningTLS: map[string]*server{}, files: map[size][]string{}}
	dir := t.TempDir()
	for _, s := range []size{kb1, kb12} {
		for i, body := range bodies(s) {
			path := filepath.Join(dir, fmt.Sprintf("%d-%d", s, i))
			if err := os.WriteFile(path, body, 0o600); err != nil {
				t.Fatal(err)
			}
			b.files[s] = append(b.files[s], path)
		}
	}
	for _, c := range cells() {
		if !only.MatchString(c.name()) {
			continue
		}
		t.Run(c.name(), func(t *testing.T) {
			result := cellResult{Cell: c, Readings: map[string][]reading{}}
			b.run(t, c, &result)
			r.Cells = append(r.Cells, result)
			t.Log(result.line())
		})
	}
	for name, s := range b.running {
		r.PeakAfterLoad[name] = s.peak(t)
	}
	for _, servers := range []map[string]*server{b.running, b.runningTLS} {
		for _, s := range servers {
			s.stop()
		}
	}
}

// full returns a running server with all entries, which is started when it is first asked for, and lives as long as the test of all cells.
func (b *bench) full(t *testing.T, k kind, secured bool) *server {
	t.Helper()
	servers, with := b.running, (*pair)(nil)
	if secured {
		servers, with = b.runningTLS, &b.secured
	}
	if s := servers[k.name]; s != nil {
		return s
	}
	s := k.start(b.parent, newDir(b.parent), with)
	for _, size := range sizes {
		if secured && size > mb1 {
			continue
		}
		for i, body := range bodies(size) {
			s.fill(t, entry(size, i), body)
		}
	}
	servers[k.name] = s
	return s
}

func (b *bench) run(t *testing.T, c cell, result *cellResult) {
	type contender struct {
		name string
		turn func(round int) reading
	}
	var contenders []contender
	long := options.each
	if c.Size >= mb64 {
		long *= 2
	}
	for _, k := range b.kinds {
		if k.name != "bezoar" && k.name != yardstick && !c.All || c.TLS && !k.tls {
			continue
		}
		var s *server
		if c.Load == uploads { // into an empty one, whose files go with the cell
			with := (*pair)(nil)
			if c.TLS {
				with = &b.secured
			}
			s = k.start(t, newDir(t), with)
		} else {
			s = b.full(t, k, c.TLS)
		}
		s = s.as(c.Who)
		contenders = append(contenders, contender{k.name, func(round int) reading { return b.turn(t, c, s, round, long) }})
	}
	if c.Bare {
		dir := newDir(t)
		contenders = append(contenders, contender{bareName, func(int) reading { return bare(t, dir, c.Size, long, turnVolume) }})
	}
	for _, o := range c.Beside {
		s, other := b.besideOf(t, o), c
		if o.hits > 0 {
			other.Load, other.Size = hits, o.hits
		}
		contenders = append(contenders, contender{o.name, func(round int) reading { return b.turn(t, other, s, round, long) }})
	}
	for _, each := range contenders { // the first turn is for warming up
		each.turn(-1)
	}
	for round := range options.rounds {
		for i := range contenders {
			each := contenders[(i+round)%len(contenders)]
			result.Readings[each.name] = append(result.Readings[each.name], each.turn(round))
		}
	}
	want := map[string]float64{misses: 1, mixed: mixMisses}[c.Load]
	for _, name := range result.names() {
		readings := result.Readings[name]
		for _, reading := range readings {
			// Uploads may be refused when there are too many at once; the page says how many were.
			if c.Load != uploads && math.Abs(reading.Failed-want) > 0.01+want/5 {
				t.Errorf("%s: %.1f%% of the requests were not answered with 2xx, want %.1f%%", name, 100*reading.Failed, 100*want)
			}
		}
	}
}

func (b *bench) turn(t *testing.T, c cell, s *server, round int, long time.Duration) reading {
	t.Helper()
	if round < 0 {
		long = min(long, 300*time.Millisecond)
	}
	b.turns++
	first := firstUpload + b.turns*perTurn
	if c.Load == uploads {
		return s.send(t, upload{size: c.Size, connections: c.Connections, first: first, volume: turnVolume}, long)
	}
	p := plan{connections: c.Connections, close: c.Close, size: c.Size, first: first}
	switch c.Load {
	case hits:
		for i := range c.Size.pool() {
			p.steps = append(p.steps, step{get: entry(c.Size, i)})
		}
	case misses:
		for i := range 1000 {
			p.steps = append(p.steps, step{get: firstMiss + uint64(i)})
		}
	case mixed:
		p.steps = mixOf(b.files)
	}
	return s.wrk(t, p, long)
}
