package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/api"
	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/purge"
	"github.com/bezoar-cache/bezoar/internal/retention"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/trust"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// twoWays is a data directory, and a server's API over the same one.
type twoWays struct {
	t         *testing.T
	dir       string
	server    *httptest.Server
	tokenFile string
}

func newTwoWays(t *testing.T) *twoWays {
	t.Helper()
	dir := inspectDir(t)
	w := &twoWays{t: t, dir: dir, tokenFile: filepath.Join(dir, "admin.token")}
	text := mustCommand(t, "token", "create", "--data", dir, "--name", "root", "--role", "admin", "--expires", "never")
	if err := os.WriteFile(w.tokenFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, status := command(t, "ledger", "rebuild", "--data", dir, "--json"); status != exitFailure { // some seals are not good
		t.Fatal(status, stderr)
	}
	records, err := ledger.OpenExisting(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := records.Close(); err != nil {
			t.Error(err)
		}
	})
	auth, err := trust.NewAuthenticator(t.Context(), trust.Options{Source: records, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := fs.OpenReader(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Open(filepath.Join(dir, "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := records.FindDivergences(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	collector, purgeChanged := workers(t, records, dir, ring)
	local := admin.New(admin.Options{
		Ledger: records, Finder: inDirectory{reader}, Limits: artifact.DefaultLimits(), Now: time.Now,
		Collector: collector, PurgeChanged: purgeChanged, AuditKeys: auditKeys(ring),
		Seal: func(key cache.Key, record cache.Record) (admin.Seal, error) {
			return admin.JudgeSeal(ring.Derive("seal"), key, record), nil
		},
	})
	w.server = httptest.NewServer(api.New(api.Options{
		Auth: auth, As: local.As, Policy: func() *policy.Policy { return nil }, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}))
	t.Cleanup(w.server.Close)
	return w
}

// workers are what a server has for work that is longer than a request.
func workers(t *testing.T, records *ledger.Ledger, dir string, ring *keyring.Ring) (collector *retention.Runner, purgeChanged func(context.Context)) {
	t.Helper()
	store, err := fs.Open(filepath.Join(dir, "store"), fs.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := purge.LoadRules(t.Context(), records, slog.New(slog.DiscardHandler), nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	keeper := purge.NewKeeper(rules, purge.NewEngine(records, store, "a server", purge.NewMetrics(nil), time.Now), slog.New(slog.DiscardHandler))
	collector = retention.New(retention.Options{Ledger: records, Store: seal.New(store, ring.Derive("seal"), seal.Options{}), Now: time.Now, Delay: time.Hour})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { keeper.Run(ctx) })
	running.Go(func() { collector.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return collector, func(context.Context) { keeper.Kick() }
}

func (w *twoWays) here(args ...string) (stdout, stderr string, status int) {
	return command(w.t, append(args, "--data", w.dir)...)
}

func (w *twoWays) there(args ...string) (stdout, stderr string, status int) {
	return command(w.t, append(args, "--server", w.server.URL, "--token-file", w.tokenFile)...)
}

// sameness leaves out what differs between two runs of one command: what is made by chance, when, and where.
func (w *twoWays) sameness(text string) string {
	text = strings.NewReplacer(w.server.URL, "PLACE", filepath.Join(w.dir, "ledger.db"), "PLACE", "http://127.0.0.1:8099", "PLACE").Replace(text)
	for _, x := range [][2]string{{`bz[ar]_[0-9A-Za-z]{49}`, "TOKEN"}, {`sha256:[0-9a-f]{64}`, "HASH"}, {`\b[0-9a-f]{12}\b`, "ID"}, {`20\d\d-\d\d-\d\dT[0-9:.]+Z`, "TIME"}} {
		text = regexp.MustCompile(x[0]).ReplaceAllString(text, x[1])
	}
	return text
}

// TestBothWays runs each command beside the data and at a server over the same data, and compares what it says.
func TestBothWays(t *testing.T) {
	w := newTwoWays(t)
	for _, args := range [][]string{
		{"token", "list"},
		{"token", "list", "--json"},
		{"token", "create", "--name", "new-WAY", "--access", "trusted", "--workspace", "web"},
		{"token", "create", "--name", "json-WAY", "--access", "isolated", "--developer", "jo", "--json"},
		{"token", "create", "--name", "ops-WAY", "--role", "viewer", "--workspace", "web"},
		{"token", "create", "--name", "root", "--role", "viewer"}, // there is one
		{"token", "create", "--name", "a b", "--access", "read"},  // wrong
		{"token", "create", "--name", "x", "--access", "read", "--role", "viewer"},
		{"token", "revoke", "new-WAY"},
		{"token", "revoke", "new-WAY"}, // again
		{"token", "revoke", "json-WAY", "--json"},
		{"token", "revoke", "nobody"},
		{"revoke", "list"},
		{"revoke", "list", "--json"},
		{"revoke", "run", "4711", "--workspace", "way-WAY", "--reason", "stolen"},
		{"revoke", "run", "4711", "--workspace", "way-WAY"}, // again
		{"revoke", "actor", "jo", "--workspace", "way-WAY", "--json"},
		{"revoke", "session", "x"},
		{"revoke", "list", "--json"},
		{"revoke", "lift", "0123456789ab"},
		{"ledger", "entries"},
		{"ledger", "entries", "--json"},
		{"ledger", "entries", "--run", "0"},
		{"ledger", "entries", "--limit", "1"},
		{"ledger", "entries", "--workspace", "web", "--scope", "pr/17", "--repository", "456789", "--actor", "583231", "--hash", "1", "--since", "2026-01-01", "--until", "2026-12-01"},
		{"inspect", "web", "trusted", "1"},
		{"inspect", "web", "trusted", "1", "--members", "0", "--json"},
		{"inspect", "web", "trusted", "1", "--in-toto"},
		{"inspect", "web", "trusted", "unsealed", "--members", "0"},
		{"inspect", "web", "trusted", "damaged"},
		{"inspect", "web", "trusted", "nothing"},
		{"inspect", "web", "pr/18", "1"},
		{"scope", "list", "web"},
		{"scope", "list", "web", "--json"},
		{"scope", "list", "nobody"},
		{"divergences"},
		{"divergences", "web", "--scope", "pr/17", "--json"},
		{"divergences", "docs", "--first-only", "--since", "1h"},
		{"divergences", "show", "4711"},
		{"gc", "runs"},
		{"gc", "--dry-run"},
		{"gc", "--dry-run", "--verbose", "--json"},
		{"gc", "--workspace", "A"},
		{"gc", "--workspace", "web"},
		{"gc", "--json"},
		{"gc", "runs", "--output", "yaml"},
		{"audit", "list"},
		{"audit", "list", "--action", "token.created", "--limit", "2", "--json"},
		{"audit", "list", "--actor", "nobody"},
		{"audit", "export"},
		{"audit", "head"},
		{"audit", "head", "--json"},
		{"purge", "list"},
		{"purge", "list", "--json"},
		{"purge"},
		{"purge", "--workspace", "web", "--yes"},
		{"purge", "--run", "0"},
		{"purge", "--actor", "583231"},
		{"purge", "--actor", "583231", "--json"},
		{"purge", "--run", "none-WAY", "--yes", "--reason", "WAY"},
		{"purge", "--run", "none-WAY", "--revoke", "--yes", "--workspace", "way-WAY"},
		{"purge", "--token", "nobody", "--revoke", "--yes"},
		{"purge", "undo", "0123456789ab"},
		{"purge", "discard", "0123456789ab", "--json"},
		{"purge", "resume", "0123456789ab"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			type said struct {
				Stdout, Stderr string
				Status         int
			}
			run := func(way string, do func(...string) (string, string, int)) said {
				filled := make([]string, len(args))
				for i, a := range args {
					filled[i] = strings.ReplaceAll(a, "WAY", way)
				}
				stdout, stderr, status := do(filled...)
				text := func(s string) string {
					// JSON has no bytes that are no UTF-8, and so a server cannot tell of them.
					return strings.NewReplacer("aaaa", "WAY", "bbbb", "WAY", "\uFFFD", `\xff`).Replace(w.sameness(s))
				}
				return said{text(stdout), text(stderr), status}
			}
			here, there := run("aaaa", w.here), run("bbbb", w.there)
			// A server has no configuration to put a token into, and tells how it was reached.
			if diff := cmp.Diff(here, there); diff != "" {
				t.Errorf("beside the data (-) and at a server (+):\n%s", diff)
			}
		})
	}
}

// TestServerVariables: the environment names a server, unless a flag names data of this machine.
func TestServerVariables(t *testing.T) {
	w := newTwoWays(t)
	for _, x := range []struct {
		environ []string
		args    []string
		status  int
		want    string
	}{
		{[]string{"BEZOAR_SERVER=" + w.server.URL, "BEZOAR_TOKEN_FILE=" + w.tokenFile}, []string{"token", "list"}, 0, "root"},
		{[]string{"BEZOAR_SERVER=http://127.0.0.1:1", "BEZOAR_TOKEN_FILE=" + w.tokenFile}, []string{"token", "list", "--data", w.dir}, 0, "root"},
		{[]string{"BEZOAR_SERVER=http://127.0.0.1:1", "BEZOAR_TOKEN_FILE=" + w.tokenFile}, []string{"token", "list"}, 1, "cannot be reached"},
		{nil, []string{"token", "list", "--server", w.server.URL, "--data", w.dir}, 2, "--server and --data exclude each other"},
		{nil, []string{"token", "list", "--server", w.server.URL}, 2, "--server needs --token-file"},
		{nil, []string{"token", "list", "--server", w.server.URL, "--token-file", filepath.Join(w.dir, "nothing")}, 2, "--token-file: "},
		{nil, []string{"token", "list", "--server", "http://cache.example.com", "--token-file", w.tokenFile}, 2, "use https"},
		{nil, []string{"token", "list", "--server", "https://u:p@cache.example.com", "--token-file", w.tokenFile}, 2, "holds a name or password"},
		{nil, []string{"token", "list", "--server", "cache.example.com", "--token-file", w.tokenFile}, 2, "is no URL"},
		{nil, []string{"inspect", "web", "trusted", "1", "--output", "--server", w.server.URL, "--token-file", w.tokenFile}, 1, "is not shown over the network"},
		{nil, []string{"inspect", "web", "trusted", "1", "--members", "1001", "--server", w.server.URL, "--token-file", w.tokenFile}, 2, "at most 1000"},
	} {
		var out, errs strings.Builder
		status := run(t.Context(), x.args, &environment{Environ: append(x.environ, "HOME="+t.TempDir()), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
		if status != x.status || !strings.Contains(out.String()+errs.String(), x.want) || strings.Contains(errs.String(), "u:p") {
			t.Errorf("%v %q: %d %s%s", x.environ, x.args, status, out.String(), errs.String())
		}
	}
}

// TestTokenFileIsNoArgument: a token where a path belongs is shown nowhere, and sent nowhere.
func TestTokenFileIsNoArgument(t *testing.T) {
	text, _ := trust.NewAdminToken()
	asked := errors.New("the server was asked")
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error(asked) }))
	defer server.Close()
	stdout, stderr, status := command(t, "token", "list", "--server", server.URL, "--token-file", text)
	if status != exitUsage || strings.Contains(stdout+stderr, text[4:20]) {
		t.Fatal(status, stdout, stderr)
	}
	file := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(file, []byte(text+"\n"+text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status = command(t, "token", "list", "--server", server.URL, "--token-file", file)
	if status != exitUsage || strings.Contains(stdout+stderr, text[4:20]) {
		t.Fatal(status, stdout, stderr)
	}
}

// TestOtherServers: what is no API of bezoar's is said to be none, and gets the token at its own address alone.
func TestOtherServers(t *testing.T) {
	w := newTwoWays(t)
	for name, x := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"redirect": {func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, w.server.URL+r.URL.Path, http.StatusFound)
		}, "redirects (302)"},
		"page":  {func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("<html>")) }, "not as bezoar's API does"},
		"proxy": {func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "bad gateway", http.StatusBadGateway) }, "answers 502"},
		"huge": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			for range 33 << 4 {
				if _, err := rw.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, "longer than"},
		"terminal": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/problem+json")
			rw.WriteHeader(http.StatusForbidden)
			_, _ = rw.Write([]byte(`{"code":"forbidden","detail":"\u001b[2J"}`))
		}, `\x1b[2J`},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(x.handler)
			defer server.Close()
			_, stderr, status := command(t, "token", "list", "--server", server.URL, "--token-file", w.tokenFile)
			if status != exitFailure || !strings.Contains(stderr, x.want) {
				t.Fatal(status, stderr)
			}
		})
	}
}

