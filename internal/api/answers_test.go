package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden holds what each route answers against a file: scripts depend on it.
func TestGolden(t *testing.T) {
	for _, x := range []struct{ name, who, method, path, body string }{
		{"status", "viewer", "GET", "/status", ""},
		{"status-of-web", "web-viewer", "GET", "/status", ""},
		{"policy", "viewer", "GET", "/policy", ""},
		{"policy-of-web", "web-viewer", "GET", "/policy", ""},
		{"explain", "viewer", "POST", "/policy/explain", `{"claims":` + claims + `}`},
		{"explain-denied", "web-viewer", "POST", "/policy/explain", `{"claims":{"iss":"https://elsewhere.example"}}`},
		{"tokens", "viewer", "GET", "/tokens", ""},
		{"tokens-page", "viewer", "GET", "/tokens?limit=2", ""},
		{"tokens-none", "viewer", "GET", "/tokens?workspace=nobody", ""},
		{"token-created", "admin", "POST", "/tokens", `{"name":"ci","access":"isolated","developer":"jo","workspace":"web","expires":"never"}`},
		{"token-role-created", "admin", "POST", "/tokens", `{"name":"ops","role":"operator"}`},
		{"token-revoked", "operator", "POST", "/tokens/reader/revoke", ""},
		{"revocations", "viewer", "GET", "/revocations", ""},
		{"revoked", "operator", "POST", "/revocations", `{"kind":"actor","value":"583231","reason":"left"}`},
		{"revoked-before", "operator", "POST", "/revocations", `{"kind":"run","value":"17","workspace":"web"}`},
		{"entries", "viewer", "GET", "/entries?limit=2", ""},
		{"entries-none", "viewer", "GET", "/entries?run=0", ""},
		{"scopes", "viewer", "GET", "/scopes", ""},
		{"scopes-of-web", "viewer", "GET", "/workspaces/web/scopes", ""},
		{"purges", "viewer", "GET", "/purges", ""},
		{"purge", "viewer", "GET", "/purges/aaaaaaaaaaaa", ""},
		{"purge-planned", "viewer", "POST", "/purges/plan", `{"workspace":"web","actor":"583231"}`},
		{"purge-ordered", "operator", "POST", "/purges", `{"workspace":"web","scope":"pr/17","since":"2026-11-01T00:00:00Z","reason":"INC-42"}`},
		{"purge-undone", "admin", "POST", "/purges/aaaaaaaaaaaa/undo", ""},
		{"gc-planned", "viewer", "GET", "/gc/plan?list=1", ""},
		{"gc-runs", "viewer", "GET", "/gc/runs", ""},
		{"gc-run-begun", "operator", "POST", "/gc/runs?workspace=docs", ""},
		{"divergences", "viewer", "GET", "/divergences", ""},
		{"divergence", "viewer", "GET", "/divergences/1", ""},
		{"audit-events", "viewer", "GET", "/audit/events?action=token.created&limit=1", ""},
		{"audit-lines", "viewer", "GET", "/audit/lines?limit=1", ""},
		{"audit-head", "viewer", "GET", "/audit/head", ""},
		{"inspection", "viewer", "GET", "/workspaces/docs/scopes/branch%2Frefs%2Fheads%2Fa%20b%252F%C3%BC/entries/3?members=2", ""},
		{"inspection-without-archive", "viewer", "GET", "/workspaces/web/scopes/trusted/entries/1?archive=false", ""},
		{"scope-deleted", "operator", "DELETE", "/workspaces/web/scopes/pr%2F17", ""},
		{"not-found", "viewer", "GET", "/workspaces/web/scopes/pr%2F18/entries/1", ""},
		{"forbidden", "viewer", "POST", "/revocations", `{"kind":"run","value":"17"}`},
	} {
		t.Run(x.name, func(t *testing.T) {
			status, text := newFixture(t).ask(x.who, x.method, x.path, x.body)
			var indented bytes.Buffer
			if err := json.Indent(&indented, []byte(text), "", "  "); err != nil {
				t.Fatal(err, text)
			}
			got := fmt.Sprintf("%s %s\n%d\n%s", x.method, x.path, status, normal(indented.String()))
			file := filepath.Join("testdata", x.name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the answer changed; fields may be added, not changed: go test ./internal/api -run TestGolden -update\n%s", diff)
			}
		})
	}
}

