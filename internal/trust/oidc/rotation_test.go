package oidc

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
)

// pass lets the time of a bubble go on, and what was due happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// inBubble runs a test with an issuer and a running verifier on the clock of a bubble.
func inBubble(t *testing.T, test func(t *testing.T, iss *oidctest.Issuer, v *Verifier, log *logBook)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		iss, log := oidctest.NewOffline(t, theIssue), new(logBook)
		v := newVerifier(t, iss, log)
		run(t, v)
		synctest.Wait()
		test(t, iss, v, log)
	})
}

func wantFetches(t *testing.T, iss *oidctest.Issuer, from, to int) {
	t.Helper()
	if n := iss.Fetches(); n < from || n > to {
		t.Errorf("%d fetches, want %d to %d", n, from, to)
	}
}

func TestKeysAreHereBeforeTheFirstToken(t *testing.T) {
	inBubble(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier, log *logBook) {
		wantFetches(t, iss, 1, 1)
		for range 100 {
			taken(t, v, iss.Sign(claims()))
		}
		wantFetches(t, iss, 1, 1)
		if err := v.Degraded(); err != nil {
			t.Error(err)
		}
		pass(24 * time.Hour)
		wantFetches(t, iss, 24, 28) // hourly, a bit sooner each time
		taken(t, v, iss.Sign(claims()))
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d lines for a day without any event:\n%s", n, log)
		}
	})
}

func TestRotationIsNoticedByTheFirstToken(t *testing.T) {
	inBubble(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier, _ *logBook) {
		for n := range 5 {
			pass(time.Minute)
			old := iss.Sign(claims())
			iss.RotateKeeping()
			taken(t, v, iss.Sign(claims()))
			taken(t, v, old)
			wantFetches(t, iss, n+2, n+2)
		}
	})
}

func TestRotationIsNoticedInTheSecondOfAFetch(t *testing.T) {
	inBubble(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier, _ *logBook) {
		iss.Rotate()
		taken(t, v, iss.Sign(claims()))
	})
}

// TestRotationDuringAFetch has a key published while a fetch is under way that misses it.
func TestRotationDuringAFetch(t *testing.T) {
	inBubble(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier, _ *logBook) {
		read, before := make(chan struct{}), iss.KeySet()
		iss.Serve(oidctest.KeysPath, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			<-read
			_ = json.NewEncoder(w).Encode(before)
		}))
		pass(maxFresh)
		iss.Serve(oidctest.KeysPath, nil)
		iss.RotateKeeping()
		ended := make(chan error)
		for range 10 {
			go func() {
				_, err := v.Verify(t.Context(), iss.Sign(claims()))
				ended <- err
			}()
			go func() {
				_, err := v.Verify(t.Context(), compact(t, rs256(object{"kid": "mine"}), iss.Claims(claims()), fixed("x")))
				if errors.Is(err, ErrMalformed) {
					err = nil
				}
				ended <- err
			}()
		}
		synctest.Wait()
		close(read)
		for range 20 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		wantFetches(t, iss, 3, 3)
	})
}

// TestAKeyUnderAnotherOnesName is about issuers that change the key and keep its name, as a plugin of Jenkins does.
func TestAKeyUnderAnotherOnesName(t *testing.T) {
	inBubble(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier, _ *logBook) {
		taken(t, v, iss.Sign(claims()))
		long := iss.Sign(claims(object{"exp": time.Now().Add(4 * time.Hour).Unix()}))
		_, name := iss.Key()
		iss.Rotate()
		key, _ := iss.Key()
		iss.ServeJSON(oidctest.KeysPath, object{"keys": []any{oidctest.JWK(&key.PublicKey, name)}})
		taken(t, v, iss.SignHeader(object{"kid": name}, claims()))
		refused(t, v, long, ErrExpired)
	})
}

func TestAWithdrawnKeyIsNoLongerTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier, log *logBook) {
		old := iss.Sign(claims(object{"exp": time.Now().Add(30 * 24 * time.Hour).Unix()}))
		taken(t, v, old)
		epoch := v.Epoch()
		iss.Rotate()
		pass(maxFresh)
		// It was authentic: the run that has it is not to break, so that it is not called forged.
		refused(t, v, old, ErrExpired)
		if v.Epoch() == epoch {
			t.Error("nobody who remembers tokens is told")
		}
		if n := strings.Count(log.String(), "withdrawn"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log)
		}
		forger := oidctest.NewOffline(t, theIssue)
		refused(t, v, forger.Sign(claims()), ErrMalformed) // its key has the name of the withdrawn one
		pass(MaxLife + maxFresh)
		refused(t, v, old, ErrMalformed) // too old to tell
	})
}

