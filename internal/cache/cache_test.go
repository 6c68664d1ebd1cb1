package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
)

var (
	trusted  = cache.Grant{Workspace: "web", Read: []cache.Scope{cache.Trusted}, Write: cache.Trusted, Producer: cache.Producer{Kind: "token", TokenID: "t"}}
	reader   = cache.Grant{Workspace: "web", Read: []cache.Scope{cache.Trusted}}
	isolated = cache.Grant{Workspace: "web", Read: []cache.Scope{cache.Trusted, "token/i"}, Write: "token/i"}
	another  = cache.Grant{Workspace: "web", Read: []cache.Scope{cache.Trusted, "token/j"}, Write: "token/j"}
	foreign  = cache.Grant{Workspace: "api", Read: []cache.Scope{cache.Trusted}, Write: cache.Trusted}
	nobody   = cache.Grant{Workspace: "web"}
)

func newCache(store cache.Store) *cache.Cache {
	return cache.New(store, cache.Options{
		MaxSize: 1 << 20, Limits: artifact.DefaultLimits(), StoreTimeout: time.Second,
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)) },
	})
}

func put(c *cache.Cache, g cache.Grant, hash cache.Hash, body []byte) error {
	_, err := c.Put(context.Background(), g, cache.Upload{Hash: hash, Size: int64(len(body)), Body: bytes.NewReader(body)})
	return err
}

