package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// world is two servers over one remote store, and what they have said.
type world struct {
	remote  *remote
	locals  [2]*mem.Store
	servers [2]*Store
	waits   [2]time.Duration
	// acknowledged are the bodies for each key and server since the key was last deleted.
	acknowledged map[cache.Key]*[2][][]byte
	n            int
}

func (w *world) start(t *rapid.T, i int) {
	s, err := Open(quick{w.remote}, w.locals[i], Options{
		Wait: w.waits[i], Stall: 10 * time.Second, Workers: 2, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.servers[i] = s
}

func (w *world) stop(t *rapid.T, i int, drain time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	if err := w.servers[i].Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// serves fails unless the server has an entry that was acknowledged if it acknowledged one, and none if nobody did.
func (w *world) serves(t *rapid.T, i int, key cache.Key) []byte {
	_, got, err := storetest.Get(context.Background(), w.servers[i], key)
	said := w.acknowledged[key]
	if errors.Is(err, cache.ErrNotExist) {
		if said != nil && len(said[i]) > 0 {
			t.Fatalf("server %d does not have %s, which it acknowledged", i, key)
		}
		return nil
	}
	if err != nil {
		t.Fatalf("server %d: get %s: %v", i, key, err)
	}
	for _, bodies := range said {
		for _, body := range bodies {
			if bytes.Equal(body, got) {
				return got
			}
		}
	}
	t.Fatalf("server %d serves %q for %s, which nobody acknowledged", i, got, key)
	return nil
}

// TestReplicas holds two servers that do not wait, or not long, to what is promised then: each acknowledges at most one upload of a key,
// serves it or the one that was first, and when the queues are empty both serve the same.
func TestReplicas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { rapid.SyncTest(t, replicas) })
}

func replicas(t *rapid.T) {
	w := &world{remote: newRemote(), acknowledged: make(map[cache.Key]*[2][][]byte)}
	// A put may also work and not say so.
	mute := func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
		if err := w.remote.write(ctx, entry, body); err != nil {
			return err
		}
		return errDown
	}
	for i := range w.servers {
		w.waits[i] = rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(t, "wait")
		w.locals[i] = mem.New()
		w.start(t, i)
	}
	defer func() { w.stop(t, 0, 0); w.stop(t, 1, 0) }()
	server := rapid.IntRange(0, 1)
	hash := rapid.IntRange(0, 2)
	draw := func() (int, cache.Key) {
		return server.Draw(t, "server"), storetest.Key(fmt.Sprint(hash.Draw(t, "key")))
	}
	t.Repeat(map[string]func(*rapid.T){
		"put": func(t *rapid.T) {
			i, key := draw()
			w.n++
			body := fmt.Appendf(nil, "body %d of server %d", w.n, i)
			switch err := storetest.Put(context.Background(), w.servers[i], key, body); {
			case err == nil:
				if w.acknowledged[key] == nil {
					w.acknowledged[key] = new([2][][]byte)
				}
				said := &w.acknowledged[key][i]
				if *said = append(*said, body); len(*said) > 1 {
					t.Fatalf("server %d acknowledged %d uploads of %s", i, len(*said), key)
				}
			case !errors.Is(err, cache.ErrExist):
				t.Fatalf("put: %v", err)
			case w.acknowledged[key] == nil:
				t.Fatalf("server %d says that %s exists, which nobody acknowledged", i, key)
			}
		},
		"get": func(t *rapid.T) {
			i, key := draw()
			w.serves(t, i, key)
		},
		"delete": func(t *rapid.T) {
			// By both, as each has a queue of its own. The second time there may be nothing.
			_, key := draw()
			for i, s := range w.servers {
				if err := s.Delete(context.Background(), key); err != nil && !errors.Is(err, cache.ErrNotExist) {
					t.Fatalf("server %d: delete: %v", i, err)
				}
			}
			if w.acknowledged[key] = nil; len(keysOf(w.remote)) > 3 {
				t.Fatal("keys that nobody put")
			}
			for i := range w.servers {
				w.serves(t, i, key)
			}
		},
		"restart": func(t *rapid.T) {
			i := server.Draw(t, "server")
			w.stop(t, i, time.Duration(rapid.IntRange(0, 5).Draw(t, "drain"))*time.Second)
			w.start(t, i)
		},
		"remote": func(t *rapid.T) {
			w.remote.set(map[string]putFunc{
				"up": nil, "slow": slow(w.remote, 3*time.Second), "down": fail, "hangs": hang, "mute": mute,
			}[rapid.SampledFrom([]string{"up", "slow", "down", "hangs", "mute"}).Draw(t, "remote is")], nil)
		},
		"time": func(t *rapid.T) {
			pass(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "ms")) * time.Millisecond)
		},
	})
	w.remote.set(nil, nil)
	pass(5 * time.Minute)
	for i, s := range w.servers {
		if len(s.items) != 0 || s.used.Load() != 0 {
			t.Errorf("server %d has %d items and %d bytes left", i, len(s.items), s.used.Load())
		}
	}
	for i := range 3 {
		key := storetest.Key(fmt.Sprint(i))
		if a, b := w.serves(t, 0, key), w.serves(t, 1, key); !bytes.Equal(a, b) {
			t.Errorf("the servers serve %q and %q", a, b)
		}
	}
}

func keysOf(r *remote) (found []cache.Key) {
	for entry := range r.List(context.Background(), "") {
		found = append(found, entry.Key)
	}
	return found
}