const claims = `{"iss":"https://token.actions.githubusercontent.com","aud":"https://cache.example.com","repository_id":"456789","repository_owner_id":"123456",
"event_name":"pull_request","ref":"refs/pull/17/merge","ref_type":"branch","run_id":"1000","repository":"acme/web"}`

// normal leaves out what chance decides.
func normal(text string) string {
	for _, x := range [][2]string{
		{`bz[ar]_[0-9A-Za-z]{49}`, "TOKEN"}, {`sha256:[0-9a-f]{64}`, "HASH"}, {`"(id|next)": "[0-9a-f]{12}"`, `"$1": "ID"`}, {`"seal": "[^"]+"`, `"seal": "SEAL"`},
		{`"(used|time|found|since)": "20[^"]+"`, `"$1": "TIME"`}, {`\([0-9a-f]{12}\)`, `(ID)`},
		{`"fingerprint": "[0-9a-f]{32}"`, `"fingerprint": "FINGERPRINT"`}, // of the rules of a release
		{`"next": "[0-9a-z]+\.[0-9a-z]+"`, `"next": "CURSOR"`}, {`"hash": "[0-9a-f]{64}"`, `"hash": "HASH"`}, {`"(id|token_id|subject)": "[0-9a-f]{12}"`, `"$1": "ID"`},
		{`"head": "[0-9a-f]{64}"`, `"head": "HEAD"`}, {`"\{.*\}"`, `"LINE"`}, {`"key": "[0-9a-f]{12}"`, `"key": "KEY"`}, {`"([0-9a-f]{12}:)[0-9a-f]{64}"`, `"PUBLIC KEY"`}, {`"public_key": "[^"]+"`, `"public_key": "PUBLIC KEY"`},
	} {
		text = regexp.MustCompile(x[0]).ReplaceAllString(text, x[1])
	}
	return text
}

// TestEveryStatus makes each route give each answer that the document has for it, and so shows that the document has no more than there is; that it has no less
// shows each request of these tests.
func TestEveryStatus(t *testing.T) {
	f := newFixture(t)
	names := map[string]route{}
	for _, r := range f.routes {
		names[r.name()] = r
	}
	for _, r := range f.routes {
		if r.public {
			f.ask("", r.method, r.path, "")
			f.broken(r, nil)
			continue
		}
		fresh := newFixture(t)
		fresh.spec = f.spec
		x := examples[r.name()]
		path, body := x.in(fresh, "web")
		who := "admin"
		bad := path + "?nothing=1"
		if strings.Contains(path, "?") {
			bad = path + "&nothing=1"
		}
		fresh.ask(who, r.method, bad, body)                                                // 400
		fresh.ask("", r.method, path, body)                                                // 401
		fresh.ask("web-viewer", r.method, strings.Replace(path, "/web", "/docs", 1), body) // 403, for most
		fresh.ask(who, r.method, path, body)                                               // 200, 201
		if r.body {
			fresh.ask(who, r.method, path, body) // 409, or 200 of what is there already
			fresh.ask(who, r.method, path, strings.Repeat(" ", maxBody)+body)
			fresh.plain(r, path, body)
			fresh.late(r, path)
		}
		fresh.broken(r, errors.New("the disk is on fire"))
		fresh.broken(r, nil)
	}
	for _, path := range []string{"/tokens/nobody/revoke", "/revocations/0123456789ab/lift", "/purges/0123456789ab/undo", "/purges/0123456789ab/discard", "/purges/0123456789ab/resume"} {
		f.ask("admin", "POST", path, "")
	}
	for _, path := range []string{"/purges/0123456789ab", "/gc/runs/0123456789ab", "/divergences/4711"} {
		f.ask("admin", "GET", path, "")
	}
	f.wrongStates()
	f.ask("admin", "GET", "/workspaces/web/scopes/trusted/entries/nothing", "")
	f.twins()
	for _, r := range f.routes {
		if !r.public {
			open := f.unready()
			path, body := examples[r.name()].in(f, "web")
			open.ask("admin", r.method, path, body) // 403: open
		}
	}
	f.withoutPolicy()
	var documented []string
	for path, operations := range f.spec.Paths {
		for method, o := range operations {
			for status := range o.Responses {
				documented = append(documented, strings.ToUpper(method)+" "+path+" "+status)
			}
		}
	}
	var seen []string
	for s := range f.spec.seen {
		seen = append(seen, s)
	}
	slices.Sort(documented)
	slices.Sort(seen)
	if diff := cmp.Diff(documented, seen); diff != "" {
		t.Errorf("the answers that the document has (-) and those that there are (+):\n%s", diff)
	}
}

