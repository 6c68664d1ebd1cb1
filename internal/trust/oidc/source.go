package oidc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// The pace of fetching.
const (
	// maxAge is how long after the last good fetch its keys are trusted.
	maxAge = 24 * time.Hour
	// fetchWait bounds how long a token waits for a fetch.
	fetchWait = 5 * time.Second
	// demandPace and demandBurst bound the fetches that tokens cause, in the long run and at once, however many name unknown keys.
	demandPace  = 15 * time.Second
	demandBurst = 4
	// Fetches that failed are tried again after firstRetry, then twice as long each time, up to lastRetry.
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
)

// source has the keys of one issuer.
type source struct {
	v      *Verifier
	issuer Issuer
	keys   atomic.Pointer[keySet] // nil until they are first had
	begun  atomic.Uint64          // fetches

	mu     sync.Mutex // not held while anything is waited for
	closed bool       // no fetch begins any more
	flight *flight    // the fetch under way, nil if there is none
	// demand is the moment up to which the fetches that tokens caused have used up what they may.
	demand   time.Time
	due      time.Time // of the next fetch ahead of need
	failures int       // in a row
	since    time.Time // of the first of them
	trouble  error     // the last of them
	over     bool      // it was said that the keys are too old
}

type flight struct {
	done   chan struct{}
	cancel context.CancelFunc
}

// verify finds whether the issuer signed a token, and fetches its keys if the answer may depend on it.
//
// Rotation and flood look alike: a token names a key that is not there. It is called forged only if the keys are known as they were after it came, or after it says
// that it was issued: then its key would be among them. (Who forges the time as well gets a fetch at first, and [ErrUnavailable] when that is used up, which grants as little.)
func (s *source) verify(ctx context.Context, p *presented) error {
	came, begun := s.v.now(), s.begun.Load()
	set := s.usable(came)
	signer := set.check(p)
	var patience <-chan time.Time
	// A fetch that is under way when the token comes may have missed its key: the next one has not.
	for range 2 {
		if final, err := s.verdict(signer, set, p, begun); final {
			return err
		}
		over := s.fetchOnDemand(ctx, set, came)
		if over == nil {
			break
		}
		if patience == nil {
			patience = time.After(fetchWait)
		}
		select {
		case <-over:
		case <-ctx.Done():
			return s.unavailable(set)
		case <-patience:
			return s.unavailable(set)
		}
		fetched := s.usable(s.v.now())
		if fetched == set {
			break
		}
		set, signer = fetched, fetched.check(p)
	}
	if final, err := s.verdict(signer, set, p, begun); final {
		return err
	}
	if signer == notByItsKey && came.Sub(set.asOf) < demandBurst*demandPace {
		// Its key is known, and tokens have caused all the fetches they may: there is a flood. That an issuer changes a key under its name in the very minute of
		// one is not worth to answer forgeries softly.
		return errForged
	}
	return s.unavailable(set)
}

var errForged = malformed("no key of its issuer has signed it: send the token as the CI gave it")

// verdict tells what a set of keys says about a token, if a newer set could not say otherwise. So many fetches had begun when the token came.
func (s *source) verdict(signer signedBy, set *keySet, p *presented, begun uint64) (final bool, err error) {
	switch {
	case set == nil:
		return false, nil
	case signer == byCurrentKey:
		return true, nil
	case signer == byWithdrawnKey:
		return true, fmt.Errorf("%w: %s has withdrawn the key that signed it: ask the CI for a new one", ErrExpired, s.issuer.URL)
	case signer == byNobody && p.issued.Add(Skew).Before(set.since):
		return true, fmt.Errorf("%w: it names a key that %s had withdrawn before this server first asked for its keys, if it ever had it: ask the CI for a new one",
			ErrExpired, s.issuer.URL)
	case set.number > begun, !set.asOf.Before(p.issued.Add(Skew)):
		return true, errForged
	default:
		return false, nil
	}
}

// usable returns the keys, nil if there are none that can still be trusted.
func (s *source) usable(now time.Time) *keySet {
	set := s.keys.Load()
	if set == nil || now.Sub(set.asOf) >= maxAge {
		return nil
	}
	return set
}

