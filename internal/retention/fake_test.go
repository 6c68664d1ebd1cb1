package retention_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/retention"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a store and a ledger in memory. The ledger's orders are those of *ledger.Ledger, whose tests hold it to the same.
type world struct {
	mu       sync.Mutex
	now      time.Time
	entries  []retention.Entry // what the ledger knows
	stored   map[cache.Key]string
	scopes   map[string]int64
	ids      int64
	settings map[string][]byte
	holder   string
	errs     map[cache.Key]error // of deletions
	err      error               // of the ledger
	deleted  []cache.Key
}

var begin = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld() *world {
	return &world{now: begin, stored: map[cache.Key]string{}, scopes: map[string]int64{}, settings: map[string][]byte{}, errs: map[cache.Key]error{}}
}

func (w *world) clock() time.Time { return w.now }

func key(scope, hash string) cache.Key {
	return cache.Key{Workspace: "web", Scope: cache.Scope(scope), Hash: cache.Hash(hash)}
}

// fail makes the ledger fail from now on, or not.
func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// put stores an entry, unless there is one.
func (w *world) put(k cache.Key, size int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.stored[k]; ok {
		return false
	}
	w.ids++
	w.stored[k] = fmt.Sprint("seal", w.ids)
	w.entries = append(w.entries, retention.Entry{ID: w.ids, Key: k, Size: size, Created: w.now, Used: w.now.Truncate(time.Second), Seal: w.stored[k]})
	return true
}

// read notes a use as servers do: only if what is noted is older than the granularity.
func (w *world) read(k cache.Key) {
	for i := range w.entries {
		if e := &w.entries[i]; e.Key == k && e.Used.Before(w.now.Add(-retention.Granularity)) {
			e.Used = w.now.Truncate(time.Second)
		}
	}
}

func (w *world) has(k cache.Key) bool { _, ok := w.stored[k]; return ok }

func (w *world) scopeID(k cache.Key) int64 {
	name := string(k.Workspace) + " " + string(k.Scope)
	if w.scopes[name] == 0 {
		w.scopes[name] = int64(len(w.scopes) + 1)
	}
	return w.scopes[name]
}

func (w *world) Held(_ context.Context, after int64, limit int) ([]retention.Scope, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	byID := map[int64]*retention.Scope{}
	for _, e := range w.entries {
		id := w.scopeID(e.Key)
		if byID[id] == nil {
			byID[id] = &retention.Scope{ID: id, Workspace: e.Key.Workspace, Scope: e.Key.Scope}
		}
		byID[id].Entries++
		byID[id].Bytes += e.Size
	}
	var all []retention.Scope
	for id, s := range byID {
		if id > after {
			all = append(all, *s)
		}
	}
	slices.SortFunc(all, func(a, b retention.Scope) int { return cmp.Compare(a.ID, b.ID) })
	return all[:min(limit, len(all))], w.err
}

func compareBy(order retention.Order) func(a, b retention.Entry) int {
	return func(a, b retention.Entry) int {
		if order == retention.ByAge {
			return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
		}
		return cmp.Or(a.Used.Compare(b.Used), cmp.Compare(a.Size, b.Size), cmp.Compare(a.ID, b.ID))
	}
}

func (w *world) Coldest(_ context.Context, q retention.Query) (all []retention.Entry, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	compare := compareBy(q.Order)
	for _, e := range w.entries {
		at := e.Used
		if q.Order == retention.ByAge {
			at = e.Created
		}
		if w.scopeID(e.Key) == q.Scope && at.Before(q.Before) && (q.After == nil || compare(e, *q.After) > 0) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, compare)
	return all[:min(q.Limit, len(all))], w.err
}

func (w *world) ForgetByID(ctx context.Context, ids []int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries = slices.DeleteFunc(w.entries, func(e retention.Entry) bool { return slices.Contains(ids, e.ID) })
	return errors.Join(w.err, ctx.Err())
}

func (w *world) Lease(_ context.Context, _, holder string, _ time.Duration) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holder == "" || w.holder == holder {
		w.holder = holder
		return w.err == nil, w.err
	}
	return false, w.err
}

func (w *world) EndLease(_ context.Context, _, holder string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holder == holder {
		w.holder = ""
	}
	return nil
}

func (w *world) Setting(_ context.Context, name string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settings[name], w.err
}

func (w *world) SetSetting(_ context.Context, name string, value []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settings[name] = value
	return w.err
}

func (w *world) DeleteExactly(ctx context.Context, entries []cache.Entry) []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := make([]error, len(entries))
	for i, e := range entries {
		seal, ok := w.stored[e.Key]
		switch {
		case ctx.Err() != nil:
			errs[i] = ctx.Err()
		case w.errs[e.Key] != nil:
			errs[i] = w.errs[e.Key]
		case !ok:
			errs[i] = cache.ErrNotExist
		case seal != e.Record.Seal:
			errs[i] = cache.ErrOther
		default:
			delete(w.stored, e.Key)
			w.deleted = append(w.deleted, e.Key)
		}
	}
	return errs
}

func (w *world) runner(limits retention.Limits, disk retention.Disk) *retention.Runner {
	return retention.New(retention.Options{Ledger: w, Store: w, Limits: func(cache.Workspace) retention.Limits { return limits }, Disk: disk, Now: w.clock})
}

// look looks, and fails unless the ledger and the store agree afterwards.
func (w *world) look(t testingT, limits retention.Limits, disk retention.Disk) retention.Report {
	t.Helper()
	report, err := w.runner(limits, disk).Look(context.Background(), retention.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if w.holder != "" {
		t.Fatalf("the lease is still held")
	}
	return report
}

// begun is a world in which somebody looked long ago, and every other day since, so that all uses count.
func begun(t testingT) *world {
	w := newWorld()
	w.pass(t, 24*time.Hour)
	return w
}

// pass lets time go by, with a look at no bounds every day.
func (w *world) pass(t testingT, d time.Duration) {
	t.Helper()
	for d > 24*time.Hour {
		w.now = w.now.Add(24 * time.Hour)
		d -= 24 * time.Hour
		w.look(t, retention.Limits{}, retention.Disk{})
	}
	w.now = w.now.Add(d)
	w.look(t, retention.Limits{}, retention.Disk{})
}

// left are the keys of a scope that are stored, in order.
func (w *world) left(scope string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for k := range w.stored {
		if string(k.Scope) == scope {
			all = append(all, string(k.Hash))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

type testingT interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}
