//go:build bench

package peers_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// What a cell's load is.
const (
	hits    = "GET hit"
	misses  = "GET miss"
	uploads = "PUT"
	mixed   = "mix"
)

// cell is one load that is put on servers in turns.
type cell struct {
	Load        string `json:"load"`
	Size        size   `json:"size,omitempty"`
	Connections int    `json:"connections"`
	Close       bool   `json:"close,omitempty"`
	TLS         bool   `json:"tls,omitempty"`
	// Who asks bezoar: empty for a static token that is trusted.
	Who string `json:"who,omitempty"`
	// All has all servers take part, not only bezoar and nginx.
	All bool `json:"all,omitempty"`
	// Bare has the bare loop take part.
	Bare bool `json:"bare,omitempty"`
	// Beside is what else bezoar is compared with.
	Beside []beside `json:"-"`
	// Table is where the page has it.
	Table string `json:"table"`
}

func (c cell) name() string {
	name := c.Load
	if c.Size > 0 {
		name += " " + c.Size.String()
	}
	name += ", " + c.atOnce()
	if c.Close {
		name += ", a new one each"
	}
	if c.TLS {
		name += ", TLS"
	}
	if c.Who != "" {
		name += ", " + c.Who
	}
	return name
}

func (c cell) atOnce() string {
	if c.Connections == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", c.Connections)
}

// The tables of the page, in order.
const (
	tableHits        = "Downloads"
	tableMisses      = "Misses"
	tableUploads     = "Uploads"
	tableMix         = "As a CI mixes it"
	tableConnections = "One connection, and many"
	tableNew         = "A new connection for each request"
	tableTLS         = "TLS"
	tableWho         = "Who asks"
)

var tables = []string{tableHits, tableMisses, tableUploads, tableMix, tableConnections, tableNew, tableTLS, tableWho}

// atOnce is how many connections there are where nothing else is said; fewer for what would fill the memory.
func atOnce(s size) int {
	if s >= mb64 {
		return 4
	}
	return 64
}

// cells are all loads: every size in the usual form, and each other dimension at 1 KB and 64 KB. The short form has one of each kind.
func cells() (all []cell) {
	inSizes, upSizes, few := sizes, sizes, []size{kb1, kb64}
	if testing.Short() {
		inSizes, upSizes, few = []size{kb1, kb64, mb1}, []size{kb1, kb500}, []size{kb1}
	}
	for _, s := range inSizes {
		all = append(all, cell{Load: hits, Size: s, Connections: atOnce(s), All: true, Table: tableHits})
	}
	all = append(all, cell{Load: misses, Connections: 64, All: true, Beside: []beside{besideHit, besideDiskHit}, Table: tableMisses})
	for _, s := range upSizes {
		all = append(all, cell{Load: uploads, Size: s, Connections: atOnce(s), All: true, Bare: s >= kb12, Table: tableUploads})
	}
	all = append(all, cell{Load: mixed, Connections: 64, All: true, Table: tableMix})
	for _, s := range few {
		counts := []int{1, 16, 512}
		if testing.Short() {
			counts = []int{1}
		}
		for _, n := range counts {
			all = append(all, cell{Load: hits, Size: s, Connections: n, Table: tableConnections})
		}
		if !testing.Short() {
			for _, n := range counts {
				all = append(all, cell{Load: uploads, Size: s, Connections: n, Table: tableConnections})
			}
		}
		all = append(all,
			cell{Load: hits, Size: s, Connections: 64, Close: true, Table: tableNew},
			cell{Load: hits, Size: s, Connections: 64, TLS: true, Table: tableTLS},
			cell{Load: hits, Size: s, Connections: 64, Who: sessionOfMain, Beside: []beside{besideToken}, Table: tableWho},
			cell{Load: hits, Size: s, Connections: 64, Who: sessionOfPull, Beside: []beside{besideMain}, Table: tableWho})
		if !testing.Short() {
			all = append(all, cell{Load: hits, Size: s, Connections: 64, TLS: true, Close: true, Table: tableTLS})
			all = append(all, cell{Load: uploads, Size: s, Connections: 64, TLS: true, Table: tableTLS})
		}
	}
	all = append(all, cell{Load: misses, Connections: 64, Who: sessionOfPull, Table: tableWho})
	if !testing.Short() {
		for _, n := range []int{1, 512} {
			all = append(all, cell{Load: misses, Connections: n, Table: tableConnections})
		}
		all = append(all, cell{Load: mixed, Connections: 64, Who: sessionOfPull, Table: tableWho})
	}
	return all
}

// The numbers of entries: those that are there, by size, those that nobody has, and those that are stored, from this on.
const (
	firstMiss   = 9_000_000_000
	firstUpload = 100_000_000_000
	perTurn     = 10_000_000
)

func entry(s size, i int) uint64 { return uint64(s)*1000 + uint64(i) }

// mixOf is what a CI of a monorepo asks in a hundred requests: nine of ten are for small artifacts that are there, some for large ones, some for what nobody has, which
// is then stored.
func mixOf(files map[size][]string) (steps []step) {
	for s, count := range map[size]int{b300: 20, kb1: 40, kb12: 21, kb64: 6, kb500: 2, mb1: 1} {
		for i := range count {
			steps = append(steps, step{get: entry(s, i%s.pool())})
		}
	}
	for i := range 5 {
		steps = append(steps, step{get: firstMiss + uint64(i)})
	}
	for s, count := range map[size]int{kb1: 3, kb12: 2} {
		for i := range count {
			steps = append(steps, step{file: files[s][i]})
		}
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	return steps
}

// mixMisses is the part of the mix that nobody has.
const mixMisses = 0.05