// unavailable says why nothing can be said, with the set that is at hand, nil if there is none.
func (s *source) unavailable(set *keySet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.trouble != nil:
		return fmt.Errorf("%w: %s has not given them since %s: try again later; the operator finds the cause in the log",
			ErrUnavailable, s.issuer.URL, text(s.since))
	case set == nil:
		return fmt.Errorf("%w: %s has not answered yet: try again in a moment", ErrUnavailable, s.issuer.URL)
	default:
		return fmt.Errorf("%w: the token may be signed with a key that %s published just now: try again in %d seconds",
			ErrUnavailable, s.issuer.URL, int(demandPace.Seconds()))
	}
}

// fetchOnDemand returns what is closed once a fetch is over that may bring more than set: one under way, one that has just ended, or a new one; nil if
// tokens have caused enough of them.
func (s *source) fetchOnDemand(ctx context.Context, set *keySet, now time.Time) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight.done
	}
	if last := s.usable(now); last != nil && last != set {
		over := make(chan struct{})
		close(over)
		return over
	}
	demand := later(s.demand, now)
	if s.closed || demand.Sub(now) > (demandBurst-1)*demandPace {
		return nil
	}
	s.demand = demand.Add(demandPace)
	return s.start(ctx).done
}

// fetchIfDue begins a fetch if it is time, and returns when the next one is due: zero if one is under way, whose end will tell.
func (s *source) fetchIfDue(ctx context.Context, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil && !s.closed && !s.due.After(now) {
		s.start(ctx)
	}
	if s.flight != nil || s.closed {
		return time.Time{}
	}
	return s.due
}

// start begins a fetch in a goroutine of the Verifier. It outlives who asked for it, but not [fetchTimeout] and not [source.close]. The caller holds mu.
func (s *source) start(ctx context.Context) *flight {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	f := &flight{done: make(chan struct{}), cancel: cancel}
	s.flight = f
	number := s.begun.Add(1)
	s.v.flights.Go(func() {
		defer cancel()
		set, err := s.v.fetch(ctx, s.issuer)
		if set != nil {
			set.number = number
		}
		s.finish(set, err)
		close(f.done)
		s.v.poke()
	})
	return f
}

// finish takes what was fetched into force, and logs a change of state.
func (s *source) finish(set *keySet, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = nil
	if s.closed {
		return // it was called off: that says nothing about the issuer
	}
	s.v.fetches.WithLabelValues(fetchResult(err)).Inc()
	now := s.v.now()
	if err != nil {
		s.failed(err, now)
		return
	}
	old := s.keys.Load()
	set, gone := set.succeed(old)
	s.keys.Store(set)
	if gone {
		s.v.epoch.Add(1)
	}
	s.due = now.Add(jitter(set.fresh))
	switch {
	case s.trouble != nil:
		s.v.log.Info("the issuer's keys can be fetched again", "issuer", s.issuer.URL, "keys", len(set.keys))
	case old == nil:
		s.v.log.Info("the issuer's keys are here", "issuer", s.issuer.URL, "keys", len(set.keys))
	case gone:
		s.v.log.Info("the issuer has withdrawn keys: what they signed is no longer taken", "issuer", s.issuer.URL, "keys", len(set.keys))
	}
	s.failures, s.trouble, s.over = 0, nil, false
}

func (s *source) failed(err error, now time.Time) {
	if s.trouble == nil {
		s.since = now
		s.v.log.Warn("the issuer's keys cannot be fetched: the last known ones serve for a day, and tokens signed with new ones are not taken",
			"issuer", s.issuer.URL, "error", err)
	}
	s.trouble = err
	s.due = now.Add(jitter(min(firstRetry<<min(s.failures, 10), lastRetry)))
	s.failures++
	if s.keys.Load() != nil && s.usable(now) == nil && !s.over {
		s.over = true
		s.v.log.Error("the issuer's keys are too old: its tokens are not taken until it answers", "issuer", s.issuer.URL, "since", text(s.since), "error", err)
	}
}

// close calls off the fetch under way and lets none begin.
func (s *source) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.flight != nil {
		s.flight.cancel()
	}
}

func (s *source) degraded() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble == nil {
		return nil
	}
	state := "the last known ones serve for a day at most"
	if s.usable(s.v.now()) == nil {
		state = "its tokens are not taken"
	}
	return fmt.Errorf("the keys of the issuer %s cannot be fetched since %s, %s: %w", s.issuer.URL, text(s.since), state, s.trouble)
}

// jitter takes up to a tenth off, so that many servers do not ask at once.
func jitter(d time.Duration) time.Duration {
	return d - rand.N(d/10+1)
}
