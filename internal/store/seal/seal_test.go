package seal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/metrics"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ring returns the keys of a ring of secrets that end in these numbers.
func ring(secrets ...byte) keyring.Keys {
	all := make([][32]byte, len(secrets))
	for i, n := range secrets {
		all[i] = [32]byte{31: n}
	}
	return keyring.New(all...).Derive("seal")
}

// asGiven is a sealed store for the contract suite, which wants records back as it gave them: it shows the suite's own seal in place
// of each good one.
type asGiven struct {
	cache.Store
	cache.Marker
	keys keyring.Keys
}

func contract(inner cache.Store) cache.Store {
	keys := ring(1)
	sealed := seal.New(inner, keys, seal.Options{})
	return asGiven{sealed, sealed.(cache.Marker), keys}
}

func (a asGiven) entry(e cache.Entry) (cache.Entry, error) {
	err := seal.Verify(a.keys, e.Key, e.Record)
	e.Record.Seal, e.Record.Created = storetest.Record(nil).Seal, storetest.Record(nil).Created // see distinct
	return e, err
}

func (a asGiven) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := a.Store.Open(ctx, key)
	if err == nil {
		obj.Entry, err = a.entry(obj.Entry)
	}
	return obj, err
}

func (a asGiven) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		for entry, err := range a.Store.List(ctx, workspace) {
			if err == nil {
				entry, err = a.entry(entry)
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}

func openFS(t *testing.T, dir string) *fs.Store {
	t.Helper()
	s, err := fs.Open(dir, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestContractOverFS(t *testing.T) {
	dirs := make(map[cache.Store]string)
	open := func(t *testing.T, dir string) cache.Store {
		s := contract(openFS(t, dir))
		dirs[s.(asGiven).Store] = dir
		return s
	}
	storetest.Run(t,
		func(t *testing.T) cache.Store { return open(t, t.TempDir()) },
		storetest.SecondHandle(func(t *testing.T, first cache.Store) cache.Store { return open(t, dirs[first.(asGiven).Store]) }),
		storetest.Abilities(),
	)
}

func TestContractOverMem(t *testing.T) {
	storetest.Run(t, func(*testing.T) cache.Store { return contract(mem.New()) }, storetest.Abilities())
}

// TestContractOverMetrics also has the ability to keep notes pass through both.
func TestContractOverMetrics(t *testing.T) {
	storetest.Run(t, func(*testing.T) cache.Store { return contract(metrics.New(mem.New(), prometheus.NewRegistry())) }, storetest.Abilities())
}

// bare hides all abilities of a store.
type bare struct{ cache.Store }

func (b bare) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := b.Store.Open(ctx, key)
	if err == nil {
		obj.SetAside = nil
	}
	return obj, err
}

// TestWithoutAbilities: where nothing can be set aside, it is deleted; where no notes are kept, there is nothing to claim.
func TestWithoutAbilities(t *testing.T) {
	inner := mem.New()
	sealed := seal.New(bare{inner}, ring(1), seal.Options{})
	if _, ok := sealed.(cache.Marker); ok {
		t.Error("it has notes that its inner store cannot keep")
	}
	if err := seal.Claim(t.Context(), sealed, ring(1)); err != nil {
		t.Errorf("claim: %v", err)
	}
	key := storetest.Key("1")
	for _, other := range []cache.Store{inner, seal.New(inner, ring(2), seal.Options{})} {
		if err := storetest.Put(t.Context(), other, key, []byte("body")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := storetest.Get(t.Context(), sealed, key); !errors.Is(err, cache.ErrDamaged) {
			t.Errorf("got %v, want ErrDamaged", err)
		}
		if _, _, err := storetest.Get(t.Context(), inner, key); !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("in the inner store: got %v, want ErrNotExist", err)
		}
	}
}

// opener opens one object.
type opener struct {
	cache.Store
	object *cache.Object
}

func (o opener) Open(context.Context, cache.Key) (*cache.Object, error) { return o.object, nil }

// TestObjectIsTheStores keeps a wrapper from hiding what lets the kernel send the bytes.
func TestObjectIsTheStores(t *testing.T) {
	inner := mem.New()
	if err := storetest.Put(t.Context(), seal.New(inner, ring(1), seal.Options{}), storetest.Key("1"), []byte("body")); err != nil {
		t.Fatal(err)
	}
	object, err := inner.Open(t.Context(), storetest.Key("1"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := seal.New(opener{object: object}, ring(1), seal.Options{}).Open(t.Context(), storetest.Key("1"))
	if err != nil || got != object {
		t.Errorf("got %v, %v, want the very object of the store", got, err)
	}
}

func TestRotation(t *testing.T) {
	inner := mem.New()
	key := storetest.Key("1")
	if err := storetest.Put(t.Context(), seal.New(inner, ring(1), seal.Options{}), key, []byte("old")); err != nil {
		t.Fatal(err)
	}
	overlap := seal.New(inner, ring(2, 1), seal.Options{})
	if _, body, err := storetest.Get(t.Context(), overlap, key); err != nil || string(body) != "old" {
		t.Errorf("got %q, %v", body, err)
	}
	if err := storetest.Put(t.Context(), overlap, storetest.Key("2"), []byte("new")); err != nil {
		t.Fatal(err)
	}
	entry, _, err := storetest.Get(t.Context(), inner, storetest.Key("2"))
	if err != nil || seal.KeyID(entry.Record.Seal) != ring(2)[0].ID {
		t.Errorf("the new entry is sealed %q, %v", entry.Record.Seal, err)
	}
	after := seal.New(inner, ring(2), seal.Options{})
	if _, body, err := storetest.Get(t.Context(), after, storetest.Key("2")); err != nil || string(body) != "new" {
		t.Errorf("got %q, %v", body, err)
	}
	if _, _, err := storetest.Get(t.Context(), after, key); !errors.Is(err, cache.ErrDamaged) {
		t.Errorf("what the key that was removed sealed: got %v, want ErrDamaged", err)
	}
}

// TestLaterRelease: a newer server beside an older one loses nothing.
func TestLaterRelease(t *testing.T) {
	inner := mem.New()
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	sealed := seal.New(inner, ring(1), seal.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: reg})
	for i := range 3 {
		key := storetest.Key(fmt.Sprint(i))
		plant(t, inner, key, []byte("body"), func(r *cache.Record) { r.Seal = "v2.0123456789ab.x" })
		if _, err := sealed.Open(t.Context(), key); !errors.Is(err, cache.ErrNotExist) || !errors.Is(err, seal.ErrLater) {
			t.Errorf("open: got %v", err)
		}
		if _, err := sealed.Create(t.Context(), key); !errors.Is(err, cache.ErrExist) {
			t.Errorf("create: got %v, want ErrExist", err)
		}
	}
	listed := 0
	for entry, err := range sealed.List(t.Context(), "") {
		if err != nil || entry.Record.Seal == "" {
			t.Errorf("list: got %v, %v", entry, err)
		}
		listed++
	}
	if listed != 3 || len(inner.Aside()) != 0 {
		t.Errorf("%d are listed, %d were set aside", listed, len(inner.Aside()))
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("the log has %d lines: %s", n, &log)
	}
	if got := counts(t, reg); got["later_release"] != 6 || got["broken"] != 0 {
		t.Errorf("counted %v", got)
	}
}

// TestListShowsBadSeals: an operator sees what is there, and retention can delete it.
func TestListShowsBadSeals(t *testing.T) {
	inner := mem.New()
	keys := ring(1)
	sealed := seal.New(inner, keys, seal.Options{})
	if err := storetest.Put(t.Context(), sealed, storetest.Key("good"), []byte("body")); err != nil {
		t.Fatal(err)
	}
	if err := storetest.Put(t.Context(), seal.New(inner, ring(2), seal.Options{}), storetest.Key("unknown"), []byte("body")); err != nil {
		t.Fatal(err)
	}
	plant(t, inner, storetest.Key("missing"), []byte("body"), func(r *cache.Record) { r.Seal = "" })
	plant(t, inner, storetest.Key("broken"), []byte("body"), func(r *cache.Record) { r.Seal = "v1." + keys[0].ID + ".x" })
	want := map[cache.Hash]error{"good": nil, "missing": seal.ErrMissing, "broken": seal.ErrBroken, "unknown": seal.ErrUnknownKey}
	for entry, err := range sealed.List(t.Context(), "") {
		flaw, ok := want[entry.Key.Hash]
		if !ok || !errors.Is(err, flaw) {
			t.Errorf("%q: got %v, want %v", entry.Key, err, flaw)
		}
		if err != nil {
			if err := sealed.Delete(t.Context(), entry.Key); err != nil {
				t.Error(err)
			}
		}
		delete(want, entry.Key.Hash)
	}
	if len(want) != 0 {
		t.Errorf("%v are not listed", want)
	}
	if len(inner.Aside()) != 0 {
		t.Error("listing set something aside")
	}
	for entry, err := range sealed.List(t.Context(), "") {
		if entry.Key.Hash != "good" || err != nil {
			t.Errorf("after the deletion: %v, %v", entry, err)
		}
	}
}

// TestUpgrade has many entries without a seal: all are misses, all are counted, few are logged.
func TestUpgrade(t *testing.T) {
	inner := mem.New()
	var log bytes.Buffer
	now := time.Unix(0, 0)
	reg := prometheus.NewRegistry()
	sealed := seal.New(inner, ring(1), seal.Options{
		Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: reg, Now: func() time.Time { return now },
	})
	const entries = 1000
	for i := range entries {
		plant(t, inner, storetest.Key(fmt.Sprint(i)), []byte("body"), func(r *cache.Record) { r.Seal = "" })
	}
	for i := range entries {
		if i == entries/2 {
			now = now.Add(time.Minute)
		}
		key := storetest.Key(fmt.Sprint(i))
		if _, err := sealed.Open(t.Context(), key); !errors.Is(err, cache.ErrDamaged) {
			t.Fatalf("got %v, want ErrDamaged", err)
		}
		if err := storetest.Put(t.Context(), sealed, key, []byte("anew")); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 20 {
		t.Errorf("the log has %d lines, want 10 a minute", n)
	}
	if !strings.Contains(log.String(), "more_since_the_last_line=490") {
		t.Errorf("the log does not tell how much it leaves out: %s", &log)
	}
	if diff := cmp.Diff(map[string]float64{"missing": entries, "broken": 0, "unknown_key": 0, "rolled_back": 0, "later_release": 0}, counts(t, reg)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	// The flood does not hide an attack.
	log.Reset()
	plant(t, inner, storetest.Key("x"), []byte("body"), func(r *cache.Record) { r.Seal = "nonsense" })
	if _, err := sealed.Open(t.Context(), storetest.Key("x")); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), `key="default trusted x"`) || !strings.Contains(log.String(), "reason=broken") {
		t.Errorf("the log says %s", &log)
	}
}

// TestUnsealedGivesWay: what has no good seal is no entry that an upload has to yield to, even if nobody asked for it before.
func TestUnsealedGivesWay(t *testing.T) {
	inner := mem.New()
	sealed := seal.New(inner, ring(1), seal.Options{})
	plant(t, inner, storetest.Key("1"), []byte("planted"), func(r *cache.Record) { r.Seal = "" })
	if err := storetest.Put(t.Context(), sealed, storetest.Key("1"), []byte("honest")); err != nil {
		t.Fatal(err)
	}
	if _, body, err := storetest.Get(t.Context(), sealed, storetest.Key("1")); err != nil || string(body) != "honest" {
		t.Errorf("got %q, %v", body, err)
	}
	if err := storetest.Put(t.Context(), sealed, storetest.Key("1"), []byte("late")); !errors.Is(err, cache.ErrExist) {
		t.Errorf("got %v, want ErrExist", err)
	}
}

// stuck opens objects that cannot be set aside.
type stuck struct{ cache.Store }

func (s stuck) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := s.Store.Open(ctx, key)
	if err == nil {
		obj.SetAside = func(string) error { return errors.New("read-only file system") }
	}
	return obj, err
}

// TestCannotSetAside: it is not served, and not told as free either.
func TestCannotSetAside(t *testing.T) {
	inner := mem.New()
	var log bytes.Buffer
	sealed := seal.New(stuck{inner}, ring(1), seal.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	plant(t, inner, storetest.Key("1"), []byte("planted"), func(r *cache.Record) { r.Seal = "" })
	_, err := sealed.Open(t.Context(), storetest.Key("1"))
	if err == nil || errors.Is(err, cache.ErrDamaged) || errors.Is(err, cache.ErrNotExist) || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("got %v", err)
	}
	if _, err := sealed.Create(t.Context(), storetest.Key("1")); err == nil || errors.Is(err, cache.ErrExist) {
		t.Errorf("create: got %v", err)
	}
	if !strings.Contains(log.String(), "cannot be set aside") {
		t.Errorf("the log says %s", &log)
	}
}

func TestNoKeys(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a store without keys was made: it would take everything for forged")
		}
	}()
	seal.New(mem.New(), nil, seal.Options{})
}

// plant stores body past the seal, with a record that was changed.
func plant(t *testing.T, inner cache.Store, key cache.Key, body []byte, change func(*cache.Record)) {
	t.Helper()
	draft, err := inner.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Abort()
	if _, err := draft.Write(body); err != nil {
		t.Fatal(err)
	}
	record := storetest.Record(body)
	change(&record)
	if err := draft.Commit(t.Context(), record); err != nil {
		t.Fatal(err)
	}
}

func counts(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, family := range families {
		if family.GetName() == seal.BrokenSeals {
			for _, m := range family.GetMetric() {
				got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return got
}
