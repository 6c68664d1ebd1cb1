package tier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// footprintOf is what an entry of n bytes takes of a tier.
func footprintOf(n int) int64 {
	blocks, err := blocksOf(cache.Entry{Key: storetest.Key("12777289511367993887"), Record: storetest.Record(make([]byte, n))})
	if err != nil {
		panic(err)
	}
	return bytesOf(blocks)
}

// diskUse is what the files below dir take, in whole blocks.
func diskUse(dir string) (used int64) {
	_ = filepath.WalkDir(dir, func(_ string, e os.DirEntry, _ error) error {
		if info, err := e.Info(); err == nil && !e.IsDir() {
			used += (info.Size() + block - 1) / block * block
		}
		return nil
	})
	return used
}

// TestSizeIsNeverExceeded does at random what a server does, from several sides, and looks at the disk meanwhile.
func TestSizeIsNeverExceeded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		size := int64(rapid.IntRange(1, 600<<10).Draw(rt, "size"))
		local, err := fs.Open(dir, fs.Options{})
		if err != nil {
			rt.Fatal(err)
		}
		defer local.Close()
		disk := &measured{Store: local}
		s, err := Open(mem.New(), disk, Options{Size: size, TempDir: t.TempDir(), VerifyAhead: 20_000})
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		waitScan(s)
		type op struct{ Key, Size, Kind int }
		ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
			return op{rapid.IntRange(0, 15).Draw(t, "key"), rapid.IntRange(0, 100_000).Draw(t, "size"), rapid.IntRange(0, 9).Draw(t, "kind")}
		}), 1, 60).Draw(rt, "ops")
		var next atomic.Int64
		var workers errgroup.Group
		for range 4 {
			workers.Go(func() error {
				for i := int(next.Add(1)) - 1; i < len(ops); i = int(next.Add(1)) - 1 {
					if err := apply(s, storetest.Key(fmt.Sprint(ops[i].Key)), ops[i].Size, ops[i].Kind); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := workers.Wait(); err != nil {
			rt.Fatal(err)
		}
		settle(t, s)
		if disk.most > size {
			rt.Fatalf("%d bytes lay on the disk, %d are allowed", disk.most, size)
		}
		if used, counted := diskUse(filepath.Join(dir, "entries")), s.total.Load(); used > counted || counted > size {
			rt.Fatalf("%d bytes lie on the disk, %d are counted, %d are allowed", used, counted, size)
		}
		if got := s.temp.Load(); got != 0 {
			rt.Fatalf("%d bytes of temporary files are left", got)
		}
	})
}

// measured is a local store that knows the most that ever lay in it, with its drafts. It counts what is written before it is, and what is removed when it is gone.
type measured struct {
	cache.Store

	// deleting is held until what was deleted is not counted any more: of two who delete a file, the second hears that it is gone.
	deleting sync.Mutex

	mu        sync.Mutex
	files     map[cache.Key]int64
	now, most int64
}

func (m *measured) add(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now += bytes
	m.most = max(m.most, m.now)
}

func (m *measured) remove(key cache.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now -= m.files[key]
	delete(m.files, key)
}

func (m *measured) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	draft, err := m.Store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &measuredDraft{Draft: draft, follower: draft.(follower), store: m, key: key}, nil
}

func (m *measured) Delete(ctx context.Context, key cache.Key) error {
	m.deleting.Lock()
	defer m.deleting.Unlock()
	err := m.Store.Delete(ctx, key)
	if err == nil {
		m.remove(key)
	}
	return err
}

func (m *measured) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	object, err := m.Store.Open(ctx, key)
	if err == nil {
		aside := object.SetAside
		object.SetAside = func(reason string) error {
			m.remove(key) // first, as another reader may see at once that the file is gone
			return aside(reason)
		}
	}
	return object, err
}

type measuredDraft struct {
	cache.Draft
	follower
	store   *measured
	key     cache.Key
	written int64
	bytes   int64
}

// grow counts in blocks.
func (d *measuredDraft) grow(n int64) {
	d.written += n
	bytes := (d.written + block - 1) / block * block
	d.store.add(bytes - d.bytes)
	d.bytes = bytes
}

func (d *measuredDraft) Write(p []byte) (int, error) {
	d.grow(int64(len(p)))
	return d.Draft.Write(p)
}

func (d *measuredDraft) Commit(ctx context.Context, record cache.Record) error {
	text, err := layout.EncodeEntry(cache.Entry{Key: d.key, Record: record})
	if err != nil {
		return err
	}
	d.grow(int64(len(text)) + 24)
	err = d.Draft.Commit(ctx, record)
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if err != nil {
		d.store.now -= d.bytes
	} else {
		if d.store.files == nil {
			d.store.files = make(map[cache.Key]int64)
		}
		d.store.files[d.key] += d.bytes
	}
	d.bytes = 0
	return err
}

