package admit

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	trusted = Who{Trusted: true, Workspace: "web", Group: "trusted"}
	pr1     = Who{Workspace: "web", Group: "pr/1"}
	pr2     = Who{Workspace: "web", Group: "pr/2"}
)

// TestAFloodLeavesTrustedAlone: however many requests of one scope come, trusted ones and another scope do not wait, and the flood has a quick answer.
func TestAFloodLeavesTrustedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots, flood = 64, 10_000
		s := New(Options{Slots: slots, Wait: time.Second})
		end := make(chan struct{})
		var held, turned atomic.Int64
		begun := time.Now()
		for range flood {
			go func() {
				release, err := s.Acquire(t.Context(), pr1)
				if err != nil {
					turned.Add(1)
					if took := time.Since(begun); !errors.Is(err, ErrFull) || took > time.Second {
						t.Errorf("the flood heard %v after %s", err, took)
					}
					return
				}
				held.Add(1)
				<-end
				release()
			}()
		}
		synctest.Wait()
		var mine []func()
		for _, who := range []Who{trusted, pr2} {
			for range s.perGroup {
				now := time.Now()
				release, err := s.Acquire(t.Context(), who)
				if err != nil || time.Since(now) != 0 {
					t.Fatalf("%+v beside a flood: %v after %s", who, err, time.Since(now))
				}
				mine = append(mine, release)
			}
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if held.Load() != int64(s.perGroup) || turned.Load() != flood-held.Load() {
			t.Errorf("the flood holds %d slots and %d were turned away, want %d of %d", held.Load(), turned.Load(), s.perGroup, slots)
		}
		if err := s.Degraded(); !errors.Is(err, ErrFull) {
			t.Errorf("Degraded: %v", err)
		}
		if got := s.State(); got.RefusedOthers != uint64(turned.Load()) || got.RefusedTrusted != 0 || got.Trusted != s.perGroup {
			t.Errorf("%+v", got)
		}
		close(end)
		for _, release := range mine {
			release()
		}
		<-time.After(recent)
		if err := s.Degraded(); err != nil {
			t.Errorf("Degraded: %v", err)
		}
		if len(s.groups)+len(s.workspaces)+len(s.queued)+len(s.waiting)+s.trusted+s.others != 0 {
			t.Errorf("something is left: %+v", s)
		}
	})
}

// TestManyScopes cannot take what is reserved, all together.
func TestManyScopes(t *testing.T) {
	s := New(Options{Slots: 16})
	for i := range 100 {
		_, _ = s.Acquire(t.Context(), Who{Workspace: "web", Group: string(rune('a' + i))})
	}
	for i := range 4 {
		if _, err := s.Acquire(t.Context(), trusted); err != nil {
			t.Errorf("trusted request %d: %v", i, err)
		}
	}
	if _, err := s.Acquire(t.Context(), trusted); !errors.Is(err, ErrFull) {
		t.Errorf("beyond all slots: %v", err)
	}
}

// TestManyScopesInTheQueue leave room there for the trusted, who come next all the same.
func TestManyScopesInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Slots: 16, Wait: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		var releases []func()
		for range s.reserved {
			release, err := s.Acquire(ctx, trusted)
			if err != nil {
				t.Fatal(err)
			}
			releases = append(releases, release)
		}
		let := make(chan struct{})
		for i := range 10 * maxWaiting {
			go func() {
				if release, err := s.Acquire(ctx, Who{Workspace: "web", Group: fmt.Sprint("run/", i)}); err == nil {
					<-let
					release()
				}
			}()
		}
		synctest.Wait()
		if s.others != 12 || s.othersQueued != maxOthers || len(s.waiting) != maxOthers {
			t.Fatalf("%d others have slots, %d wait, of %d", s.others, s.othersQueued, len(s.waiting))
		}
		got := make(chan error)
		go func() {
			release, err := s.Acquire(ctx, trusted)
			if err == nil {
				defer release()
			}
			got <- err
		}()
		synctest.Wait()
		releases[0]()
		if err := <-got; err != nil {
			t.Errorf("a trusted request behind a flood of scopes: %v", err)
		}
		cancel()
		close(let)
		for _, release := range releases[1:] {
			release()
		}
		synctest.Wait()
		if s.othersQueued != 0 || len(s.waiting) != 0 || s.others != 0 || s.trusted != 0 {
			t.Errorf("something is left: %+v", s)
		}
	})
}

