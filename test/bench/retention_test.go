//go:build bench

package bench_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/retention"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/used"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

const (
	allEntries  = 1_000_000
	coldEntries = 100_000 // unused for 100 days
	coolEntries = 50_000  // for 80
	hotEntries  = 1000
)

// committed remembers what goes into a store, sealed.
type committed struct {
	cache.Store
	mu      sync.Mutex
	entries []cache.Entry
}

type committedDraft struct {
	cache.Draft
	store *committed
	key   cache.Key
}

func (c *committed) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	d, err := c.Store.Create(ctx, key)
	return &committedDraft{d, c, key}, err
}

func (d *committedDraft) Commit(ctx context.Context, record cache.Record) error {
	err := d.Draft.Commit(ctx, record)
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.entries = append(d.store.entries, cache.Entry{Key: d.key, Record: record})
	return err
}

// million is a data directory whose ledger knows a million entries. The store has the coldest of them, and some hot ones.
type million struct {
	dir     string
	records *ledger.Ledger
	dirs    *fs.Store
	sealed  seal.Store
}

func keyOf(i int) cache.Key {
	scope := cache.Trusted
	if i%3 == 0 && i < allEntries-hotEntries {
		scope = cache.Scope("pr/" + strconv.Itoa(i/4000))
	}
	return cache.Key{Workspace: cache.DefaultWorkspace, Scope: scope, Hash: cache.Hash(strconv.FormatUint(uint64(i)*0x9e3779b97f4a7c15, 10))}
}

// producerOf is that of the i-th task, in a run with 80 tasks.
func producerOf(i int) cache.Producer {
	return cache.Producer{
		Kind: "ci", Provider: "github", Issuer: "https://token.actions.githubusercontent.com", Subject: "repo:acme@123456/web@456789:ref:refs/heads/main",
		Session: fmt.Sprintf("%032x", i/40), Repository: "acme/web", RepositoryID: "456789", OwnerID: "123456", Event: "push", Ref: "refs/heads/main",
		Commit: fmt.Sprintf("%040x", i/80), RunID: strconv.Itoa(17_650_000_000 + i/80), RunAttempt: "1", Job: strconv.Itoa(48_213_570_000 + i/40),
		WorkflowRef: "acme/web/.github/workflows/ci.yml@refs/heads/main", Actor: "mona", ActorID: "583231",
	}
}