// TestAKeyThatWasWithdrawnBeforeTheStart is about a job that is older than the server, which was restarted since.
func TestAKeyThatWasWithdrawnBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		iss := oidctest.NewOffline(t, theIssue)
		long := iss.Sign(claims(object{"exp": time.Now().Add(4 * time.Hour).Unix()}))
		pass(time.Hour)
		iss.Rotate()
		v := newVerifier(t, iss, new(logBook))
		run(t, v)
		synctest.Wait()
		refused(t, v, long, ErrExpired)
		pass(2 * maxFresh) // other sets come, and tell no more of what was before
		refused(t, v, long, ErrExpired)
		forger := oidctest.NewOffline(t, theIssue)
		refused(t, v, forger.SignHeader(object{"kid": "mine"}, claims(object{"iat": time.Now().Add(-maxFresh).Unix(), "nbf": nil})), ErrMalformed)
	})
}

// TestAFloodOfRandomKeyIDs sends tokens that no key fits, as fast as they come, over a socket.
func TestAFloodOfRandomKeyIDs(t *testing.T) {
	iss := oidctest.New(t)
	log := new(logBook)
	v := New(Options{Now: time.Now, Logger: log.logger()})
	v.Configure(ours, []Issuer{{URL: iss.URL}})
	run(t, v)
	taken(t, v, iss.Sign(claims()))
	before, begin := iss.Fetches(), time.Now()

	parts := strings.Split(iss.Sign(claims()), ".")
	var malformed, unavailable atomic.Int64
	var wg sync.WaitGroup
	for worker := range 50 {
		wg.Go(func() {
			for n := range 200 {
				kid := "random-" + strconv.Itoa(worker*1000+n)
				raw := segment(t, rs256(object{"kid": kid})) + "." + parts[1] + "." + parts[2]
				switch _, err := v.Verify(t.Context(), raw); {
				case errors.Is(err, ErrMalformed):
					malformed.Add(1)
				case errors.Is(err, ErrUnavailable):
					unavailable.Add(1)
				default:
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := malformed.Load() + unavailable.Load(); n != 10000 {
		t.Errorf("%d answers", n)
	}
	// However slow this machine is: one more for each demandPace that the flood took.
	if n := iss.Fetches() - before; n > demandBurst+2+int(time.Since(begin)/demandPace) {
		t.Errorf("10000 tokens caused %d fetches", n)
	}
	if malformed.Load() == 0 {
		t.Error("none was called forged, though the keys were fetched after it came")
	}
	taken(t, v, iss.Sign(claims()))
	if strings.Contains(log.String(), "random-") {
		t.Error("the log holds something of a token")
	}
}

func TestAFloodOfAnHour(t *testing.T) {
	inBubble(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier, _ *logBook) {
		flood := func(kid string, n int) {
			for range n {
				_, err := v.Verify(t.Context(), compact(t, rs256(object{"kid": kid}), iss.Claims(claims()), fixed("x")))
				if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnavailable) {
					t.Errorf("got %v", err)
				}
			}
		}
		for range 3600 {
			flood("random", 2)
			pass(time.Second)
		}
		wantFetches(t, iss, 200, int(time.Hour/demandPace)+demandBurst+2)

		// A rotation during the flood is noticed as soon as a fetch is allowed. Until then the new tokens are not called forged.
		iss.RotateKeeping()
		var waited time.Duration
		for {
			flood("random", 2)
			_, err := v.Verify(t.Context(), iss.Sign(claims()))
			if err == nil {
				break
			}
			if !errors.Is(err, ErrUnavailable) || waited > demandPace {
				t.Fatalf("after %v: %v", waited, err)
			}
			pass(time.Second)
			waited += time.Second
		}
	})
}

// TestOldForgeriesCauseNoFetch sends what says that it was issued before the keys were fetched.
func TestOldForgeriesCauseNoFetch(t *testing.T) {
	inBubble(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier, _ *logBook) {
		forger := oidctest.NewOffline(t, theIssue)
		issued := time.Now().Add(-Skew - time.Second)
		for range 100 {
			c := claims(object{"iat": issued.Unix(), "nbf": nil})
			refused(t, v, forger.Sign(c), ErrMalformed)
			refused(t, v, forger.SignHeader(object{"kid": "mine"}, c), ErrExpired) // for all that this server can know
		}
		wantFetches(t, iss, 1, 1)
	})
}

// TestForgeriesUnderAKnownNameAreCalledSo sends more than tokens may cause fetches.
func TestForgeriesUnderAKnownNameAreCalledSo(t *testing.T) {
	inBubble(t, func(t *testing.T, iss *oidctest.Issuer, v *Verifier, _ *logBook) {
		forger := oidctest.NewOffline(t, theIssue)
		for range 100 {
			refused(t, v, forger.Sign(claims()), ErrMalformed)
		}
		wantFetches(t, iss, 1, 1+demandBurst)
	})
}