// TestServeAPI: a server has the API beside the cache, and each takes its own credentials alone.
func TestServeAPI(t *testing.T) {
	data := t.TempDir()
	admins := strings.TrimSpace(mustCommand(t, "token", "create", "--data", data, "--name", "ops", "--role", "admin"))
	builds := strings.TrimSpace(mustCommand(t, "token", "create", "--data", data, "--name", "ci", "--access", "trusted"))
	s := startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	ask := func(method, path, token string) int {
		req, err := http.NewRequestWithContext(context.Background(), method, "http://"+s.addr+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for _, x := range []struct {
		method, path, token string
		want                int
	}{
		{"GET", "/api/v1/status", admins, 200},
		{"GET", "/api/v1/status", builds, 401},
		{"GET", "/api/v1/openapi.json", "", 200},
		{"GET", "/api/v1/nothing", admins, 404},
		{"GET", "/v1/cache/1", builds, 404},
		{"GET", "/v1/cache/1", admins, 401},
		{"PUT", "/v1/cache/1", admins, 401},
		{"POST", "/v1/session", admins, 401},
		// Whatever comes before /v1 in a build's address, it is a build's.
		{"GET", "/api/v1/cache/1", builds, 404},
		{"GET", "/api/v1/cache/1", admins, 401},
		{"PUT", "/api/v1/cache/x/y", builds, 403},
		{"PUT", "/api/v1/tokens", builds, 403},
		{"DELETE", "/api/v1/workspaces/default/scopes/pr%2F17", admins, 200},
	} {
		if got := ask(x.method, x.path, x.token); got != x.want {
			t.Errorf("%s %s: %d, want %d", x.method, x.path, got, x.want)
		}
	}
	// An upload to the trusted scope goes by the command, at the server.
	if status, text := upload(t, "http://"+s.addr+"/v1/cache/7", builds); status != 200 {
		t.Fatal(status, text)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(admins), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the entry to be known", func() bool {
		return strings.Contains(mustCommand(t, "ledger", "entries", "--server", "http://"+s.addr, "--token-file", file), " 7 ")
	})
	out := mustCommand(t, "scope", "delete", "default", "trusted", "--yes-trusted", "--server", "http://"+s.addr, "--token-file", file)
	if !strings.HasPrefix(out, "1 entries with ") || ask("GET", "/v1/cache/7", builds) != 404 {
		t.Fatal(out)
	}
	if status := s.stop(); status != 0 {
		t.Fatalf("exit status %d: %s", status, s.stderr)
	}
	if text := s.stderr.String(); !strings.Contains(text, "msg=api method=GET route=\"GET /status\" status=200") || strings.Contains(text, admins[4:20]) {
		t.Error(text)
	}
}

// upload stores an artifact with a token.
func upload(t *testing.T, url, token string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(artifacttest.Typical(1)))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
