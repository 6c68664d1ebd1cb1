package trust

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Source is where tokens and revocations are recorded. Its methods end when their context does.
type Source interface {
	// Version returns a number that is another one whenever Tokens or Revocations would return something else. It is asked several times
	// a second and must be cheap.
	Version(ctx context.Context) (int64, error)
	// Tokens returns all tokens that ever were, revoked and expired ones included.
	Tokens(ctx context.Context) ([]Token, error)
	// Revocations returns all revocations that ever were, lifted ones included.
	Revocations(ctx context.Context) ([]Revocation, error)
}

// The pace of refreshing. A revocation is in force at the latest after one interval and the reading, well within a second.
const (
	refreshInterval = 200 * time.Millisecond
	// refreshPause keeps the looks at the source apart, however many unknown tokens ask for one.
	refreshPause = 50 * time.Millisecond
	// refreshTimeout bounds one look at the source.
	refreshTimeout = 2 * time.Second
	// UnknownWait bounds how long a request with an unknown token waits for the next look.
	UnknownWait = 250 * time.Millisecond
)

// refresher looks at the source, in one goroutine, the one of [Authenticator.Run].
type refresher struct {
	source  Source
	log     *slog.Logger
	version int64 // of what was last read; only Run's goroutine touches it

	running atomic.Bool
	trouble atomic.Pointer[error]
	nudge   chan struct{} // holds one wish for a look before its time

	mu   sync.Mutex
	next chan struct{} // closed when the next look that has not begun yet is over
}

func newRefresher(source Source, log *slog.Logger) refresher {
	return refresher{source: source, log: log, nudge: make(chan struct{}, 1), next: make(chan struct{})}
}

// Run keeps tokens and revocations up to date until ctx ends, and returns nil then. While the source fails, the last known ones stay in force; one
// line in the log says so when it begins, and one when it is over.
func (a *Authenticator) Run(ctx context.Context) error {
	r := &a.refresher
	if !r.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer r.running.Store(false)
	if r.source == nil {
		<-ctx.Done()
		return nil
	}
	timer := time.NewTimer(refreshPause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		timer.Reset(refreshInterval - refreshPause)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-r.nudge:
		}
		a.look(ctx)
		timer.Reset(refreshPause)
	}
}

// look takes what is new from the source into force, and lets those go on who wait for it.
func (a *Authenticator) look(ctx context.Context) {
	r := &a.refresher
	r.mu.Lock()
	over := r.next
	r.next = make(chan struct{})
	r.mu.Unlock()
	defer close(over)

	err := a.refresh(ctx)
	if ctx.Err() == nil { // else the end of the server was the trouble
		r.report(err)
	}
}

func (a *Authenticator) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	r := &a.refresher
	version, err := r.source.Version(ctx)
	if err != nil || version == r.version {
		return err
	}
	recorded, err := r.load(ctx)
	if err != nil {
		return err
	}
	a.install(func(old *snapshot) *snapshot {
		return newSnapshot(a.fixed, recorded, a.workspaces).under(old.rules, old)
	})
	r.log.Debug("tokens and revocations refreshed", "tokens", len(recorded.tokens), "revocations", len(recorded.revocations))
	return nil
}

// records are what a source holds.
type records struct {
	tokens      []Token
	revocations []Revocation
}

// load reads all. The version is read before it: what changes in between is seen as a change the next time.
func (r *refresher) load(ctx context.Context) (all records, err error) {
	if r.source == nil {
		return all, nil
	}
	version, err := r.source.Version(ctx)
	if err != nil {
		return all, err
	}
	if all.tokens, err = r.source.Tokens(ctx); err != nil {
		return all, err
	}
	if all.revocations, err = r.source.Revocations(ctx); err != nil {
		return all, err
	}
	r.version = version
	return all, nil
}

// wait returns once a look at the source that began after the call is over, or after [UnknownWait]. Any number of waiters
// share one look, and looks are [refreshPause] apart: a flood of unknown tokens costs the source next to nothing.
func (r *refresher) wait(ctx context.Context) {
	if r.source == nil || !r.running.Load() {
		return
	}
	r.mu.Lock()
	over := r.next
	r.mu.Unlock()
	select {
	case r.nudge <- struct{}{}:
	default:
	}
	timer := time.NewTimer(UnknownWait)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// report notes how the last look went and logs the change.
func (r *refresher) report(err error) {
	switch was := r.trouble.Load(); {
	case err != nil && was == nil:
		r.log.Warn("the tokens and revocations cannot be refreshed: the last known ones stay in force, later ones do not yet hold", "error", err)
	case err == nil && was != nil:
		r.log.Info("the tokens and revocations are refreshed again")
	}
	if err == nil {
		r.trouble.Store(nil)
		return
	}
	err = fmt.Errorf("the tokens and revocations cannot be refreshed, the last known ones stay in force: %w", err)
	r.trouble.Store(&err)
}

func (r *refresher) degraded() error {
	if err := r.trouble.Load(); err != nil {
		return *err
	}
	return nil
}
