//go:build bench

package peers_test

import (
	"fmt"
	"testing"
)

// beside is bezoar once more in the same cell, with something else about it, so that the two can be compared round by round.
type beside struct {
	name string
	who  string // asks
	hits size   // is asked for what is there, of that size; zero: the cell's own load
	env  string // setting of a server of its own
}

var (
	besideToken   = beside{name: "a static token"}
	besideMain    = beside{name: "main's session", who: sessionOfMain}
	besideHit     = beside{name: "a hit of 300 B", hits: b300}
	besideDiskHit = beside{name: "a hit of 300 B with memory-cache 0", hits: b300, env: "BEZOAR_MEMORY_CACHE=0"}
)

// besideOf returns the server that is asked.
func (b *bench) besideOf(t *testing.T, o beside) *server {
	t.Helper()
	k := kind{name: "bezoar", start: startBezoar(b.binary)}
	if o.env == "" {
		return b.full(t, k, false).as(o.who)
	}
	s := startBezoar(b.binary.With(o.env))(t, newDir(t), nil)
	for i, body := range bodies(o.hits) {
		s.fill(t, entry(o.hits, i), body)
	}
	return s
}

// besides say what the comparisons came to.
func (c cellResult) besides() (notes string) {
	for _, o := range c.Cell.Beside {
		notes += fmt.Sprintf("%s: beside %s, requests %v, CPU %v.\n\n", c.Cell.name(), o.name, c.ratio("bezoar", o.name, perSecond), c.ratio("bezoar", o.name, cpuOf))
	}
	return notes
}
