//go:build e2e

package replicas_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// bound is what fails the test. What is promised is a second, and what it takes is in the test's log; but a machine that has other work can
// take longer for anything, and a test that fails for that tells nothing.
const bound = 10 * time.Second

// measured is how long something took to hold on all servers, in order.
type measured struct {
	sinceAsked, sinceDone []time.Duration
}

// measure runs a command, and sees when each server answers a request with another status than it did. The time runs from before the command is started,
// so that its own start is part of it, and from when it ended.
func (f *front) measure(t *testing.T, m *measured, url, token string, before, after int, command ...string) {
	t.Helper()
	ask := func(s *bezoar.Server) int {
		status, _, err := do(t.Context(), http.MethodGet, s.URL+url, token, nil)
		if err != nil {
			t.Error(err)
		}
		return status
	}
	for _, s := range f.servers {
		await(t, "a server answers as before", func() bool { return ask(s) == before })
	}
	ctx, cancel := context.WithTimeout(t.Context(), bound+10*time.Second)
	defer cancel()
	asked := time.Now()
	when := make([]time.Time, len(f.servers))
	var wg sync.WaitGroup
	for i, s := range f.servers {
		wg.Go(func() {
			for ask(s) != after {
				select {
				case <-ctx.Done():
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
			when[i] = time.Now()
		})
	}
	f.must(t, command...)
	done := time.Now()
	wg.Wait()
	last := slices.MaxFunc(when, time.Time.Compare)
	if slices.ContainsFunc(when, time.Time.IsZero) || last.Sub(asked) > bound {
		t.Errorf("bezoar %s: not in force on all servers after %v", strings.Join(command, " "), bound)
	}
	m.sinceAsked = append(m.sinceAsked, last.Sub(asked))
	m.sinceDone = append(m.sinceDone, max(0, last.Sub(done)))
}

func (m *measured) log(t *testing.T, what string) {
	t.Helper()
	for _, c := range []struct {
		from string
		list []time.Duration
	}{{"the start of the command", m.sinceAsked}, {"its end", m.sinceDone}} {
		slices.Sort(c.list)
		at := func(share float64) time.Duration {
			return c.list[int(share*float64(len(c.list)-1))].Round(time.Millisecond)
		}
		t.Logf("%d %s, in force on all servers after %s: median %v, nine of ten within %v, all within %v", len(c.list), what, c.from, at(0.5), at(0.9), at(1))
	}
}

// revoke revokes tokens that builds could be using.
func (f *front) revoke(t *testing.T, tokens []bezoar.Token) {
	t.Helper()
	var m measured
	for _, token := range tokens {
		f.measure(t, &m, "/web/v1/cache/none", token.Secret, http.StatusNotFound, http.StatusUnauthorized, "token", "revoke", token.ID)
		if status, _, err := do(t.Context(), http.MethodGet, f.url("none"), token.Secret, nil); err != nil || status != http.StatusUnauthorized {
			t.Errorf("through nginx a revoked token is answered %d, %v", status, err)
		}
	}
	m.log(t, "revocations")
}

// purge takes away artifacts, which each server has in its tier or in memory.
func (f *front) purge(t *testing.T, n int) {
	t.Helper()
	var m measured
	for i := range n {
		hash := "purged-" + string(rune('a'+i))
		if status, text, err := do(t.Context(), http.MethodPut, f.url(hash), f.token, bodyOf(i)); err != nil || status != http.StatusOK {
			t.Fatalf("upload: %d %s, %v", status, text, err)
		}
		f.measure(t, &m, "/web/v1/cache/"+hash, f.token, http.StatusOK, http.StatusNotFound, "purge", "--workspace", "web", "--hash", hash, "--yes")
		if status, _, err := do(t.Context(), http.MethodGet, f.url(hash), f.token, nil); err != nil || status != http.StatusNotFound {
			t.Errorf("through nginx a purged artifact is answered %d, %v", status, err)
		}
	}
	m.log(t, "purges")
}
