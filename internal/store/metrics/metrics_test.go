package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/metrics"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) cache.Store { return metrics.New(mem.New(), prometheus.NewRegistry()) }, storetest.Abilities())
}

// TestNoAbilityOfItsOwn: a store without notes has none behind metrics, either.
func TestNoAbilityOfItsOwn(t *testing.T) {
	if _, ok := metrics.New(struct{ cache.Store }{mem.New()}, prometheus.NewRegistry()).(cache.Marker); ok {
		t.Error("it has notes that its inner store cannot keep")
	}
}

// broken answers everything with one error.
type broken struct{ err error }

func (b broken) Open(context.Context, cache.Key) (*cache.Object, error) { return nil, b.err }
func (b broken) Create(context.Context, cache.Key) (cache.Draft, error) { return brokenDraft(b), nil }
func (b broken) Delete(context.Context, cache.Key) error                { return b.err }
func (b broken) List(context.Context, cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		_ = yield(cache.Entry{}, nil) && yield(cache.Entry{}, b.err) && yield(cache.Entry{}, nil)
	}
}

type brokenDraft struct{ err error }

func (b brokenDraft) Write(p []byte) (int, error)                { return len(p), nil }
func (b brokenDraft) Commit(context.Context, cache.Record) error { return b.err }
func (b brokenDraft) Abort()                                     {}

func TestResults(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "ok"},
		{fmt.Errorf("wrapped: %w", cache.ErrNotExist), "not_exist"},
		{cache.ErrExist, "exist"},
		{cache.ErrDamaged, "damaged"},
		{context.Canceled, "canceled"},
		{context.DeadlineExceeded, "canceled"},
		{errors.New("the disk is on fire"), "error"},
	} {
		reg := prometheus.NewRegistry()
		store := metrics.New(broken{c.err}, reg)
		if _, err := store.Open(t.Context(), storetest.Key("1")); !errors.Is(err, c.err) {
			t.Errorf("open: got %v, want %v", err, c.err)
		}
		if err := storetest.Put(t.Context(), store, storetest.Key("1"), nil); !errors.Is(err, c.err) {
			t.Errorf("commit: got %v, want %v", err, c.err)
		}
		if err := store.Delete(t.Context(), storetest.Key("1")); !errors.Is(err, c.err) {
			t.Errorf("delete: got %v, want %v", err, c.err)
		}
		for range store.List(t.Context(), "") {
		}
		want := map[string]uint64{"create ok": 1, "open " + c.want: 1, "commit " + c.want: 1, "delete " + c.want: 1}
		switch c.want {
		case "not_exist", "exist": // which no listing yields
			want["list ok"] = 1
		default:
			want["list "+c.want] = 1
		}
		if diff := cmp.Diff(want, counts(t, reg)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.err, diff)
		}
	}
}

// TestTooSlow: whose fault the end of a context is, its cause tells.
func TestTooSlow(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("%w: no answer", cache.ErrStore))
	reg := prometheus.NewRegistry()
	store := metrics.New(broken{context.Canceled}, reg)
	_, _ = store.Open(ctx, storetest.Key("1"))
	_, _ = metrics.New(broken{cache.ErrNotExist}, reg).Open(ctx, storetest.Key("1"))
	if diff := cmp.Diff(map[string]uint64{"open error": 1, "open not_exist": 1}, counts(t, reg)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestListBrokenOff(t *testing.T) {
	reg := prometheus.NewRegistry()
	for range metrics.New(broken{errors.New("later")}, reg).List(t.Context(), "") {
		break
	}
	if diff := cmp.Diff(map[string]uint64{"list ok": 1}, counts(t, reg)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// unfit lists an entry that may not be served.
type unfit struct{ cache.Store }

func (unfit) List(context.Context, cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		yield(cache.Entry{Key: storetest.Key("1")}, errors.New("its seal is broken"))
	}
}

// TestListOfUnfit: that an entry is not fit says nothing against the store.
func TestListOfUnfit(t *testing.T) {
	reg := prometheus.NewRegistry()
	for entry, err := range metrics.New(unfit{}, reg).List(t.Context(), "") {
		if entry.Key != storetest.Key("1") || err == nil {
			t.Errorf("got %v, %v", entry, err)
		}
	}
	if diff := cmp.Diff(map[string]uint64{"list damaged": 1}, counts(t, reg)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSharedRegistry(t *testing.T) {
	reg := prometheus.NewRegistry()
	for range 2 {
		if err := metrics.New(mem.New(), reg).Delete(t.Context(), storetest.Key("1")); !errors.Is(err, cache.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]uint64{"delete not_exist": 2}, counts(t, reg)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
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
	object := &cache.Object{Body: io.NopCloser(nil)}
	got, err := metrics.New(opener{object: object}, prometheus.NewRegistry()).Open(t.Context(), storetest.Key("1"))
	if err != nil || got != object {
		t.Errorf("got %v, %v, want the very object of the store", got, err)
	}
}

func counts(t *testing.T, reg *prometheus.Registry) map[string]uint64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]uint64)
	for _, family := range families {
		if family.GetName() != metrics.Name {
			t.Errorf("there is a metric %q", family.GetName())
		}
		for _, m := range family.GetMetric() {
			labels := make(map[string]string)
			for _, label := range m.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			got[labels["op"]+" "+labels["result"]] = m.GetHistogram().GetSampleCount()
		}
	}
	return got
}
