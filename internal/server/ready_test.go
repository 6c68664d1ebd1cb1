package server

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// answer sends a GET to a handler and returns the answer.
func answer(t *testing.T, h http.Handler, path string, header ...string) (int, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func causes(all map[string]string) iter.Seq2[string, string] { return maps.All(all) }

func TestReadyTellsWhatDoesNotWork(t *testing.T) {
	trouble := map[string]string{"policy": "policy.yaml:3:1: there is no such setting"}
	f := newFixture(t, func(o *Options) { o.Causes = causes(trouble) })
	for name, h := range map[string]http.Handler{"beside the API": f.server.Handler(), "on its own": f.server.Telemetry().Handler} {
		if status, got := answer(t, h, "/readyz"); status != 200 || got != "ready\n" {
			t.Errorf("%s: %d %q", name, status, got)
		}
		if status, got := answer(t, h, "/readyz?verbose"); status != 200 || got != "ready, degraded\npolicy degraded: policy.yaml:3:1: there is no such setting\n" {
			t.Errorf("%s: %d %q", name, status, got)
		}
	}
	trouble["policy"] = ""
	if status, got := answer(t, f.server.Handler(), "/readyz?verbose"); status != 200 || got != "ready\npolicy ok\n" {
		t.Errorf("without trouble: %d %q", status, got)
	}
	f.server.stopping.Store(true)
	if status, got := answer(t, f.server.Handler(), "/readyz?verbose"); status != 503 || got != "shutting down\npolicy ok\n" {
		t.Errorf("at the end: %d %q", status, got)
	}
	if status, got := answer(t, newFixture(t).server.Handler(), "/readyz?verbose=1"); status != 200 || got != "ready\n" {
		t.Errorf("a server that knows no causes: %d %q", status, got)
	}
}

// TestWhatDoesNotWorkIsNotForAll: a probe gets its answer, and no more than that who may not see the metrics.
func TestWhatDoesNotWorkIsNotForAll(t *testing.T) {
	inner := causes(map[string]string{"tokens": "/var/lib/bezoar/ledger.db is locked"})
	f := newFixture(t, func(o *Options) { o.Causes, o.MetricsToken = inner, "s3cret" })
	own := newFixture(t, func(o *Options) { o.Causes, o.ServeMetrics = inner, false })
	for name, h := range map[string]http.Handler{
		"without the token": f.server.Handler(), "without the token, on its own": f.server.Telemetry().Handler, "beside the API": own.server.Handler(),
	} {
		if status, got := answer(t, h, "/readyz?verbose"); status != 200 || !strings.HasPrefix(got, "ready\n") || strings.Contains(got, "tokens") || strings.Contains(got, "ledger") {
			t.Errorf("%s: %d %q", name, status, got)
		}
	}
	for name, h := range map[string]http.Handler{"with the token": f.server.Handler(), "with the token, on its own": f.server.Telemetry().Handler} {
		if status, got := answer(t, h, "/readyz?verbose", "Authorization", "Bearer s3cret"); status != 200 || !strings.Contains(got, "\ntokens degraded: /var/lib") {
			t.Errorf("%s: %d %q", name, status, got)
		}
	}
}

// TestProfiles are served on the other listener alone, and for who may see the metrics.
func TestProfiles(t *testing.T) {
	paths := []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=1", "/debug/pprof/symbol", "/debug/pprof/profile?seconds=1", "/debug/pprof/trace?seconds=0.1"}
	token := []string{"Authorization", "Bearer s3cret"}
	guarded := newFixture(t, func(o *Options) { o.MetricsToken = "s3cret" }).server
	open := newFixture(t).server
	for _, path := range append(paths, "/debug/pprof/cmdline", "/debug/pprof") {
		for name, s := range map[string]*Server{"guarded": guarded, "open": open} {
			if status, _ := answer(t, s.Handler(), path, token...); status != 404 {
				t.Errorf("%s: %s beside the API: %d", name, path, status)
			}
		}
	}
	for _, path := range paths {
		for _, header := range [][]string{nil, {"Authorization", "Bearer s3cre"}, {"Authorization", "Bearer"}} {
			if status, got := answer(t, guarded.Telemetry().Handler, path, header...); status != 401 || !strings.Contains(got, "metrics-token") {
				t.Errorf("%s with %q: %d %s", path, header, status, got)
			}
		}
	}
	for path, want := range map[string]string{"/debug/pprof/": "heap", "/debug/pprof/goroutine?debug=1": "goroutine profile:", "/debug/pprof/heap": "", "/debug/pprof/symbol": "num_symbols", "/debug/pprof/trace?seconds=0.01": ""} {
		if status, got := answer(t, guarded.Telemetry().Handler, path, token...); status != 200 || got == "" || !strings.Contains(got, want) {
			t.Errorf("%s: %d, %d bytes", path, status, len(got))
		}
		if status, _ := answer(t, open.Telemetry().Handler, path); status != 200 {
			t.Errorf("%s without a token to ask for: %d", path, status)
		}
	}
	// A profile of the CPU is a matter of a second at least. One that is broken off has begun all the same.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	open.Telemetry().Handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/debug/pprof/profile?seconds=600", nil))
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/octet-stream" {
		t.Errorf("profile: %d %v", w.Code, w.Header())
	}
	// What a command line says is nobody's business, and PUT is answered as everywhere.
	if status, got := answer(t, open.Telemetry().Handler, "/debug/pprof/cmdline"); status != 404 || strings.Contains(got, "test") {
		t.Errorf("cmdline: %d %s", status, got)
	}
	w = httptest.NewRecorder()
	open.Telemetry().Handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/debug/pprof/heap", strings.NewReader("x")))
	if w.Code != 403 {
		t.Errorf("PUT: %d", w.Code)
	}
}
