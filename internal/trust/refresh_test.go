package trust

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// running starts an authenticator inside a bubble and ends it with the test.
func running(t *testing.T, source Source, log *logBook) *Authenticator {
	t.Helper()
	a := newTestAuthenticator(t, Options{Source: source, Now: time.Now, Logger: log.logger()})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return a
}

func TestRevocationHoldsWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMade("ci", "web", Trusted)
		source := &fakeSource{tokens: []Token{m.Token}}
		a := running(t, source, new(logBook))
		// At whatever instant it happens.
		for range 20 {
			pass(37 * time.Millisecond)
			grant, err := a.Grant(t.Context(), m.bearer(), "")
			if err != nil {
				t.Fatal(err)
			}
			source.revoke(m.ID, time.Now())
			pass(time.Second)
			_, err = a.Grant(t.Context(), m.bearer(), "")
			wantDenial(t, err, ErrRevoked)
			wantDenial(t, a.Valid(t.Context(), m.bearer(), "", grant), ErrRevoked)

			m = newMade("ci", "web", Trusted)
			source.create(m.Token)
			pass(time.Second)
		}
	})
}

func TestUnchangedSourceIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{tokens: []Token{newMade("ci", "web", Trusted).Token}}
		running(t, source, new(logBook))
		pass(time.Minute)
		source.change(func(s *fakeSource) {
			if s.reads != 1 {
				t.Errorf("read %d times without a change", s.reads)
			}
			if limit := int(time.Minute/refreshInterval) + 2; s.versions > limit {
				t.Errorf("looked at %d times in a minute, want at most %d", s.versions, limit)
			}
		})
	})
}

func TestExpiryHoldsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMade("ci", "web", Trusted)
		m.Expires = time.Now().Add(time.Second)
		a := running(t, &fakeSource{tokens: []Token{m.Token}}, new(logBook))
		pass(time.Second - 1)
		if _, err := a.Grant(t.Context(), m.bearer(), ""); err != nil {
			t.Fatal(err)
		}
		pass(1)
		_, err := a.Grant(t.Context(), m.bearer(), "")
		wantDenial(t, err, ErrExpired)
	})
}

func TestNewTokenWorksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{tokens: []Token{newMade("first", "web", Trusted).Token}}
		a := running(t, source, new(logBook))
		for range 100 {
			m := newMade("ci", "web", Trusted)
			source.create(m.Token)
			before := time.Now()
			if _, err := a.Grant(t.Context(), m.bearer(), ""); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(before); waited > UnknownWait {
				t.Fatalf("waited %s", waited)
			}
		}
	})
}

func TestFloodOfUnknownTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const flood = 10_000
		known := newMade("ci", "web", Trusted)
		source := &fakeSource{tokens: []Token{known.Token}}
		a := running(t, source, new(logBook))
		pass(10 * time.Second)
		source.change(func(s *fakeSource) { s.versions, s.reads = 0, 0 })

		fresh := newMade("fresh", "web", Trusted)
		source.create(fresh.Token)
		before := time.Now()
		var wg sync.WaitGroup
		for range flood {
			wg.Go(func() {
				_, err := a.Grant(t.Context(), newMade("x", "web", Trusted).bearer(), "")
				wantDenial(t, err, ErrUnknown)
			})
		}
		// In the midst of it known tokens pass without a wait, and one that is new passes too.
		wg.Go(func() {
			if _, err := a.Grant(t.Context(), known.bearer(), ""); err != nil || !time.Now().Equal(before) {
				t.Error(err, time.Since(before))
			}
			if _, err := a.Grant(t.Context(), fresh.bearer(), ""); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if waited := time.Since(before); waited > UnknownWait {
			t.Errorf("waited %s", waited)
		}
		source.change(func(s *fakeSource) {
			if s.versions > 5 || s.reads > 1 {
				t.Errorf("%d unknown tokens made %d looks and %d reads", flood, s.versions, s.reads)
			}
		})
	})
}

// A flood that goes on does not make more looks than the pause allows.
func TestSteadyFloodOfUnknownTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{tokens: []Token{newMade("ci", "web", Trusted).Token}}
		a := running(t, source, new(logBook))
		end := time.Now().Add(10 * time.Second)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for time.Now().Before(end) {
					_, err := a.Grant(t.Context(), newMade("x", "web", Trusted).bearer(), "")
					wantDenial(t, err, ErrUnknown)
				}
			})
		}
		wg.Wait()
		source.change(func(s *fakeSource) {
			if limit := int(10*time.Second/refreshPause) + 2; s.versions > limit {
				t.Errorf("%d looks in 10 s, want at most %d", s.versions, limit)
			}
		})
	})
}

