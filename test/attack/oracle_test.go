//go:build e2e

package attack_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAnswersTellNothing asks whether answers tell who may not read an entry that it is there.
func TestAnswersTellNothing(t *testing.T) {
	s := newHouse(t).scene(t)
	fork := s.gitlabToken(t, "merge-request-fork-in-parent", nil)
	other := s.session(t, s.githubToken(t, "pull_request", claims{"ref": "refs/pull/18/merge"}))
	nothing := ""
	for who, token := range map[string]string{"trusted": s.main, "pull": s.pull, "docs": s.docs, "other": other, "fork": fork} {
		wantStatus(t, who+" uploads", s.put(t, token, "/v1/cache/there-"+who), http.StatusOK)
	}
	for _, ask := range []struct {
		name, token, path, entry string
		put                      bool // an upload is let in, and leaves an entry behind
	}{
		{"a pull request, of another one's", s.pull, "/v1/cache/", "other", true},
		{"a fork, of main's", fork, "/v1/cache/", "trusted", true},
		{"a fork, of a pull request's", fork, "/v1/cache/", "pull", true},
		{"a pull request, of a fork's", other, "/v1/cache/", "fork", true},
		{"a pull request, of another workspace's", s.pull, "/docs/v1/cache/", "docs", false},
		{"main, of another workspace's", s.main, "/docs/v1/cache/", "docs", false},
		{"nobody, of main's", nothing, "/web/v1/cache/", "trusted", false},
	} {
		t.Run(ask.name, func(t *testing.T) {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut} {
				there := s.must(t, request{method: method, path: ask.path + "there-" + ask.entry, token: &ask.token, body: poison})
				missing := s.must(t, request{method: method, path: ask.path + "missing-" + ask.entry, token: &ask.token, body: poison})
				for _, a := range []*answer{&there, &missing} {
					a.header.Del("Date")
				}
				if diff := cmp.Diff(missing, there, cmp.AllowUnexported(answer{})); diff != "" {
					t.Errorf("%s tells what is there from what is not (-missing +there):\n%s", method, diff)
				}
				if method == http.MethodPut && (there.status == http.StatusOK) != ask.put {
					t.Errorf("PUT: %v", there)
				}
			}
		})
	}
}

// TestCacheInFrontOfTheCache puts a shared HTTP cache before the server that looks at the URL alone, as proxies do that were set up for
// static files (RFC 9111, section 3.5, forbids that, and nginx does it). Nothing of one client's may reach another through it.
func TestCacheInFrontOfTheCache(t *testing.T) {
	s := newHouse(t).scene(t)
	front := *s.world
	front.url = sharedCache(t, s.url)

	t.Run("main is given no poison", func(t *testing.T) {
		const path = "/v1/cache/poison"
		wantStatus(t, "the pull request's upload", front.put(t, s.pull, path), http.StatusOK)
		wantStatus(t, "the pull request's download", front.get(t, s.pull, path), http.StatusOK)
		if got := front.get(t, s.main, path); got.status != http.StatusNotFound {
			t.Errorf("main is poisoned by the proxy with what a pull request downloaded through it: %d, Cache-Control %q", got.status, got.header["Cache-Control"])
		}
	})
	t.Run("nobody pins a miss", func(t *testing.T) {
		const path = "/v1/cache/miss"
		wantStatus(t, "a fork's download", front.must(t, request{method: http.MethodGet, path: path}), http.StatusNotFound)
		wantStatus(t, "main's upload", front.put(t, s.main, path), http.StatusOK)
		if got := front.get(t, s.main, path); got.status != http.StatusOK {
			t.Errorf("main does not find its own entry, because a fork asked for it before: %v, Cache-Control %q", got, got.header["Cache-Control"])
		}
	})
}

// sharedCache is a proxy that keeps every answer to a GET, unless it was told not to.
func sharedCache(t *testing.T, upstream string) (address string) {
	t.Helper()
	target, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	var mu sync.Mutex
	kept := map[string]*httptest.ResponseRecorder{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			proxy.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		answer := kept[r.URL.Path]
		if answer == nil {
			answer = httptest.NewRecorder()
			proxy.ServeHTTP(answer, r)
			if control := answer.Header().Get("Cache-Control"); !strings.Contains(control, "no-store") && !strings.Contains(control, "private") {
				kept[r.URL.Path] = answer
			}
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	return server.URL
}
