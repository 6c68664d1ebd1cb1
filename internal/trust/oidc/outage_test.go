package oidc

import (
	"context"
	"crypto"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
)

func wantDegraded(t *testing.T, v *Verifier, texts ...string) {
	t.Helper()
	err := v.Degraded()
	if err == nil {
		t.Fatal("not degraded")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

func wantLines(t *testing.T, log *logBook, text string, want int) {
	t.Helper()
	if n := strings.Count(log.String(), text); n != want {
		t.Errorf("%q was said %d times, want %d:\n%s", text, n, want, log)
	}
}

func TestOutages(t *testing.T) {
	for name, outage := range map[string]oidctest.Outage{"503": oidctest.Refuses, "cut connections": oidctest.Resets, "no answers": oidctest.Hangs} {
		t.Run(name, func(t *testing.T) { inBubble(t, outOf(outage)) })
	}
}

// outOf goes through an outage of a day and more, that begins with a rotation which nobody hears of.
func outOf(outage oidctest.Outage) func(*testing.T, *oidctest.Issuer, *Verifier, *logBook) {
	return func(t *testing.T, iss *oidctest.Issuer, v *Verifier, log *logBook) {
		key, name := iss.Key()
		known := func() string {
			return compact(t, object{"alg": "RS256", "kid": name}, iss.Claims(claims()), rs(key, crypto.SHA256))
		}
		pass(time.Minute)
		began := time.Now()
		iss.SetOutage(outage)
		iss.RotateKeeping()

		pass(time.Hour)
		taken(t, v, known())
		refused(t, v, iss.Sign(claims()), ErrUnavailable)                                                                // it is authentic, so that it is never called forged
		refused(t, v, compact(t, object{"alg": "RS256", "kid": name}, iss.Claims(claims()), fixed("x")), ErrUnavailable) // a key may have changed under its name
		wantDegraded(t, v, iss.URL, "since "+began.UTC().Format("2006-01-02"), "serve for a day")

		pass(22*time.Hour + 57*time.Minute) // two minutes less than a day since the last good fetch
		taken(t, v, known())
		pass(3 * time.Minute)
		refused(t, v, known(), ErrUnavailable)
		refused(t, v, iss.Sign(claims()), ErrUnavailable)
		pass(time.Hour)
		refused(t, v, known(), ErrUnavailable)
		wantDegraded(t, v, iss.URL, "its tokens are not taken")

		if n := iss.Discoveries(); n < 200 || n > 450 {
			t.Errorf("%d tries in 25 hours", n)
		}
		wantLines(t, log, "cannot be fetched", 1)
		wantLines(t, log, "are too old", 1)

		iss.SetOutage(oidctest.Up)
		pass(lastRetry + fetchTimeout)
		if err := v.Degraded(); err != nil {
			t.Error(err)
		}
		taken(t, v, known())
		taken(t, v, iss.Sign(claims()))
		wantLines(t, log, "can be fetched again", 1)

		iss.SetOutage(outage) // the next one is told again
		pass(2 * time.Hour)
		wantLines(t, log, "cannot be fetched", 2)
	}
}

// TestWithoutNetworkAtTheStart begins during an outage: Run goes on, and the first tokens after it are taken.
func TestWithoutNetworkAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		iss, log := oidctest.NewOffline(t, theIssue), new(logBook)
		iss.SetOutage(oidctest.Resets)
		v := newVerifier(t, iss, log)
		run(t, v)
		pass(time.Minute)
		refused(t, v, iss.Sign(claims()), ErrUnavailable)
		wantDegraded(t, v, iss.URL, "connection reset")
		forger := oidctest.NewOffline(t, theIssue)
		refused(t, v, forger.Sign(claims()), ErrUnavailable) // nothing can be said

		iss.SetOutage(oidctest.Up)
		taken(t, v, iss.Sign(claims())) // the token causes a fetch
		if err := v.Degraded(); err != nil {
			t.Error(err)
		}
	})
}

func TestATokenWaitsForKeysWithinBounds(t *testing.T) {
	hanging := func(t *testing.T, test func(t *testing.T, iss *oidctest.Issuer, v *Verifier)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			iss := oidctest.NewOffline(t, theIssue)
			iss.SetOutage(oidctest.Hangs)
			v := newVerifier(t, iss, new(logBook))
			run(t, v)
			synctest.Wait()
			test(t, iss, v)
		})
	}
	t.Run("no longer than five seconds", func(t *testing.T) {
		hanging(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier) {
			begin := time.Now()
			refused(t, v, iss.Sign(claims()), ErrUnavailable)
			if took := time.Since(begin); took != fetchWait {
				t.Errorf("it took %v", took)
			}
		})
	})
	t.Run("no longer than the request", func(t *testing.T) {
		hanging(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			if _, err := v.Verify(ctx, iss.Sign(claims())); !errors.Is(err, ErrUnavailable) || time.Since(begin) != time.Second {
				t.Errorf("after %v: %v", time.Since(begin), err)
			}
		})
	})
	t.Run("and who leaves does not end the fetch for others", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			iss := oidctest.NewOffline(t, theIssue)
			iss.SetOutage(oidctest.Hangs)
			v := newVerifier(t, iss, new(logBook)) // Run does not run: the first token begins the fetch
			ctx, cancel := context.WithCancel(t.Context())
			left := make(chan error)
			go func() {
				_, err := v.Verify(ctx, iss.Sign(claims()))
				left <- err
			}()
			synctest.Wait()
			other := make(chan error)
			go func() {
				_, err := v.Verify(t.Context(), iss.Sign(claims()))
				other <- err
			}()
			synctest.Wait()
			cancel()
			if err := <-left; !errors.Is(err, ErrUnavailable) {
				t.Errorf("who left got %v", err)
			}
			synctest.Wait()
			if n := iss.Discoveries(); n != 1 {
				t.Errorf("%d fetches", n)
			}
			iss.SetOutage(oidctest.Up) // the one that hangs is cut
			if err := <-other; !errors.Is(err, ErrUnavailable) {
				t.Errorf("the other got %v", err)
			}
			taken(t, v, iss.Sign(claims()))
		})
	})
}

func TestRunEndsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		iss := oidctest.NewOffline(t, theIssue)
		iss.SetOutage(oidctest.Hangs)
		v := newVerifier(t, iss, new(logBook))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- v.Run(ctx) }()
		synctest.Wait()
		begin := time.Now()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("Run waited %v for an issuer", took)
		}
		if err := v.Degraded(); err != nil {
			t.Errorf("the end of the server was blamed on the issuer: %v", err)
		}
		fetches := iss.Discoveries()
		refused(t, v, iss.Sign(claims()), ErrUnavailable)
		v.Configure(ours, []Issuer{{URL: iss.URL}, {URL: iss.URL + "/other"}})
		refused(t, v, iss.Sign(claims(object{"iss": iss.URL + "/other"})), ErrUnavailable)
		if n := iss.Discoveries(); n != fetches {
			t.Errorf("%d fetches after the end", n-fetches)
		}
		if err := v.Run(t.Context()); !errors.Is(err, ErrRunning) {
			t.Errorf("a second Run: %v", err)
		}
	})
}

func TestConfigure(t *testing.T) {
	inBubble(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier, log *logBook) {
		epoch := v.Epoch()
		other := iss.URL + "/other"
		v.Configure(ours, []Issuer{{URL: iss.URL}, {URL: other, Keys: iss.URL + oidctest.KeysPath}, {URL: iss.URL, Keys: "https://attacker.example.net"}})
		synctest.Wait()
		wantFetches(t, iss, 2, 2) // one more: the keys of the issuer that stayed are kept
		if v.Epoch() == epoch {
			t.Error("nobody who remembers tokens is told")
		}
		taken(t, v, iss.Sign(claims()))
		taken(t, v, iss.Sign(claims(object{"iss": other})))

		v.Configure("https://moved.example.com", []Issuer{{URL: other, Keys: iss.URL + oidctest.KeysPath}})
		refused(t, v, iss.Sign(claims()), ErrIssuer)
		refused(t, v, iss.Sign(claims(object{"iss": other})), ErrAudience)
		taken(t, v, iss.Sign(claims(object{"iss": other, "aud": "https://moved.example.com"})))

		// The keys of an issuer that stays are not those of the place that they are to come from now.
		v.Configure(ours, []Issuer{{URL: other, Keys: iss.URL + "/nothing-here"}})
		synctest.Wait()
		refused(t, v, iss.Sign(claims(object{"iss": other})), ErrUnavailable)

		iss.SetOutage(oidctest.Hangs)
		v.Configure(ours, []Issuer{{URL: iss.URL}})
		synctest.Wait()
		v.Configure(ours, nil) // the fetch under way is called off
		pass(time.Hour)
		if err := v.Degraded(); err != nil {
			t.Errorf("degraded for an issuer that is no longer named: %v", err)
		}
		wantLines(t, log, "cannot be fetched", 1) // from where there is nothing
		refused(t, v, iss.Sign(claims()), ErrIssuer)
	})
}

func TestAnIssuerSaysHowLongItsKeysAreFresh(t *testing.T) {
	for _, c := range []struct {
		header   string
		from, to int // fetches in ten hours
	}{
		{"", 10, 12}, {"max-age=86400", 10, 12}, {"public, max-age=1800", 20, 24}, {"max-age=1", 119, 135}, {"no-store", 119, 135},
		{"max-age=nonsense", 10, 12}, {"max-age=-5", 119, 135}, {`max-age="1800"`, 20, 24}, {"max-age=99999999999999999999", 10, 12},
	} {
		t.Run(c.header, func(t *testing.T) {
			inBubble(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier, _ *logBook) {
				iss.Serve(oidctest.KeysPath, withHeader("Cache-Control", c.header, iss.KeySet()))
				v.Configure(ours, nil)
				v.Configure(ours, []Issuer{{URL: iss.URL}})
				before := iss.Fetches()
				pass(10 * time.Hour)
				wantFetches(t, iss, before+c.from, before+c.to)
			})
		})
	}
}