// TestWorkspaces: one alone may have everything; of several none may have it.
func TestWorkspaces(t *testing.T) {
	for workspaces, want := range map[int]int{1: 16, 2: 12} {
		s := New(Options{Slots: 16, Workspaces: func() int { return workspaces }})
		got := 0
		for range 100 {
			if _, err := s.Acquire(t.Context(), trusted); err == nil {
				got++
			}
		}
		if got != want {
			t.Errorf("one of %d workspaces has %d slots of 16, want %d", workspaces, got, want)
		}
		_, err := s.Acquire(t.Context(), Who{Trusted: true, Workspace: "library"})
		if ok := err == nil; ok != (workspaces > 1) {
			t.Errorf("another workspace: %v", err)
		}
	}
}

// TestWhoComesNext: the trusted, then who has less, then who has waited longer.
func TestWhoComesNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Slots: 8, Wait: time.Hour})
		var all []func()
		for range 8 {
			release, err := s.Acquire(t.Context(), trusted)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, release)
		}
		order := make(chan string, 4)
		for _, who := range []Who{pr1, {Workspace: "library", Group: "pr/1"}, pr2, trusted} {
			go func() {
				if _, err := s.Acquire(t.Context(), who); err != nil {
					t.Error(err)
				}
				order <- who.Workspace + " " + who.Group
			}()
			synctest.Wait()
		}
		// Three quarters are for everybody, and so are free one after the other from the third on.
		for i, want := range []string{"web trusted", "library pr/1", "web pr/1", "web pr/2"} {
			for len(order) == 0 {
				all[0]()
				all = all[1:]
				synctest.Wait()
			}
			if got := <-order; got != want {
				t.Errorf("number %d is %s, want %s", i, got, want)
			}
		}
	})
}

// TestACallerWhoLeaves gives his place in the queue up.
func TestACallerWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Slots: 1, Wait: time.Hour})
		release, err := s.Acquire(t.Context(), trusted)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Acquire(ctx, trusted); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		release()
		if release, err = s.Acquire(t.Context(), trusted); err != nil {
			t.Error(err)
		}
		release()
		if err := s.Degraded(); err != nil {
			t.Errorf("who leaves is turned away: %v", err)
		}
	})
}

// TestBounds: whatever comes and goes, no bound is passed and no slot is lost.
func TestBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(Options{Slots: rapid.IntRange(1, 20).Draw(t, "slots"), Workspaces: func() int { return 2 }})
		var held []func()
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			if n := rapid.IntRange(-len(held), 20).Draw(t, "step"); n < 0 {
				held[-n-1]()
				held = append(held[:-n-1], held[-n:]...)
				continue
			}
			who := Who{
				Trusted: rapid.Bool().Draw(t, "trusted"), Workspace: rapid.SampledFrom([]string{"web", "library"}).Draw(t, "workspace"),
				Group: rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "group"),
			}
			if release, err := s.Acquire(t.Context(), who); err == nil {
				held = append(held, release)
			}
			if s.trusted+s.others != len(held) || len(held) > s.opts.Slots || s.others > s.opts.Slots-s.reserved {
				t.Fatalf("%d held: %+v", len(held), s)
			}
			for g, n := range s.groups {
				if n > s.perGroup {
					t.Fatalf("%v holds %d, at most %d", g, n, s.perGroup)
				}
			}
		}
		for _, release := range held {
			release()
		}
		if len(s.groups)+len(s.workspaces)+s.trusted+s.others != 0 {
			t.Fatalf("something is left: %+v", s)
		}
	})
}

// TestAWaitHasAnEnd: who finds no slot in time is told so then, and who finds one at the last moment has it.
func TestAWaitHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = time.Second
		s := New(Options{Slots: 1, Wait: wait})
		release, err := s.Acquire(t.Context(), trusted)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := s.Acquire(t.Context(), trusted); !errors.Is(err, ErrFull) || time.Since(begun) != wait {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		time.AfterFunc(wait-time.Nanosecond, release)
		again, err := s.Acquire(t.Context(), trusted)
		if err != nil {
			t.Fatalf("a slot at the last moment: %v", err)
		}
		again()
	})
}