func get(t *testing.T, c *cache.Cache, g cache.Grant, hash cache.Hash) ([]byte, error) {
	t.Helper()
	obj, err := c.Get(context.Background(), g, hash)
	if err != nil {
		return nil, err
	}
	defer obj.Close()
	body, err := io.ReadAll(obj.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body, nil
}

func TestWhoSeesWhat(t *testing.T) {
	c := newCache(mem.New())
	bodies := map[string][]byte{"trusted": artifacttest.Typical(1), "isolated": artifacttest.Typical(2), "foreign": artifacttest.Typical(3)}
	for _, w := range []struct {
		grant cache.Grant
		hash  cache.Hash
		body  string
		want  error
	}{
		{trusted, "1", "trusted", nil},
		{isolated, "1", "isolated", cache.ErrExist}, // nobody shadows what is trusted
		{isolated, "2", "isolated", nil},
		{isolated, "2", "isolated", cache.ErrExist},
		{another, "2", "foreign", nil}, // another scope is another key
		{foreign, "1", "foreign", nil}, // and so is another workspace
		{reader, "3", "trusted", cache.ErrDenied},
		{nobody, "3", "trusted", cache.ErrDenied},
	} {
		if err := put(c, w.grant, w.hash, bodies[w.body]); !errors.Is(err, w.want) {
			t.Fatalf("put %s by %v: %v, want %v", w.hash, w.grant, err, w.want)
		}
	}
	for _, r := range []struct {
		grant cache.Grant
		hash  cache.Hash
		want  string
	}{
		{trusted, "1", "trusted"}, {reader, "1", "trusted"}, {isolated, "1", "trusted"}, {foreign, "1", "foreign"},
		{isolated, "2", "isolated"}, {another, "2", "foreign"}, {trusted, "2", ""}, {reader, "2", ""}, {foreign, "2", ""}, {nobody, "1", ""},
	} {
		body, err := get(t, c, r.grant, r.hash)
		if r.want == "" && !errors.Is(err, cache.ErrNotExist) || r.want != "" && !bytes.Equal(body, bodies[r.want]) {
			t.Errorf("get %s by %v: %d bytes, %v, want %q", r.hash, r.grant, len(body), err, r.want)
		}
	}
	// A trusted upload that comes later wins for everyone, and leaves what an own scope has where it is.
	if err := put(c, trusted, "2", bodies["trusted"]); err != nil {
		t.Fatal(err)
	}
	if body, _ := get(t, c, isolated, "2"); !bytes.Equal(body, bodies["trusted"]) {
		t.Error("an own entry stands before the trusted one")
	}
}

func TestTheRecordSaysWhatWasStored(t *testing.T) {
	c := newCache(mem.New())
	body := artifacttest.Typical(1)
	entry, err := c.Put(t.Context(), trusted, cache.Upload{Hash: "1", Size: int64(len(body)), Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	want, err := artifact.Check(bytes.NewReader(body), artifact.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	r := entry.Record
	if r.Size != want.Size || r.SHA256 != want.SHA256 || r.Content != want.Content || r.Inflated != want.Inflated || r.Members != want.Members || r.Producer != trusted.Producer {
		t.Errorf("record %+v, want what the check says: %+v", r, want)
	}
	if r.Created.Location() != time.UTC || r.Created.Hour() != 2 {
		t.Errorf("created %v, want the clock's time in UTC", r.Created)
	}
}

func TestAnUploadThatIsNotWholeStoresNothing(t *testing.T) {
	body := artifacttest.Typical(1)
	n := int64(len(body))
	lost := errors.New("connection reset")
	revoked := errors.New("revoked")
	for name, c := range map[string]struct {
		up   cache.Upload
		want error
	}{
		"fewer bytes":    {cache.Upload{Size: n + 1, Body: bytes.NewReader(body)}, cache.ErrUpload},
		"more bytes":     {cache.Upload{Size: n, Body: io.MultiReader(bytes.NewReader(body), strings.NewReader("x"))}, cache.ErrUpload},
		"a lost line":    {cache.Upload{Size: n, Body: io.MultiReader(bytes.NewReader(body[:n/2]), &failing{lost})}, lost},
		"lost at end":    {cache.Upload{Size: n, Body: io.MultiReader(bytes.NewReader(body), &failing{lost})}, lost},
		"too large":      {cache.Upload{Size: 2 << 20, Body: bytes.NewReader(body)}, cache.ErrTooLarge},
		"revoked":        {cache.Upload{Size: n, Body: bytes.NewReader(body), Valid: func() error { return revoked }}, revoked},
		"not an archive": {cache.Upload{Size: 3, Body: strings.NewReader("abc")}, nil},
	} {
		store := mem.New()
		c.up.Hash = "1"
		_, err := newCache(store).Put(t.Context(), trusted, c.up)
		if _, refused := errors.AsType[*artifact.RefusedError](err); c.want == nil && !refused || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		for entry := range store.List(t.Context(), "") {
			t.Errorf("%s: stored %v", name, entry.Key)
		}
	}
}

// slowCommit is a store whose commits tell when they are done.
type slowCommit struct {
	cache.Store
	done   func()
	failed error // what becomes of deletions
}

func (s *slowCommit) Create(ctx context.Context, k cache.Key) (cache.Draft, error) {
	d, err := s.Store.Create(ctx, k)
	return &slowDraft{d, s.done}, err
}

func (s *slowCommit) Delete(ctx context.Context, k cache.Key) error {
	if err := errors.Join(s.failed, ctx.Err()); err != nil {
		return err
	}
	return s.Store.Delete(ctx, k)
}

type slowDraft struct {
	cache.Draft
	done func()
}

func (d *slowDraft) Commit(ctx context.Context, r cache.Record) error {
	defer d.done()
	return d.Draft.Commit(ctx, r)
}

// TestARevocationDuringACommit: a bucket may take its time, and a credential that is revoked meanwhile leaves nothing behind.
func TestARevocationDuringACommit(t *testing.T) {
	revoked, down := errors.New("revoked"), errors.New("the bucket is down")
	for name, tt := range map[string]struct {
		failed error
		left   int
		says   string
	}{
		"":                             {nil, 0, "revoked"},
		"it cannot be deleted again":   {down, 1, "revoked; it is stored, and could not be deleted again"},
		"somebody else has deleted it": {cache.ErrNotExist, 1, "revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			body := artifacttest.Typical(1)
			ctx, leave := context.WithCancel(t.Context())
			var now error
			inner := mem.New()
			store := &slowCommit{inner, func() { now = revoked; leave() }, tt.failed}
			_, err := newCache(store).Put(ctx, trusted, cache.Upload{Hash: "1", Size: int64(len(body)), Body: bytes.NewReader(body), Valid: func() error { return now }})
			if !errors.Is(err, revoked) || err.Error() != tt.says {
				t.Errorf("got %v, want %q", err, tt.says)
			}
			left := 0
			for range inner.List(t.Context(), "") {
				left++
			}
			if left != tt.left {
				t.Errorf("%d entries are left, want %d", left, tt.left)
			}
		})
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// stub is a store whose Open and Create do as they are told.
type stub struct {
	cache.Store
	open   func(context.Context, cache.Key) (*cache.Object, error)
	create func(context.Context, cache.Key) (cache.Draft, error)
}

func (s *stub) Open(ctx context.Context, k cache.Key) (*cache.Object, error) { return s.open(ctx, k) }

func (s *stub) Create(ctx context.Context, k cache.Key) (cache.Draft, error) { return s.create(ctx, k) }

func TestTroubleIsNoMiss(t *testing.T) {
	body := artifacttest.Typical(1)
	store := mem.New()
	if err := put(newCache(store), isolated, "1", body); err != nil {
		t.Fatal(err)
	}
	trouble := errors.New("connection refused")
	inScope := map[cache.Scope]error{}
	s := &stub{Store: store, create: store.Create, open: func(ctx context.Context, k cache.Key) (*cache.Object, error) {
		if err := inScope[k.Scope]; err != nil {
			return nil, err
		}
		return store.Open(ctx, k)
	}}
	c := newCache(s)

	inScope[cache.Trusted] = trouble
	if _, err := get(t, c, isolated, "1"); !errors.Is(err, cache.ErrStore) || !errors.Is(err, trouble) {
		t.Errorf("an own entry must not stand in for a trusted one that could not be read: %v", err)
	}
	if err := put(c, isolated, "2", body); !errors.Is(err, cache.ErrStore) {
		t.Errorf("put: %v", err)
	}
	inScope[cache.Trusted] = cache.ErrDamaged
	if got, err := get(t, c, isolated, "1"); err != nil || !bytes.Equal(got, body) {
		t.Errorf("a trusted entry that is set aside hides the own one: %v", err)
	}
	if _, err := get(t, c, isolated, "2"); !errors.Is(err, cache.ErrDamaged) {
		t.Errorf("a damaged entry passes for a true miss: %v", err)
	}
}

func TestNobodyWaitsForAStoreForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := &stub{
			open: func(ctx context.Context, _ cache.Key) (*cache.Object, error) { <-ctx.Done(); return nil, ctx.Err() },
			create: func(ctx context.Context, _ cache.Key) (cache.Draft, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		}
		c := newCache(hang)
		started := time.Now()
		if _, err := c.Get(t.Context(), trusted, "1"); !errors.Is(err, cache.ErrStore) {
			t.Errorf("get: %v", err)
		}
		if err := put(c, trusted, "1", artifacttest.Typical(1)); !errors.Is(err, cache.ErrStore) {
			t.Errorf("put: %v", err)
		}
		if waited := time.Since(started); waited != 2*time.Second {
			t.Errorf("waited %v for two answers of a second each", waited)
		}
	})
}

// TestAStoreThatGetsOnIsWaitedFor: the deadline measures progress.
func TestAStoreThatGetsOnIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := 10
		slow := &stub{open: func(ctx context.Context, _ cache.Key) (*cache.Object, error) {
			for range steps {
				select {
				case <-time.After(900 * time.Millisecond):
					cache.Progress(ctx)
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		started := time.Now()
		if _, err := newCache(slow).Get(t.Context(), trusted, "1"); !errors.Is(err, cache.ErrStore) {
			t.Errorf("get: %v", err)
		}
		if waited := time.Since(started); waited != 10*time.Second {
			t.Errorf("waited %v: nine seconds of progress and one without", waited)
		}
	})
	cache.Progress(t.Context()) // nobody waits: nothing happens
}

// TestAnAnswerAtTheLastInstant: a store that answers just as its time is over is in time or late, and nothing in between.
func TestAnAnswerAtTheLastInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New()
		if err := put(newCache(inner), trusted, "1", artifacttest.Typical(1)); err != nil {
			t.Fatal(err)
		}
		slow := &stub{
			open: func(_ context.Context, key cache.Key) (*cache.Object, error) {
				<-time.After(time.Second)
				obj, err := inner.Open(context.Background(), key)
				if err == nil {
					obj.Body = &closable{ReadCloser: obj.Body}
				}
				return obj, err
			},
		}
		c := newCache(slow)
		for range 1000 {
			obj, err := c.Get(t.Context(), trusted, "1")
			switch {
			case err == nil && obj.Body.(*closable).closed:
				t.Fatal("an entry that is closed was given out")
			case err == nil:
				obj.Close()
			case !errors.Is(err, cache.ErrStore):
				t.Fatal(err)
			}
		}
	})
}

type closable struct {
	io.ReadCloser
	closed bool
}

func (c *closable) Close() error {
	c.closed = true
	return c.ReadCloser.Close()
}

// TestABodyIsReadBeyondTheDeadline: the deadline is for the first answer, not for the transfer.
func TestABodyIsReadBeyondTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var during context.Context
		store := mem.New()
		body := artifacttest.Typical(1)
		if err := put(newCache(store), trusted, "1", body); err != nil {
			t.Fatal(err)
		}
		c := newCache(&stub{open: func(ctx context.Context, k cache.Key) (*cache.Object, error) {
			during = ctx
			return store.Open(ctx, k)
		}})
		obj, err := c.Get(t.Context(), trusted, "1")
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Close()
		<-time.After(time.Hour)
		if err := during.Err(); err != nil {
			t.Errorf("the context of an open body ended: %v", err)
		}
	})
}

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 1000)
	for _, c := range []struct {
		kind, name string
		ok         bool
	}{
		{"hash", "12777289511367993887", true}, {"hash", "a", true}, {"hash", "A-z_9", true}, {"hash", long[:128], true},
		{"hash", "", false}, {"hash", long[:129], false}, {"hash", "a.b", false}, {"hash", "a/b", false}, {"hash", "..", false}, {"hash", "ä", false}, {"hash", "a\x00", false}, {"hash", "a b", false},
		{"workspace", "default", true}, {"workspace", "a-b_9", true}, {"workspace", "9", true}, {"workspace", long[:64], true},
		{"workspace", "", false}, {"workspace", long[:65], false}, {"workspace", "-a", false}, {"workspace", "A", false}, {"workspace", "a.b", false},
		{"scope", "trusted", true}, {"scope", "pr/17", true}, {"scope", "branch/refs/heads/ä b", true}, {"scope", "token/" + long[:512], true},
		{"scope", "", false}, {"scope", "pr", false}, {"scope", "pr/", false}, {"scope", "/x", false}, {"scope", "trusted/x", false}, {"scope", "Pr/1", false}, {"scope", "pr/a\nb", false}, {"scope", "pr/\x7f", false}, {"scope", "token/" + long[:513], false},
	} {
		var err error
		switch c.kind {
		case "hash":
			_, err = cache.ParseHash(c.name)
		case "workspace":
			_, err = cache.ParseWorkspace(c.name)
		case "scope":
			_, err = cache.ParseScope(c.name)
		}
		if (err == nil) != c.ok || err != nil && !errors.Is(err, cache.ErrName) {
			t.Errorf("%s %q: %v", c.kind, c.name, err)
		}
	}
	if got := cache.Scope("branch/refs/heads/x").Kind(); got != "branch" {
		t.Errorf("kind %q", got)
	}
}

func TestUntrustedUploadsHaveABudgetOfTheirOwn(t *testing.T) {
	members := make([]artifacttest.Member, 20_000)
	for i := range members {
		members[i] = artifacttest.File(fmt.Sprintf("dist/%060d", i), "")
	}
	body := artifacttest.Nx(members...)
	limits := artifact.DefaultLimits()
	limits.Budget = artifact.NewBudget(64 << 20)
	c := cache.New(mem.New(), cache.Options{Limits: limits, OthersBudget: artifact.NewBudget(1), Now: time.Now})
	if err := put(c, isolated, "1", body); !errors.Is(err, artifact.ErrBusy) {
		t.Errorf("an upload beyond what is left for untrusted ones: %v", err)
	}
	if err := put(c, trusted, "1", body); err != nil {
		t.Errorf("a trusted upload meanwhile: %v", err)
	}
}