func newMillion(b *testing.B) *million {
	m := &million{dir: memoryDir(b)}
	var err error
	if m.records, err = ledger.Open(b.Context(), m.dir); err != nil {
		b.Fatal(err)
	}
	ring, _, err := keyring.OpenOrCreate(filepath.Join(m.dir, "seal.key"))
	if err != nil {
		b.Fatal(err)
	}
	if m.dirs, err = fs.Open(filepath.Join(m.dir, "store"), fs.Options{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.dirs.Close(); m.records.Close(); os.RemoveAll(m.dir) })
	if err := seal.Claim(b.Context(), m.dirs, ring.Derive("seal")); err != nil {
		b.Fatal(err)
	}
	graves, err := seal.NewGraveyard(b.Context(), m.records, seal.GraveyardOptions{})
	if err != nil {
		b.Fatal(err)
	}
	kept := &committed{Store: m.dirs}
	m.sealed = seal.New(kept, ring.Derive("seal"), seal.Options{Graves: graves})
	body := artifacttest.Typical(1)
	put := func(i int) {
		c := cache.New(m.sealed, cache.Options{Now: func() time.Time { return time.Now().AddDate(0, 0, -200) }})
		key := keyOf(i)
		if _, err := c.Put(b.Context(), cache.Grant{Workspace: key.Workspace, Write: key.Scope, Producer: producerOf(i)},
			cache.Upload{Hash: key.Hash, Size: int64(len(body)), Body: bytes.NewReader(body)}); err != nil {
			b.Fatal(err)
		}
	}
	load(coldEntries+coolEntries, 4, put)
	load(hotEntries, 4, func(i int) { put(allEntries - 1 - i) })
	for batch := range slices.Chunk(kept.entries, 1000) {
		if err := m.records.RecordEntries(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	m.multiply(b, len(kept.entries))
	m.begun(b)
	return m
}

// multiply has the ledger know a million entries, copies of those that the store has under other hashes, and makes some of them cold. To record each takes
// a quarter of an hour on a busy machine, and comes to the same rows.
func (m *million) multiply(b *testing.B, stored int) {
	db, err := sql.Open("sqlite", filepath.Join(m.dir, ledger.FileName))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // of which the pragmas are
	for _, statement := range []string{
		`PRAGMA synchronous = off`, `PRAGMA cache_size = -1000000`,
		fmt.Sprintf(`UPDATE entries SET used = used - 86400 * (CASE WHEN hash IN (SELECT hash FROM entries ORDER BY id LIMIT %d) THEN 100 ELSE 80 END) WHERE id <= %d`, coldEntries, coldEntries+coolEntries),
		fmt.Sprintf(`
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO entries (scope, hash, size, sha256, content, inflated, members, opaque, created, seal, producer, used)
			SELECT scope, CAST(abs(random()) AS TEXT), size, sha256, content, inflated, members, opaque, created, seal, producer, unixepoch() - 86400
			FROM entries, n WHERE id <= %d LIMIT %d`, allEntries/stored+1, stored, allEntries-stored),
		`PRAGMA wal_checkpoint(TRUNCATE)`,
	} {
		if _, err := db.ExecContext(b.Context(), statement); err != nil {
			b.Fatal(err)
		}
	}
}

// begun makes it as if servers had looked for long.
func (m *million) begun(b *testing.B) {
	now := time.Now()
	text := fmt.Sprintf(`{"seen":%d,"since":%d}`, now.Add(-10*time.Minute).Unix(), now.AddDate(0, 0, -300).Unix())
	if err := m.records.SetSetting(b.Context(), "retention", []byte(text)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRetention tells what a million entries cost: to start with, to choose among, to remove the coldest of, and to serve beside that.
func BenchmarkRetention(b *testing.B) {
	m := newMillion(b)
	info, err := os.Stat(filepath.Join(m.dir, ledger.FileName))
	if err != nil {
		b.Fatal(err)
	}
	binary := bezoar.Build(b)
	b.Run("ledger", func(b *testing.B) { b.ReportMetric(float64(info.Size())/allEntries, "bytes/entry") })
	b.Run("start", func(b *testing.B) { benchStart(b, binary, m.dir) })
	b.Run("remove", func(b *testing.B) { benchRemove(b, m) })
	b.Run("p99", func(b *testing.B) { benchBeside(b, binary, m) })
}

// benchStart measures from the start of the process to the first answer.
func benchStart(b *testing.B, binary bezoar.Binary, full string) {
	for range b.N {
		start := func(dir string) contender {
			return func(int) time.Duration {
				began := time.Now()
				s := binary.Serve(b, dir)
				resp, err := client.Get(s.URL + "/v1/cache/1")
				took := time.Since(began)
				if check(b, err) {
					resp.Body.Close()
				}
				s.Stop(b)
				return took
			}
		}
		empty := memoryDir(b)
		times := race(rounds, start(full), start(empty))
		b.ReportMetric(median(times[0]).Seconds()*1000, "million-ms")
		b.ReportMetric(median(times[1]).Seconds()*1000, "empty-ms")
		reportRatio(b, "of-empty", times[1], times[0])
	}
}

// benchRemove removes the coldest, after a look that only tells.
func benchRemove(b *testing.B, m *million) {
	for range b.N {
		m.begun(b)
		runner := retention.New(retention.Options{
			Ledger: m.records, Store: m.sealed,
			Limits: func(cache.Workspace) retention.Limits {
				ages := retention.Ages{MaxUnused: 90 * 24 * time.Hour}
				return retention.Limits{Trusted: ages, Others: ages}
			},
		})
		began := time.Now()
		dry, err := runner.Look(b.Context(), retention.Request{DryRun: true})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "choose-s")
		began = time.Now()
		report, err := runner.Look(b.Context(), retention.Request{})
		if err != nil || report.Entries != dry.Entries || report.Failed+report.Other > 0 {
			b.Fatal(dry.Entries, report.Entries, report.Failed, report.Other, err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "remove-s")
		b.ReportMetric(float64(report.Entries), "entries")
	}
}

// coolPolicy lets go what nobody used for 70 days.
const coolPolicy = `version: 1
audience: https://cache.example.com
workspaces:
  default:
    github:
      repository_id: 1
      owner_id: 1
      trusted: {branches: [main]}
    retention:
      trusted: {max_age: never, max_unused: 70d}
      others: {max_age: never, max_unused: never}
`

// benchBeside asks a server for hot entries, by itself and while it removes as many as it gets to in that time.
func benchBeside(b *testing.B, binary bezoar.Binary, m *million) {
	const requests, atOnce = 5000, 8
	policy, operator := filepath.Join(b.TempDir(), "policy.yaml"), filepath.Join(b.TempDir(), "token")
	if err := os.WriteFile(policy, []byte(coolPolicy), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(operator, binary.Output(b, "token", "create", "--data", m.dir, "--name", "operator", "--role", "operator"), 0o600); err != nil {
		b.Fatal(err)
	}
	reader := binary.CreateToken(b, m.dir, "reader", "read")
	s := binary.Serve(b, m.dir, "--policy", policy)
	defer s.Stop(b)
	p99 := func() (at99, at50 time.Duration) {
		took := make([]time.Duration, requests)
		load(requests, atOnce, func(i int) {
			began := time.Now()
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.URL+"/v1/cache/"+string(keyOf(allEntries-1-i%hotEntries).Hash), http.NoBody)
			if !check(b, err) {
				return
			}
			req.Header.Set("Authorization", "Bearer "+reader.Secret)
			resp, err := client.Do(req)
			if !check(b, err) {
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				b.Errorf("GET: %s", resp.Status)
			}
			check(b, drain(resp.Body))
			took[i] = time.Since(began)
		})
		slices.Sort(took)
		return took[requests*99/100], took[requests/2]
	}
	if b.N > 1 {
		b.Skip("what went once does not come back: -benchtime 1x")
	}
	p99()
	var alone, beside, alone50, beside50 []time.Duration
	for range rounds {
		at99, at50 := p99()
		alone, alone50 = append(alone, at99), append(alone50, at50)
	}
	m.begun(b)
	before := m.cool(b)
	ended := make(chan error, 1)
	go func() {
		ended <- binary.Command(b.Context(), "gc", "--server", s.URL, "--token-file", operator).Run()
	}()
	for m.cool(b) == before { // until it is at it
		select {
		case err := <-ended:
			b.Fatal("it ended before it began: ", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	for range rounds {
		at99, at50 := p99()
		if len(ended) > 0 {
			break // this one was not beside it all the time
		}
		beside, beside50 = append(beside, at99), append(beside50, at50)
	}
	if err := <-ended; err != nil || len(beside) == 0 {
		b.Fatal(len(beside), err)
	}
	b.ReportMetric(float64(len(beside)), "rounds-beside")
	b.ReportMetric(float64(median(alone).Microseconds())/1000, "alone-p99-ms")
	b.ReportMetric(float64(median(beside).Microseconds())/1000, "beside-p99-ms")
	b.ReportMetric(float64(median(alone50).Microseconds())/1000, "alone-p50-ms")
	b.ReportMetric(float64(median(beside50).Microseconds())/1000, "beside-p50-ms")
}

// cool counts the cool entries that are left.
func (m *million) cool(b *testing.B) (n int) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(m.dir, ledger.FileName)+"?mode=ro")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(b.Context(), `SELECT count(*) FROM entries WHERE used < unixepoch() - 86400 * 75`).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkUses serves small artifacts by HTTP from a directory, with and without noting their use: what a server does beside, which would hide the difference, is
// left out.
func BenchmarkUses(b *testing.B) {
	dir := memoryDir(b)
	records, err := ledger.Open(b.Context(), dir)
	if err != nil {
		b.Fatal(err)
	}
	defer records.Close()
	store, err := fs.Open(filepath.Join(dir, "store"), fs.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	body := artifacttest.Typical(1)
	grant := cache.Grant{Workspace: cache.DefaultWorkspace, Read: []cache.Scope{cache.Trusted}, Write: cache.Trusted}
	plainCache := cache.New(store, cache.Options{Now: time.Now})
	for i := range hotEntries {
		if _, err := plainCache.Put(b.Context(), grant, cache.Upload{Hash: cache.Hash(strconv.Itoa(i)), Size: int64(len(body)), Body: bytes.NewReader(body)}); err != nil {
			b.Fatal(err)
		}
	}
	uses := used.Start(records, used.Options{})
	defer uses.Close(context.Background())
	serve := func(c *cache.Cache) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			obj, err := c.Get(r.Context(), grant, cache.Hash(r.URL.Path[1:]))
			if err != nil {
				http.Error(w, err.Error(), http.StatusNotFound)
				return
			}
			defer obj.Close()
			w.Header().Set("Content-Length", strconv.FormatInt(obj.Record.Size, 10))
			io.Copy(w, obj.Body)
		}))
		b.Cleanup(s.Close)
		return s
	}
	with, without := serve(cache.New(uses.Over(store), cache.Options{Now: time.Now})), serve(plainCache)
	const requests = 5000
	get := func(s *httptest.Server) contender {
		return func(int) time.Duration {
			return load(requests, 8, func(i int) {
				resp, err := client.Get(s.URL + "/" + strconv.Itoa(i%hotEntries))
				if check(b, err) {
					check(b, drain(resp.Body))
					resp.Body.Close()
				}
			})
		}
	}
	for range b.N {
		times := race(11, get(with), get(without))
		reportRatio(b, "of-without", times[0], times[1])
		b.ReportMetric(requests/median(times[0]).Seconds(), "with/s")
		b.ReportMetric(requests/median(times[1]).Seconds(), "without/s")
	}
}