func TestUnknownTokenDoesNotWaitForAHangingSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := newMade("ci", "web", Trusted)
		source := &fakeSource{tokens: []Token{known.Token}}
		log := new(logBook)
		a := running(t, source, log)
		source.change(func(s *fakeSource) { s.hang = true })
		pass(10 * time.Second)
		before := time.Now()
		_, err := a.Grant(t.Context(), newMade("x", "web", Trusted).bearer(), "")
		wantDenial(t, err, ErrUnknown)
		if waited := time.Since(before); waited > UnknownWait {
			t.Fatalf("waited %s", waited)
		}
		// A client that leaves ends its wait.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		before = time.Now()
		_, err = a.Grant(ctx, newMade("x", "web", Trusted).bearer(), "")
		wantDenial(t, err, ErrUnknown)
		if waited := time.Since(before); waited > time.Millisecond {
			t.Fatalf("waited %s", waited)
		}
		if _, err := a.Grant(t.Context(), known.bearer(), ""); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(a.Degraded(), context.DeadlineExceeded) {
			t.Fatal(a.Degraded())
		}
	})
}

func TestFailingSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMade("ci", "web", Trusted)
		source := &fakeSource{tokens: []Token{m.Token}}
		log := new(logBook)
		a := running(t, source, log)
		trouble := errors.New("disk on fire")
		for round := 1; round <= 3; round++ {
			source.change(func(s *fakeSource) { s.err = trouble })
			pass(time.Minute)
			if _, err := a.Grant(t.Context(), m.bearer(), ""); err != nil {
				t.Fatal("the last known tokens are gone:", err)
			}
			_, err := a.Grant(t.Context(), "", "")
			wantDenial(t, err, ErrNoCredential)
			if !errors.Is(a.Degraded(), trouble) {
				t.Fatal(a.Degraded())
			}
			source.change(func(s *fakeSource) { s.err = nil })
			pass(time.Second)
			if err := a.Degraded(); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(log.String(), "level=WARN"); n != round {
				t.Fatalf("%d warnings for %d failures:\n%s", n, round, log)
			}
			if n := strings.Count(log.String(), "refreshed again"); n != round {
				t.Fatalf("%d notes for %d recoveries:\n%s", n, round, log)
			}
		}
		// What happened meanwhile holds afterwards.
		source.change(func(s *fakeSource) { s.err = trouble })
		source.revoke(m.ID, time.Now())
		pass(time.Minute)
		source.change(func(s *fakeSource) { s.err = nil })
		pass(time.Second)
		_, err := a.Grant(t.Context(), m.bearer(), "")
		wantDenial(t, err, ErrRevoked)
	})
}

func TestFirstTokenClosesTheDoors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		log := new(logBook)
		a := running(t, source, log)
		pass(time.Minute)
		m := newMade("ci", "web", Trusted)
		source.create(m.Token)
		pass(time.Second)
		if a.Open() || !a.Known("web") {
			t.Fatal("not noticed")
		}
		if n := strings.Count(log.String(), "the first token or policy exists"); n != 1 {
			t.Fatalf("logged %d times", n)
		}
		wantNoSecret(t, log.String(), m.text, m.Hash.String())
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(logBook)
		source := &fakeSource{tokens: []Token{newMade("ci", "web", Trusted).Token}}
		for _, s := range []Source{nil, source} {
			a := newTestAuthenticator(t, Options{Source: s, Now: time.Now, Logger: log.logger(),
				Fixed: []Token{newMade("fixed", "web", Read).Token}})
			source.change(func(s *fakeSource) { s.hang = s.hang || s.versions > 0 })
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- a.Run(ctx) }()
			synctest.Wait()
			if err := a.Run(ctx); !errors.Is(err, ErrRunning) {
				t.Fatalf("a second Run: %v", err)
			}
			pass(time.Second) // in the midst of a look
			cancel()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			// Nobody will look any more: there is nothing to wait for.
			before := time.Now()
			_, err := a.Grant(t.Context(), newMade("x", "web", Trusted).bearer(), "")
			wantDenial(t, err, ErrUnknown)
			if !time.Now().Equal(before) {
				t.Fatal("waited for nobody")
			}
			if a.Degraded() != nil || strings.Contains(log.String(), "WARN") {
				t.Fatal("the end was taken for trouble")
			}
		}
	})
}

// Requests and refreshes at the same time, for the race detector.
func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		a := running(t, source, new(logBook))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					m := newMade("ci", "web", Isolated)
					source.create(m.Token)
					pass(refreshInterval * 2)
					grant, err := a.Grant(t.Context(), m.bearer(), "web")
					if err != nil {
						t.Error(err)
						return
					}
					if err := a.Valid(t.Context(), m.bearer(), "", grant); err != nil || grant.Workspace != cache.Workspace("web") || len(a.Workspaces()) == 0 {
						t.Error(err, grant)
					}
					source.revoke(m.ID, time.Now())
					pass(refreshInterval * 2)
					if err := a.Valid(t.Context(), m.bearer(), "", grant); !errors.Is(err, ErrRevoked) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

// pass lets time go by, which inside a bubble takes none.
func pass(d time.Duration) { <-time.After(d) }
