package spool

import (
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// onDisk and inMemory make local stores; the disk takes its time.
func onDisk(t *testing.T) Local { return local(t, t.TempDir()) }
func inMemory(*testing.T) Local { return mem.New() }

// TestContract runs the suite where all promises hold among all servers: an upload waits for the remote store, for ever or for longer than the
// remote store ever takes here. Each handle is a server with a directory of its own.
func TestContract(t *testing.T) {
	for _, c := range []struct {
		name  string
		wait  time.Duration
		local func(t *testing.T) Local
		dress func(*remote) Remote
	}{
		{"for ever", Forever, onDisk, func(r *remote) Remote { return quick{r} }},
		{"for ever, without Has", Forever, inMemory, func(r *remote) Remote { return r }},
		{"an hour", time.Hour, onDisk, func(r *remote) Remote { return quick{r} }},
		{"an hour, without Has", time.Hour, inMemory, func(r *remote) Remote { return r }},
	} {
		t.Run(c.name, func(t *testing.T) {
			storetest.Run(t,
				func(t *testing.T) cache.Store {
					return open(t, c.dress(newRemote()), c.local(t), Options{Wait: c.wait})
				},
				storetest.SecondHandle(func(t *testing.T, first cache.Store) cache.Store {
					return open(t, first.(*Store).remote, c.local(t), Options{Wait: c.wait})
				}),
				storetest.Abilities(),
			)
		})
	}
}

// TestContractOfOneServer runs the suite with servers that acknowledge before the remote store has an entry, most while it takes nothing, so that all
// entries are pending: the promises hold among the users of one server. There is no second handle, because another server does not see what is
// pending.
func TestContractOfOneServer(t *testing.T) {
	for _, c := range []struct {
		name    string
		put     putFunc
		local   func(t *testing.T) Local
		options Options
	}{
		{"not waiting", hang, onDisk, Options{Wait: 0}},
		{"not waiting for a remote store that answers", nil, inMemory, Options{Wait: 0}},
		{"waiting", hang, inMemory, Options{Wait: time.Millisecond}},
		{"waiting for an answer", fail, inMemory, Options{Wait: time.Hour}},
		{"waiting, with one worker", hang, inMemory, Options{Wait: time.Millisecond, Workers: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) cache.Store {
				r := newRemote()
				r.put = c.put
				return open(t, quick{r}, c.local(t), c.options)
			}, storetest.Abilities())
		})
	}
}
