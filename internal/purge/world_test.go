package purge_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/purge"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

var keys = keyring.New([32]byte{31: 1}).Derive("seal")

// world is a ledger and a directory, which two servers share.
type world struct {
	t       *testing.T
	ledger  *ledger.Ledger
	dir     *fs.Store
	faults  *faults
	servers [2]server
	mu      sync.Mutex
	now     time.Time
}

// server is one that has not polled since the last refresh.
type server struct {
	*purge.Keeper
	store cache.Store
}

// faults is a place in which moving entries fails, for some of them.
type faults struct {
	cache.Quarantiner
	fails func(what string, key cache.Key) error // nil: never
}

func (f *faults) try(what string, key cache.Key) error {
	if f.fails == nil {
		return nil
	}
	return f.fails(what, key)
}

func (f *faults) Quarantine(ctx context.Context, name string, e cache.Entry) error {
	if err := f.try("quarantine", e.Key); err != nil {
		return err
	}
	err := f.Quarantiner.Quarantine(ctx, name, e)
	return errors.Join(err, f.try("quarantined", e.Key))
}

func (f *faults) Restore(ctx context.Context, name string, e cache.Entry) error {
	err := f.Quarantiner.Restore(ctx, name, e)
	return errors.Join(err, f.try("restored", e.Key))
}

// database opens an empty ledger.
type database struct {
	name string
	open func(t *testing.T) (*ledger.Ledger, error)
}

// onEvery runs a test over a ledger in every database: in SQLite always, in PostgreSQL with the tag e2e.
func onEvery(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	sqlite := database{"SQLite", func(t *testing.T) (*ledger.Ledger, error) { return ledger.Open(t.Context(), t.TempDir()) }}
	for _, db := range append([]database{sqlite}, moreDatabases...) {
		t.Run(db.name, func(t *testing.T) { test(t, newWorld(t, db)) })
	}
}

func newWorld(t *testing.T, db database) *world {
	t.Helper()
	w := &world{t: t, now: noon.Add(time.Hour)}
	var err error
	if w.ledger, err = db.open(t); err != nil {
		t.Fatal(err)
	}
	if w.dir, err = fs.Open(t.TempDir(), fs.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.dir.Close(), w.ledger.Close()); err != nil {
			t.Error(err)
		}
	})
	w.faults = &faults{Quarantiner: w.dir}
	for i := range w.servers {
		rules, err := purge.LoadRules(t.Context(), w.ledger, slog.New(slog.DiscardHandler), nil, w.clock)
		if err != nil {
			t.Fatal(err)
		}
		keeper := purge.NewKeeper(rules, w.engine(fmt.Sprint("server ", i)), slog.New(slog.DiscardHandler))
		w.servers[i] = server{keeper, seal.New(w.dir, keys, seal.Options{Purges: keeper})}
	}
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) engine(holder string) *purge.Engine {
	return purge.NewEngine(w.ledger, w.faults, holder, purge.NewMetrics(nil), w.clock)
}

// put stores what a token makes, and notes it in the ledger if it is known there.
func (w *world) put(hash, token string, known bool) cache.Entry {
	w.t.Helper()
	body := []byte("of " + token)
	draft, err := w.servers[0].store.Create(w.t.Context(), storetest.Key(hash))
	if err != nil {
		w.t.Fatalf("put %s: %v", hash, err)
	}
	defer draft.Abort()
	if _, err := draft.Write(body); err != nil {
		w.t.Fatal(err)
	}
	record := storetest.Record(body)
	record.Created, record.Producer, record.Seal = w.clock().Add(-time.Minute), cache.Producer{Kind: "token", TokenID: token}, ""
	if err := draft.Commit(w.t.Context(), record); err != nil {
		w.t.Fatalf("put %s: %v", hash, err)
	}
	obj, err := w.dir.Open(w.t.Context(), storetest.Key(hash))
	if err != nil {
		w.t.Fatal(err)
	}
	obj.Close()
	entry := cache.Entry{Key: storetest.Key(hash), Record: obj.Record}
	if known {
		w.must(w.ledger.RecordEntries(w.t.Context(), []cache.Entry{entry}))
	}
	return entry
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) refresh() {
	w.t.Helper()
	for _, s := range w.servers {
		w.must(s.Refresh(w.t.Context()))
	}
}

// want asks both servers for hashes: each is "hash" for a hit and "-hash" for a miss.
func (w *world) want(what string, hashes ...string) {
	w.t.Helper()
	for i, s := range w.servers {
		for _, hash := range hashes {
			miss := hash[0] == '-'
			if miss {
				hash = hash[1:]
			}
			_, _, err := storetest.Get(w.t.Context(), s.store, storetest.Key(hash))
			if miss != errors.Is(err, cache.ErrNotExist) || !miss && err != nil {
				w.t.Errorf("%s: server %d has under %s: %v", what, i, hash, err)
			}
		}
	}
}

// counts wants so many entries of a purge in states.
func (w *world) counts(id string, want map[ledger.PurgedState]int64) {
	w.t.Helper()
	s, err := purge.Summarize(w.t.Context(), w.ledger, id)
	w.must(err)
	for state := range s.Counts {
		if s.Counts[state].Entries != want[state] {
			w.t.Errorf("%d are %s, want %v", s.Counts[state].Entries, state, want)
		}
	}
	for state, n := range want {
		if s.Counts[state].Entries != n {
			w.t.Errorf("%d are %s, want %d", s.Counts[state].Entries, state, n)
		}
	}
}

func (w *world) state(id string, want ledger.PurgeState) {
	w.t.Helper()
	if p, err := w.ledger.FindPurge(w.t.Context(), id); err != nil || p.State != want {
		w.t.Errorf("the purge is %q, %v, want %q", p.State, err, want)
	}
}

func (w *world) known() int {
	w.t.Helper()
	entries, _, err := w.ledger.Entries(w.t.Context(), ledger.Filter{}, "", 1000)
	w.must(err)
	return len(entries)
}