// wrongStates asks for what cannot be as things are, and for the head of a log that nobody has sealed.
func (f *fixture) wrongStates() {
	f.t.Helper()
	for _, x := range []struct {
		path string
		want int
	}{
		{"/purges/aaaaaaaaaaaa/undo", 202}, {"/purges/aaaaaaaaaaaa/discard", 409}, {"/purges/bbbbbbbbbbbb/discard", 202}, {"/purges/bbbbbbbbbbbb/undo", 409},
		{"/gc/runs", 202}, {"/gc/runs", 409},
	} {
		if got, text := f.ask("admin", "POST", x.path, ""); got != x.want {
			f.t.Errorf("%s: %d %s, want %d", x.path, got, text, x.want)
		}
	}
	unsealed := newUnsealedFixture(f.t)
	unsealed.spec = f.spec
	if got, text := unsealed.ask("admin", "GET", "/audit/head", ""); got != http.StatusNotFound {
		f.t.Error(got, text)
	}
}

// broken asks while everything fails: with an error, or with a panic.
func (f *fixture) broken(r route, err error) {
	f.t.Helper()
	as, status, p := f.opts.As, f.opts.Status, f.opts.Policy
	defer func() { f.opts.As, f.opts.Status, f.opts.Policy = as, status, p }()
	f.opts.As = func(admin.Actor) admin.Service { return failing{err} }
	f.opts.Status = func() admin.Status { panic("a bug") }
	f.opts.Policy = func() *policy.Policy { panic("a bug") }
	const want = http.StatusInternalServerError
	if err != nil {
		f.fill503(r)
		return
	}
	if r.public {
		for i := range f.routes {
			if f.routes[i].public {
				f.routes[i].public = false
				f.routes[i].role = trust.Viewer
				f.routes[i].do = func(context.Context, *call) (int, any, error) { panic("a bug") }
			}
		}
		defer func() { f.routes = f.table() }()
	}
	path, body := examples[r.name()].in(f, "web")
	if r.public {
		path = r.path
	}
	if got, text := f.ask("admin", r.method, path, body); got != want {
		f.t.Errorf("%s: %d %s, want %d", r.name(), got, text, want)
	}
	if strings.Contains(f.log.String(), "a bug") == false {
		f.t.Error("the log says nothing of the bug")
	}
}

// fill503 asks while there is too much to do.
func (f *fixture) fill503(r route) {
	f.t.Helper()
	path, body := examples[r.name()].in(f, "web")
	turns, maxWait := f.turns, f.maxWait
	defer func() { f.turns, f.maxWait = turns, maxWait }()
	f.maxWait = time.Millisecond
	f.turns = make(chan struct{}) // as if all were taken
	if got, text := f.ask("admin", r.method, path, body); got != http.StatusServiceUnavailable || !strings.Contains(text, `"busy"`) {
		f.t.Errorf("%s: %d %s", r.name(), got, text)
	}
}

// failing is a service of which everything fails.
type failing struct{ err error }

func (s failing) do() error {
	if s.err == nil {
		panic("a bug")
	}
	return s.err
}
func (failing) Place() string { return "" }
func (s failing) Tokens(context.Context, cache.Workspace, admin.Page) (admin.Tokens, error) {
	return admin.Tokens{}, s.do()
}
func (s failing) CreateToken(context.Context, admin.NewToken) (admin.CreatedToken, error) {
	return admin.CreatedToken{}, s.do()
}
func (s failing) RevokeToken(context.Context, string, cache.Workspace) (admin.TokenChange, error) {
	return admin.TokenChange{}, s.do()
}
func (s failing) Revocations(context.Context, admin.Page) (admin.Revocations, error) {
	return admin.Revocations{}, s.do()
}
func (s failing) Revoke(context.Context, admin.NewRevocation) (admin.RevocationChange, error) {
	return admin.RevocationChange{}, s.do()
}
func (s failing) LiftRevocation(context.Context, string) (admin.RevocationChange, error) {
	return admin.RevocationChange{}, s.do()
}
func (s failing) Entries(context.Context, ledger.Filter, admin.Page) (admin.Entries, error) {
	return admin.Entries{}, s.do()
}
func (s failing) Scopes(context.Context, cache.Workspace, admin.Page) (admin.Scopes, error) {
	return admin.Scopes{}, s.do()
}
func (s failing) DeleteScope(context.Context, cache.Workspace, cache.Scope) (admin.DeletedScope, error) {
	return admin.DeletedScope{}, s.do()
}
func (s failing) Inspect(context.Context, cache.Key, admin.Look) (*admin.Inspection, error) {
	return nil, s.do()
}

