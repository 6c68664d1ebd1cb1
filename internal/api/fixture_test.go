package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/retention"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/trust"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
	"github.com/bezoar-cache/bezoar/internal/trust/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is when things were made; the clock of tests stands a day later.
var (
	start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	now   = start.Add(24 * time.Hour)
)

const testPolicy = `version: 1
audience: https://cache.example.com
workspaces:
  web:
    github:
      repository: acme/web
      repository_id: 456789
      owner_id: 123456
      trusted: {branches: [main]}
      forks: public-read
  docs:
    github:
      repository: acme/docs
      repository_id: 99
      owner_id: 123456
      trusted: {branches: [main]}
`

// fixture is an API over a ledger and a store.
type fixture struct {
	*API
	t      testing.TB
	ledger *ledger.Ledger
	auth   *trust.Authenticator
	keys   keyring.Keys
	log    *lockedBuffer
	// tokens are their texts, by name.
	tokens map[string]string
	ids    map[string]string
	spec   *document

	collector *retention.Runner
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newUnsealedFixture is newFixture with an audit log that nobody has sealed.
func newUnsealedFixture(t testing.TB) *fixture {
	t.Helper()
	f := newEmptyFixture(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, token := range []trust.Token{
		{Name: "viewer", Role: trust.Viewer}, {Name: "operator", Role: trust.Operator}, {Name: "admin", Role: trust.Admin},
		{Name: "web-viewer", Role: trust.Viewer, Workspace: "web"}, {Name: "web-operator", Role: trust.Operator, Workspace: "web"}, {Name: "web-admin", Role: trust.Admin, Workspace: "web"},
		{Name: "old", Role: trust.Admin, Expires: start.Add(time.Hour)}, {Name: "gone", Role: trust.Admin, Revoked: start.Add(time.Hour)},
		{Name: "reader", Access: trust.Read, Workspace: "web"}, {Name: "main", Access: trust.Trusted, Workspace: "web"}, {Name: "branch", Access: trust.Isolated, Workspace: "docs"},
	} {
		text, hash := trust.NewToken()
		if token.Role != "" {
			text, hash = trust.NewAdminToken()
		}
		token.Hash, token.ID, token.Created = hash, hash.ID(), start.Add(time.Duration(i)*time.Second)
		must(f.ledger.CreateToken(ctx, token))
		f.tokens[token.Name], f.ids[token.Name] = text, token.ID
	}
	for i, workspace := range []cache.Workspace{"web", "docs", ""} {
		r, err := trust.NewRevocation(trust.RevokeRun, fmt.Sprint(17+i), workspace, "a reason", start.Add(time.Duration(i)*time.Second))
		must(err)
		_, err = f.ledger.CreateRevocation(ctx, r)
		must(err)
		f.ids["revocation of "+string(workspace)] = r.ID
	}
	p, err := policy.Parse("policy.yaml", []byte(testPolicy))
	must(err)
	f.auth, err = trust.NewAuthenticator(ctx, trust.Options{
		Source: f.ledger, Uses: f.ledger, Keys: f.keys, Policy: p, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	})
	must(err)
	for name, scope := range map[string]cache.Scope{"job of pr/17": "pr/17", "job of pr/18": "pr/18", "job of main": cache.Trusted, "job that reads": ""} {
		f.tokens[name] = f.session(p, scope, now)
	}
	f.tokens["job of pr/17, ended"] = f.session(p, "pr/17", start.Add(-24*time.Hour))
	f.open(f.auth, p)
	f.happen()
	return f
}

// newFixture makes tokens of all kinds, revocations, and entries in two workspaces; and a purge, a run of the retention and a divergence in each and of all.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := newUnsealedFixture(t)
	if err := audit.NewKeeper(f.ledger, audit.KeeperOptions{Keys: testAuditKeys, Now: func() time.Time { return now }}).Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

var testAuditKeys = []audit.Key{audit.NewKey("0123456789ab", bytes.Repeat([]byte{7}, 32))}

// happen has purges ordered, retention run and divergences found.
func (f *fixture) happen() {
	f.t.Helper()
	ctx := f.t.Context()
	unbounded := retention.New(retention.Options{Ledger: f.ledger, Now: func() time.Time { return now }, Replica: "replica"})
	for i, workspace := range []cache.Workspace{"web", "docs", ""} {
		id := strings.Repeat(string("abc"[i]), 12)
		at := start.Add(time.Duration(i) * time.Second)
		if err := f.ledger.CreatePurge(ctx, ledger.Purge{
			ID: id, State: ledger.PurgeRunning, By: "jo@laptop", Reason: "a reason", Filter: ledger.Filter{Workspace: workspace, Run: "0", Until: at},
			Created: at, Changed: at, Discard: at.Add(7 * 24 * time.Hour),
		}); err != nil {
			f.t.Fatal(err)
		}
		f.ids["purge of "+string(workspace)] = id
		if _, err := unbounded.Look(ctx, retention.Request{Workspace: workspace}); err != nil {
			f.t.Fatal(err)
		}
		runs, err := retention.Runs(ctx, f.ledger)
		if err != nil {
			f.t.Fatal(err)
		}
		f.ids["run of "+string(workspace)] = runs[0].ID
	}
	f.diverge(cache.Key{Workspace: "web", Hash: "7"}, cache.Key{Workspace: "docs", Hash: "8"}, cache.Key{Workspace: "web", Hash: "9"})
	found, _, err := f.ledger.Divergences(ctx, ledger.DivergenceFilter{}, "", 100)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, d := range found {
		f.ids["divergence of "+string(d.Workspace)] = fmt.Sprint(d.ID)
	}
}

// diverge has divergences found, of entries that are gone since.
func (f *fixture) diverge(keys ...cache.Key) {
	f.t.Helper()
	for i, key := range keys {
		var entries []cache.Entry
		var gone []cache.Key
		for k, scope := range []cache.Scope{cache.Trusted, "pr/19"} {
			key.Scope = scope
			entries = append(entries, cache.Entry{Key: key, Record: cache.Record{
				Size: 10, SHA256: artifact.Digest{byte(k)}, Content: artifact.Digest{byte(k)}, Created: start.Add(time.Duration(i) * time.Hour),
				Producer: cache.Producer{Kind: trust.ProducerCI, RunID: fmt.Sprint(200 + k), RepositoryID: "456789"},
			}})
			gone = append(gone, key)
		}
		if err := f.ledger.RecordEntries(f.t.Context(), entries); err != nil {
			f.t.Fatal(err)
		}
		if _, err := f.ledger.FindDivergences(f.t.Context(), 100); err != nil {
			f.t.Fatal(err)
		}
		if err := f.ledger.ForgetEntries(f.t.Context(), gone); err != nil {
			f.t.Fatal(err)
		}
	}
}

// session makes a session in the workspace web.
func (f *fixture) session(p *policy.Policy, write cache.Scope, issued time.Time) string {
	f.t.Helper()
	s := &session.Session{
		ID: session.NewID(), Issuer: "https://token.actions.githubusercontent.com", Policy: p.Fingerprint(), Issued: issued, Expires: issued.Add(time.Hour),
		Claims: map[string]any{"aud": p.Audience()},
		Grant: cache.Grant{Workspace: "web", Read: []cache.Scope{cache.Trusted}, Write: write, Producer: cache.Producer{
			Kind: trust.ProducerCI, RepositoryID: "456789", RunID: "1000", Issuer: "https://token.actions.githubusercontent.com",
		}},
	}
	s.Grant.Producer.Session = s.ID
	text, err := session.Mint(f.keys, s)
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

func newEmptyFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, keys: keyring.New([32]byte{1}).Derive("session"), log: &lockedBuffer{}, tokens: map[string]string{}, ids: map[string]string{}, spec: loadDocument(t)}
	var err error
	if f.ledger, err = ledger.Open(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.ledger.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fixture) open(auth Authenticator, p *policy.Policy) {
	dir := f.t.TempDir()
	store, err := fs.Open(dir, fs.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := store.Close(); err != nil {
			f.t.Error(err)
		}
	})
	sealing := keyring.New([32]byte{1}).Derive("seal")
	sealed := seal.New(store, sealing, seal.Options{})
	f.fill(sealed)
	reader, err := fs.OpenReader(dir)
	if err != nil {
		f.t.Fatal(err)
	}
	f.collector = retention.New(retention.Options{
		Ledger: f.ledger, Store: sealed, Now: func() time.Time { return now }, Replica: "replica", Interval: time.Hour,
		Limits: func(cache.Workspace) retention.Limits {
			return retention.Limits{Others: retention.Ages{MaxAge: time.Hour}}
		},
	})
	local := admin.New(admin.Options{
		Collector: f.collector, AuditKeys: testAuditKeys,
		EndScope: func(ctx context.Context, workspace cache.Workspace, scope cache.Scope) (out admin.DeletedScope, err error) {
			for entry, err := range sealed.List(ctx, workspace) {
				if err != nil || entry.Key.Scope != scope {
					continue
				}
				if err := sealed.Delete(ctx, entry.Key); err != nil {
					return out, err
				}
				out.Entries, out.Bytes = out.Entries+1, out.Bytes+entry.Record.Size
			}
			out.Complete = true
			return out, nil
		},
		Ledger: f.ledger, Finder: finder{reader}, Limits: artifact.DefaultLimits(), Now: func() time.Time { return now },
		Seal: func(key cache.Key, record cache.Record) (admin.Seal, error) {
			return admin.JudgeSeal(sealing, key, record), nil
		},
	})
	f.API = New(Options{
		Auth: auth, As: local.As, Policy: func() *policy.Policy { return p }, Registerer: prometheus.NewRegistry(),
		Log: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Status: func() admin.Status {
			return admin.Status{
				Version: "v0", State: admin.Degraded, Workspaces: []cache.Workspace{"default", "docs", "web"}, Store: "/var/lib/bezoar/store", Ledger: "/var/lib/bezoar/ledger.db",
				Causes: []admin.Cause{{Name: "tokens"}, {Name: "policy", Degraded: true, Detail: "/etc/bezoar/policy.yaml: it is gone"}},
			}
		},
	})
}

// fill stores entries, and has the ledger know them.
func (f *fixture) fill(store cache.Store) {
	// Stored and not compressed, so that its digest does not depend on the compressor.
	body := artifacttest.GzipLevel(artifacttest.Tar(artifacttest.Dir("dist"), artifacttest.File("dist/main.js", "console.log(1)\n"),
		artifacttest.Symlink("dist/latest", "main.js"), artifacttest.TerminalOutput("built"), artifacttest.Code(0)), gzip.NoCompression)
	summary, err := artifact.Check(bytes.NewReader(body), artifact.DefaultLimits())
	if err != nil {
		f.t.Fatal(err)
	}
	for i, key := range []cache.Key{
		{Workspace: "web", Scope: cache.Trusted, Hash: "1"}, {Workspace: "web", Scope: "pr/17", Hash: "1"}, {Workspace: "web", Scope: "pr/17", Hash: "2"},
		{Workspace: "docs", Scope: cache.Trusted, Hash: "3"}, {Workspace: "docs", Scope: "branch/refs/heads/a b%2Fü", Hash: "3"},
	} {
		record := cache.Record{
			Size: summary.Size, SHA256: summary.SHA256, Content: summary.Content, Inflated: summary.Inflated, Members: summary.Members,
			Created: start.Add(time.Duration(i) * time.Minute),
			Producer: cache.Producer{Kind: trust.ProducerCI, Provider: "github", Issuer: "https://token.actions.githubusercontent.com", Repository: "acme/web",
				RepositoryID: "456789", Ref: "refs/heads/main", RunID: fmt.Sprint(100 + i), Actor: "mona", ActorID: "583231"},
		}
		draft, err := store.Create(f.t.Context(), key)
		if err != nil {
			f.t.Fatal(err)
		}
		if _, err := draft.Write(body); err != nil {
			f.t.Fatal(err)
		}
		if err := draft.Commit(f.t.Context(), record); err != nil {
			f.t.Fatal(err)
		}
		if err := f.ledger.RecordEntries(f.t.Context(), []cache.Entry{{Key: key, Record: record}}); err != nil {
			f.t.Fatal(err)
		}
	}
}

type finder struct{ *fs.Reader }

func (d finder) Look(ctx context.Context, key cache.Key) (*admin.Sight, error) {
	found, err := d.Reader.Look(ctx, key)
	if err != nil {
		return nil, err
	}
	return &admin.Sight{Entry: found.Entry, Place: "/store/entry", Damage: found.Damage, Body: found.Body, Close: found.Close}, nil
}

// ask sends a request and holds the answer against the document. who is the name of a token, or else a whole Authorization header.
func (f *fixture) ask(who, method, path, body string) (int, string) {
	f.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequestWithContext(f.t.Context(), method, Prefix+path, r)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if text, ok := f.tokens[who]; ok {
		who = "Bearer " + text
	}
	if who != "" {
		req.Header.Set("Authorization", who)
	}
	return f.send(req, f.API)
}

func (f *fixture) send(req *http.Request, to http.Handler) (int, string) {
	f.t.Helper()
	w := httptest.NewRecorder()
	to.ServeHTTP(w, req)
	answer := w.Result()
	text := w.Body.String()
	f.spec.check(f.t, req, answer, text)
	if got := answer.Header.Get("Cache-Control"); got != "no-store" {
		f.t.Errorf("%s %s: Cache-Control %q", req.Method, req.URL, got)
	}
	if got := answer.Header.Get("Access-Control-Allow-Origin"); got != "" {
		f.t.Errorf("%s %s: other sites may read it: %q", req.Method, req.URL, got)
	}
	return answer.StatusCode, text
}
