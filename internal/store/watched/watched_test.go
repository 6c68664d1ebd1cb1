package watched

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) cache.Store { return New(mem.New(), nil).Whole() }, storetest.Abilities())
}

// faulty fails as it is told.
type faulty struct {
	cache.Store
	open, create, write, commit error
}

func (f *faulty) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if f.open != nil {
		return nil, f.open
	}
	return f.Store.Open(ctx, key)
}

func (f *faulty) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	if f.create != nil {
		return nil, f.create
	}
	d, err := f.Store.Create(ctx, key)
	return faultyDraft{d, f}, err
}

type faultyDraft struct {
	cache.Draft
	f *faulty
}

func (d faultyDraft) Write(p []byte) (int, error) {
	if d.f.write != nil {
		return 0, d.f.write
	}
	return d.Draft.Write(p)
}

func (d faultyDraft) Commit(ctx context.Context, record cache.Record) error {
	if d.f.commit != nil {
		return d.f.commit
	}
	return d.Draft.Commit(ctx, record)
}

func TestTroubleBeginsAndEnds(t *testing.T) {
	full := error(syscall.ENOSPC)
	for name, c := range map[string]struct {
		fault   func(*faulty)
		trouble bool
	}{
		"open":      {func(f *faulty) { f.open = syscall.EIO }, true},
		"create":    {func(f *faulty) { f.create = syscall.EROFS }, true},
		"write":     {func(f *faulty) { f.write = full }, true},
		"commit":    {func(f *faulty) { f.commit = full }, true},
		"a miss":    {func(f *faulty) { f.open = cache.ErrNotExist }, false},
		"damage":    {func(f *faulty) { f.open = cache.ErrDamaged }, false},
		"taken":     {func(f *faulty) { f.commit = cache.ErrExist }, false},
		"abandoned": {func(f *faulty) { f.open, f.create = context.Canceled, context.Canceled }, false},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			inner := &faulty{Store: mem.New()}
			s := New(inner, func() time.Time { return now })
			use := func() {
				_ = storetest.Put(t.Context(), s, storetest.Key(now.Format("150405")), []byte("body"))
				if obj, err := s.Open(t.Context(), storetest.Key(now.Format("150405"))); err == nil {
					obj.Close()
				}
			}
			c.fault(inner)
			use()
			if err := s.Degraded(); (err != nil) != c.trouble {
				t.Fatalf("degraded: %v", err)
			}
			*inner = faulty{Store: inner.Store}
			now = now.Add(time.Second)
			use()
			if err := s.Degraded(); (err != nil) != c.trouble {
				t.Errorf("a second later: %v", err)
			}
			now = now.Add(calm)
			use()
			if err := s.Degraded(); err != nil {
				t.Errorf("it is over, but: %v", err)
			}
			c.fault(inner)
			use()
			now = now.Add(forgotten)
			if err := s.Degraded(); err != nil {
				t.Errorf("ten minutes later: %v", err)
			}
		})
	}
}

func TestATimeoutIsTrouble(t *testing.T) {
	s := New(&faulty{Store: mem.New(), open: context.Canceled}, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cache.ErrStore)
	if _, err := s.Open(ctx, storetest.Key("1")); !errors.Is(err, context.Canceled) || s.Degraded() == nil {
		t.Errorf("%v; degraded: %v", err, s.Degraded())
	}
}