func (s failing) PlanPurge(context.Context, admin.NewPurge) (admin.PurgePlan, error) {
	return admin.PurgePlan{}, s.do()
}
func (s failing) OrderPurge(context.Context, admin.NewPurge) (admin.Purge, error) {
	return admin.Purge{}, s.do()
}
func (s failing) Purges(context.Context, admin.Page) (admin.Purges, error) {
	return admin.Purges{}, s.do()
}
func (s failing) Purge(context.Context, string) (admin.Purge, error) { return admin.Purge{}, s.do() }
func (s failing) UndoPurge(context.Context, string) (admin.Purge, error) {
	return admin.Purge{}, s.do()
}
func (s failing) DiscardPurge(context.Context, string) (admin.Purge, error) {
	return admin.Purge{}, s.do()
}
func (s failing) ResumePurge(context.Context, string) (admin.Purge, error) {
	return admin.Purge{}, s.do()
}
func (s failing) PlanGC(context.Context, cache.Workspace, int) (admin.Collection, error) {
	return admin.Collection{}, s.do()
}
func (s failing) RunGC(context.Context, cache.Workspace) (admin.GCRun, error) {
	return admin.GCRun{}, s.do()
}
func (s failing) GCRuns(context.Context, admin.Page) (admin.GCRuns, error) {
	return admin.GCRuns{}, s.do()
}
func (s failing) GCRun(context.Context, string) (admin.GCRun, error) { return admin.GCRun{}, s.do() }
func (s failing) Divergences(context.Context, ledger.DivergenceFilter, admin.Page) (admin.Divergences, error) {
	return admin.Divergences{}, s.do()
}
func (s failing) Divergence(context.Context, int64) (admin.Divergence, error) {
	return admin.Divergence{}, s.do()
}
func (s failing) AuditEvents(context.Context, ledger.AuditFilter, admin.Page) (admin.Events, error) {
	return admin.Events{}, s.do()
}
func (s failing) AuditLines(context.Context, admin.Page) (admin.AuditLines, error) {
	return admin.AuditLines{}, s.do()
}
func (s failing) AuditHead(context.Context) (admin.AuditHead, error) {
	return admin.AuditHead{}, s.do()
}
func (s failing) SealAudit(context.Context) (admin.AuditHead, error) {
	return admin.AuditHead{}, s.do()
}

// TestTroubleIsNotTold: what fails behind the API is said in the log, and to the operator that it is there.
func TestTroubleIsNotTold(t *testing.T) {
	f := newFixture(t)
	f.opts.As = func(admin.Actor) admin.Service {
		return failing{errors.New("dial postgres://bezoar@db.internal: refused")}
	}
	got, text := f.ask("admin", "GET", "/tokens", "")
	if got != 503 || strings.Contains(text, "db.internal") || !strings.Contains(text, `"unavailable"`) {
		t.Fatal(got, text)
	}
	if !strings.Contains(f.log.String(), "db.internal") {
		t.Fatal("the log does not say it either")
	}
}