func (d *measuredDraft) Abort() {
	d.Draft.Abort()
	d.store.add(-d.bytes)
	d.bytes = 0
}

// apply puts an entry if there is none and then mostly reads it.
func apply(s *Store, key cache.Key, size, kind int) error {
	ctx := context.Background()
	switch kind {
	case 0:
		if err := s.Delete(ctx, key); err != nil && !errors.Is(err, cache.ErrNotExist) {
			return err
		}
		return nil
	case 1:
		return s.Forget(ctx, key)
	case 2:
		return s.ForgetScope(ctx, key.Workspace, key.Scope)
	}
	if err := storetest.Put(ctx, s, key, storetest.Body(uint64(size), size)); err != nil && !errors.Is(err, cache.ErrExist) {
		return err
	}
	object, err := s.Open(ctx, key)
	switch {
	case errors.Is(err, cache.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	defer object.Close()
	switch kind {
	case 3:
		return nil // and leave
	case 4:
		return object.SetAside("a reason")
	}
	n, err := io.Copy(io.Discard, object.Body)
	if err == nil && n != object.Record.Size {
		err = fmt.Errorf("got %d bytes of %d", n, object.Record.Size)
	}
	return err
}

// TestLeastRecentlyUsedGoFirst fills a tier and uses some entries again.
func TestLeastRecentlyUsedGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &remote{Store: mem.New()}
		const n = 10_000
		one := footprintOf(n)
		s := openTier(t, inner, Options{Size: 20 * one})
		keys := make([]cache.Key, 30)
		for i := range keys {
			keys[i] = storetest.Key(fmt.Sprint(i))
			put(t, inner, keys[i], storetest.Body(uint64(i), n))
		}
		read := func(from, to int) {
			for _, key := range keys[from:to] {
				time.Sleep(time.Second) //nolint:forbidigo // of a bubble's clock
				mustGet(t, s, key)
				synctest.Wait()
			}
		}
		read(0, 19) // up to 95%
		if got := s.total.Load(); got != 19*one {
			t.Errorf("%d bytes are kept, want %d", got, 19*one)
		}
		read(0, 5)
		read(19, 25)
		for i, key := range keys {
			want := i < 5 || i >= 11 && i < 25
			if got := keeps(t, s, key); got != want {
				t.Errorf("entry %d is kept: %v", i, got)
			}
		}
		if got := testutil.ToFloat64(s.metrics.evictions); got != 6 {
			t.Errorf("%v evictions", got)
		}
	})
}

// TestLargeBodyWaitsForNoRoom is about one that is larger than what is kept free: it is kept as soon as room was made, and nobody waits for that.
func TestLargeBodyWaitsForNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		s := openTier(t, store, Options{Size: 1 << 20})
		for i := range 30 {
			small := storetest.Key(fmt.Sprint(i))
			put(t, store, small, storetest.Body(uint64(i), 50_000))
			mustGet(t, s, small)
			synctest.Wait()
		}
		large := storetest.Key("large")
		put(t, store, large, storetest.Body(1, 500_000))
		object := mustOpen(t, s, large)
		synctest.Wait()
		_, _ = io.Copy(io.Discard, object.Body)
		object.Close()
		synctest.Wait()
		mustGet(t, s, large)
		synctest.Wait()
		if !keeps(t, s, large) {
			t.Error("it was read twice and is not kept")
		}
		tooLargeKey := storetest.Key("too-large")
		put(t, store, tooLargeKey, storetest.Body(1, 1<<20))
		before := s.total.Load()
		mustGet(t, s, tooLargeKey)
		synctest.Wait()
		if keeps(t, s, tooLargeKey) || s.total.Load() != before {
			t.Error("one that is larger than the tier is kept, or drove others out")
		}
		if got := testutil.ToFloat64(s.metrics.notKept.WithLabelValues(tooLarge)); got != 1 {
			t.Errorf("counted %v", got)
		}
	})
}

func TestRestartFindsEntries(t *testing.T) {
	inner := &remote{Store: mem.New()}
	dir := t.TempDir()
	const n = 10_000
	one := footprintOf(n)
	var keys []cache.Key
	func() {
		local := openFS(t, dir)
		s := openOver(t, inner, local, Options{Size: 100 * one})
		for i := range 20 {
			key := cache.Key{Workspace: cache.DefaultWorkspace, Scope: "pr/1", Hash: cache.Hash(fmt.Sprint("h", i))}
			keys = append(keys, key)
			putAt(t, inner, key, storetest.Body(uint64(i), n), time.Date(2026, 1, 1, 0, i, 0, 0, time.UTC))
			mustGet(t, s, key)
		}
		settle(t, s)
		_ = s.Close()
		_ = local.Close()
	}()
	asked := inner.opens.Load()
	s := openOver(t, inner, openFS(t, dir), Options{Size: 10 * one})
	for s.total.Load() > s.soft {
		runtime.Gosched()
	}
	settle(t, s)
	for i, key := range keys {
		if got, want := keeps(t, s, key), i >= 11; got != want {
			t.Errorf("entry %d is kept after a restart with less room: %v", i, got)
		}
	}
	for _, key := range keys[11:] {
		mustGet(t, s, key)
	}
	if got := inner.opens.Load() - asked; got != 0 {
		t.Errorf("inner was asked %d times for what is here", got)
	}
	if got := testutil.ToFloat64(s.metrics.entries); got != 9 {
		t.Errorf("%v entries are counted", got)
	}
}