// plain sends a body that says it is something else.
func (f *fixture) plain(r route, path, body string) {
	f.t.Helper()
	for _, header := range []map[string]string{{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"},
		{"Content-Type": "application/json; charset=latin1"}, {"Content-Type": "application/json", "Content-Encoding": "gzip"}} {
		req := f.request(r, path, strings.NewReader(body))
		for name, value := range header {
			req.Header.Set(name, value)
		}
		if got, text := f.send(req, f.API); got != http.StatusUnsupportedMediaType {
			f.t.Errorf("%s with %v: %d %s", r.name(), header, got, text)
		}
	}
}

func (f *fixture) request(r route, path string, body io.Reader) *http.Request {
	req := httptest.NewRequestWithContext(f.t.Context(), r.method, Prefix+path, body)
	req.Header.Set("Authorization", "Bearer "+f.tokens["admin"])
	return req
}

// late sends a body that does not come to its end, and one that breaks off.
func (f *fixture) late(r route, path string) {
	f.t.Helper()
	for err, want := range map[error]int{os.ErrDeadlineExceeded: http.StatusRequestTimeout, io.ErrUnexpectedEOF: http.StatusBadRequest} {
		req := f.request(r, path, io.MultiReader(strings.NewReader(`{"name":`), failingReader{err}))
		req.Header.Set("Content-Type", "application/json")
		if got, text := f.send(req, f.API); got != want {
			f.t.Errorf("%s: %d %s, want %d", r.name(), got, text, want)
		}
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// twins makes two tokens of one name, which only a workspace tells apart.
func (f *fixture) twins() {
	f.t.Helper()
	for _, workspace := range []string{"web", "docs"} {
		f.ask("admin", "POST", "/tokens", `{"name":"twin","access":"read","workspace":"`+workspace+`"}`)
	}
	if got, text := f.ask("admin", "POST", "/tokens/twin/revoke", ""); got != http.StatusConflict {
		f.t.Error(got, text)
	}
	if got, text := f.ask("admin", "POST", "/tokens/twin/revoke?workspace=web", ""); got != http.StatusOK {
		f.t.Error(got, text)
	}
}

// unready is the same API before there was a token.
func (f *fixture) unready() *fixture {
	open := *f
	api := *f.API
	api.opts.Auth = nobody{}
	open.API = &api
	return &open
}

type nobody struct{ Authenticator }

func (nobody) Open() bool { return true }

func (f *fixture) withoutPolicy() {
	f.t.Helper()
	p := f.opts.Policy
	defer func() { f.opts.Policy = p }()
	f.opts.Policy = func() *policy.Policy { return nil }
	if got, text := f.ask("viewer", "POST", "/policy/explain", `{"claims":{}}`); got != http.StatusConflict {
		f.t.Error(got, text)
	}
	if got, text := f.ask("viewer", "GET", "/policy", ""); got != http.StatusOK || !strings.Contains(text, `"fingerprint":""`) {
		f.t.Error(got, text)
	}
}

// TestTurns: a request waits for its turn, but not for long, and jobs wait for each other alone.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := func(role trust.Role, a *API) error {
			end, err := (&call{api: a, w: httptest.NewRecorder(), r: httptest.NewRequestWithContext(t.Context(), "GET", "/", nil), actor: admin.Actor{Role: role}}).turn()
			if err == nil {
				end()
			}
			return err
		}
		a := &API{turns: make(chan struct{}, 1), ciTurns: make(chan struct{}, 1), maxWait: maxWait}
		a.ciTurns <- struct{}{}
		if err := c(trust.Viewer, a); err != nil {
			t.Fatal("an operator waits for jobs:", err)
		}
		if err := c("", a); err == nil {
			t.Fatal("a job goes before its turn")
		}
		a.turns <- struct{}{}
		done := make(chan error)
		go func() { done <- c(trust.Viewer, a) }()
		synctest.Wait()
		<-a.turns
		if err := <-done; err != nil {
			t.Fatal("a turn that came was not taken:", err)
		}
	})
}

// TestPages walks through lists in pages of one.
func TestPages(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/tokens", "/revocations", "/entries", "/scopes", "/purges", "/gc/runs", "/divergences", "/audit/events", "/audit/lines"} {
		_, text := f.ask("viewer", "GET", path+"?limit=1000", "")
		whole := items(t, text)
		var all []string
		for after := ""; ; {
			_, text := f.ask("viewer", "GET", path+"?limit=1&after="+after, "")
			all = append(all, items(t, text)...)
			var page struct{ Next string }
			if err := json.Unmarshal([]byte(text), &page); err != nil {
				t.Fatal(err)
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if diff := cmp.Diff(whole, all); diff != "" || len(all) < 3 {
			t.Errorf("%s: %d in pages: %s", path, len(all), diff)
		}
		for _, wrong := range []string{"limit=0", "limit=1001", "limit=-1", "limit=x", "limit=01", "limit=1&limit=1", "after=nowhere", "limit=%ff", "limit=%zz"} {
			if got, text := f.ask("viewer", "GET", path+"?"+wrong, ""); got != 400 {
				t.Errorf("%s?%s: %d %s", path, wrong, got, text)
			}
		}
	}
}

// items are what a page holds.
func items(t *testing.T, text string) (all []string) {
	t.Helper()
	var page map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		t.Fatal(err)
	}
	for name, value := range page {
		if name == "next" {
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(value, &list); err != nil {
			t.Fatal(err)
		}
		for _, item := range list {
			all = append(all, string(item))
		}
	}
	return all
}