// TestHitsDuringTheScan holds the listing of the local store back.
func TestHitsDuringTheScan(t *testing.T) {
	inner := &remote{Store: mem.New()}
	local := openFS(t, t.TempDir())
	here, fresh := storetest.Key("1"), storetest.Key("2")
	for _, key := range []cache.Key{here, fresh} {
		put(t, inner, key, storetest.Body(1, 1000))
	}
	put(t, local, here, storetest.Body(1, 1000))
	held := &faulty{Store: local, list: make(chan struct{})}
	s, err := Open(inner, held, Options{Size: 1 << 20, TempDir: t.TempDir(), Logger: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustGet(t, s, here)
	mustGet(t, s, fresh)
	settle(t, s)
	if inner.opens.Load() != 1 || keeps(t, s, fresh) {
		t.Errorf("inner was asked %d times; the new one is kept: %v", inner.opens.Load(), keeps(t, s, fresh))
	}
	close(held.list)
	waitScan(s)
	mustGet(t, s, fresh)
	settle(t, s)
	if !keeps(t, s, fresh) {
		t.Error("nothing is kept after the scan")
	}
	if got, want := s.total.Load(), 2*footprintOf(1000); got != want {
		t.Errorf("%d bytes are counted, want %d", got, want)
	}
}

// TestIndex holds the index against a model.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		x.init()
		model := make(map[cache.Key]bool)
		var order []cache.Key // the least recently used first
		forget := func(key cache.Key) {
			for i, k := range order {
				if k == key {
					order = append(order[:i:i], order[i+1:]...)
					return
				}
			}
		}
		for i := range rapid.IntRange(1, 600).Draw(t, "steps") {
			key := cache.Key{
				Workspace: cache.DefaultWorkspace,
				Scope:     cache.Scope(rapid.SampledFrom([]string{"trusted", "pr/1", "pr/2"}).Draw(t, "scope")),
				Hash:      cache.Hash(rapid.SampledFrom([]string{"0", "1", "01", "18446744073709551615", "18446744073709551616", "-1", "a", "_"}).Draw(t, "hash")),
			}
			n, at := x.find(idOf(key))
			switch {
			case (n != nil) != model[key]:
				t.Fatalf("%q is there: %v", key, n != nil)
			case n == nil:
				n, at = x.add(idOf(key), key, 1, held)
				x.use(n, at, int64(i))
				model[key] = true
				order = append(order, key)
			case i%3 == 0:
				x.remove(idOf(key), at)
				delete(model, key)
				forget(key)
			default:
				x.use(n, at, int64(i))
				forget(key)
				order = append(order, key)
			}
			if n, at := x.coldest(); len(order) == 0 && n != nil || len(order) > 0 && x.key(n, at) != order[0] {
				t.Fatal("the order of use is wrong")
			}
		}
		if len(x.names.ids) > 3 || len(x.names.ids)+len(x.names.free) != len(x.names.spaces) {
			t.Fatal("scopes are left over")
		}
	})
}

// TestGivesWay: for a full disk, copies go, and what was read is read again from the storage.
func TestGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &remote{Store: mem.New()}
		s := openTier(t, inner, Options{Size: 1 << 30})
		body := storetest.Body(1, 100_000)
		for i := range 5 {
			key := storetest.Key(fmt.Sprint(i))
			put(t, inner, key, body)
			mustGet(t, s, key)
		}
		synctest.Wait()
		held := func() (n int) {
			for i := range 5 {
				if keeps(t, s, storetest.Key(fmt.Sprint(i))) {
					n++
				}
			}
			return n
		}
		if held() != 5 {
			t.Fatalf("it holds %d copies", held())
		}
		time.Sleep(cedeEvery) //nolint:forbidigo // of a bubble's clock
		s.GiveWay()
		synctest.Wait()
		if held() != 0 || s.total.Load() != 0 {
			t.Errorf("%d copies, %d bytes are left of less than the least", held(), s.total.Load())
		}
		mustGet(t, s, storetest.Key("1"))
		synctest.Wait()
		s.GiveWay() // too soon: what was given up has not shown yet
		synctest.Wait()
		if held() != 1 {
			t.Errorf("%d copies", held())
		}
	})
}
