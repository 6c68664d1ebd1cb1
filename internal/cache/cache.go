package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact"
)

// What Cache answers beside what a [Store] does.
var (
	// ErrDenied says that the grant does not allow the upload.
	ErrDenied = errors.New("this credential may not write: its access, or the policy, gives it no scope to write")
	// ErrTooLarge says that the announced size is beyond the limit.
	ErrTooLarge = errors.New("the artifact is larger than this server takes")
	// ErrUpload says that the body did not arrive whole: the connection broke, stalled, or its length was not the announced one.
	ErrUpload = errors.New("the upload did not arrive whole")
	// ErrStore says that the store could not do what it was asked, for reasons of its own: it is in trouble or too slow.
	ErrStore = errors.New("the store is in trouble")
	// ErrTimeout is the [ErrStore] of a store that is too slow.
	ErrTimeout = fmt.Errorf("%w: it is too slow", ErrStore)
	// ErrBreaker is the [ErrStore] of a store that was not asked, because it failed repeatedly a moment ago.
	ErrBreaker = fmt.Errorf("%w: it is left alone for a moment", ErrStore)
)

// Options are the bounds of a [Cache].
type Options struct {
	// MaxSize bounds an artifact's bytes as uploaded; 0 is no bound.
	MaxSize int64
	// Limits bounds what an artifact unpacks to. Its budget is that of uploads to the trusted scope.
	Limits artifact.Limits
	// OthersBudget is that of uploads to all other scopes, so that they cannot take it from trusted ones. Nil: no bound.
	OthersBudget *artifact.Budget
	// OthersTurns are those of the same uploads, so that no flood of them takes the processors from trusted requests. Nil: no bound.
	OthersTurns Turns
	// StoreTimeout bounds the wait for each first answer of the store, or for its next sign of [Progress]; 0 is no bound.
	StoreTimeout time.Duration
	// Now is the clock for records.
	Now func() time.Time
}

// Cache decides what a grant may read and write in a store. It is safe for concurrent use and holds nothing
// but the store: any number of them may work over one.
type Cache struct {
	store Store
	peek  Peeker // nil if the store has nothing at hand
	opts  Options
}

// New makes a Cache over store.
func New(store Store, opts Options) *Cache {
	peek, _ := store.(Peeker)
	return &Cache{store: store, peek: peek, opts: opts}
}

// Get opens the entry that the grant's bearer sees under hash: the first of its scopes that has one. The caller closes it.
//
// Without one it is [ErrNotExist], or [ErrDamaged] if one was found unfit and set aside. [ErrStore] ends the search: an
// entry of a later scope must not stand in for one of an earlier scope that could not be read.
func (c *Cache) Get(ctx context.Context, grant Grant, hash Hash) (*Object, error) {
	missing := ErrNotExist
	for _, scope := range grant.Read {
		obj, err := c.open(ctx, Key{grant.Workspace, scope, hash})
		switch {
		case err == nil:
			return obj, nil
		case errors.Is(err, ErrDamaged):
			missing = err
		case errors.Is(err, ErrNotExist):
		default:
			return nil, err
		}
	}
	return nil, missing
}

// Upload is an artifact on its way in.
type Upload struct {
	Hash Hash
	// Size is the announced number of bytes. It binds: any other number is refused.
	Size int64
	// Body is read to its end, but no further than Size bytes and one.
	Body io.Reader
	// Valid is asked right before the entry becomes visible, so that a credential that was revoked while its upload
	// was under way writes nothing, and once more behind that, since a store may take long for it: then the entry is deleted again.
	// Its error is returned as it is. Nil: nothing is asked.
	Valid func() error
}

func (up *Upload) valid() error {
	if up.Valid != nil {
		return up.Valid()
	}
	return nil
}

// Put checks an upload while it streams in and stores it in the grant's scope.
//
// Errors: [ErrDenied]; [ErrTooLarge]; [ErrExist] if the bearer sees an entry under that hash already;
// [*artifact.RefusedError] for what must not be stored; [artifact.ErrBusy]; [ErrUpload] for a body that did not arrive whole; [ErrStore]; what
// Valid returned. After any of them nothing was stored, and the body may not have been read to its end.
func (c *Cache) Put(ctx context.Context, grant Grant, up Upload) (Entry, error) {
	if grant.Write == "" {
		return Entry{}, ErrDenied
	}
	if c.opts.MaxSize > 0 && up.Size > c.opts.MaxSize {
		return Entry{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, up.Size, c.opts.MaxSize)
	}
	key := Key{grant.Workspace, grant.Write, up.Hash}
	if err := c.shadowed(ctx, grant, up.Hash); err != nil {
		return Entry{}, err
	}
	draft, err := c.create(ctx, key)
	if err != nil {
		return Entry{}, err
	}
	defer draft.Abort()

	limits, turns := c.opts.Limits, Turns(nil)
	if grant.Write != Trusted {
		limits.Budget, turns = c.opts.OthersBudget, c.opts.OthersTurns
	}
	summary, err := c.receive(draft, up, limits, turns)
	if err != nil {
		return Entry{}, err
	}
	record := Record{
		Size:     summary.Size,
		SHA256:   summary.SHA256,
		Content:  summary.Content,
		Inflated: summary.Inflated,
		Members:  summary.Members,
		Opaque:   summary.Opaque,
		Created:  c.opts.Now().UTC(),
		Producer: grant.Producer,
	}
	if err := up.valid(); err != nil {
		return Entry{}, err
	}
	if err := c.commit(ctx, draft, record); err != nil {
		return Entry{}, err
	}
	if err := up.valid(); err != nil {
		return Entry{}, c.takeBack(ctx, key, err)
	}
	return Entry{key, record}, nil
}

// takeBack deletes an entry that was committed for a credential that was no longer good in the end, also if the client has left, and returns why.
func (c *Cache) takeBack(ctx context.Context, key Key, reason error) error {
	ctx, watch := c.within(context.WithoutCancel(ctx))
	err := c.store.Delete(ctx, key)
	_ = watch.stop()
	if err != nil && !errors.Is(err, ErrNotExist) {
		// The client is told no more of it; what is wrong with the store shows there.
		return fmt.Errorf("%w; it is stored, and could not be deleted again", reason)
	}
	return reason
}

// receive streams the upload through the check into the draft.
func (c *Cache) receive(draft Draft, up Upload, limits artifact.Limits, turns Turns) (artifact.Summary, error) {
	body := &upload{r: up.Body, left: up.Size}
	sink := &recorder{w: draft}
	from, to := turns.during(body, sink)
	end := turns.begin()
	summary, err := func() (artifact.Summary, error) {
		defer end()
		return artifact.Check(io.TeeReader(from, to), limits)
	}()
	if sink.err != nil {
		return summary, fmt.Errorf("%w: %w", ErrStore, sink.err)
	}
	if _, refused := errors.AsType[*artifact.RefusedError](err); refused || err == nil || errors.Is(err, artifact.ErrBusy) {
		return summary, err
	}
	return summary, fmt.Errorf("%w: %w", ErrUpload, err)
}

// shadowed refuses an upload to an own scope of what an earlier scope has: the bearer would never see it, and
// nobody can shadow a trusted entry, not even for himself.
func (c *Cache) shadowed(ctx context.Context, grant Grant, hash Hash) error {
	for _, scope := range grant.Read {
		if scope == grant.Write {
			return nil
		}
		obj, err := c.open(ctx, Key{grant.Workspace, scope, hash})
		if err == nil {
			obj.Close()
			return ErrExist
		}
		if !errors.Is(err, ErrNotExist) && !errors.Is(err, ErrDamaged) {
			return err
		}
	}
	return nil
}

func (c *Cache) open(ctx context.Context, key Key) (*Object, error) {
	if c.peek != nil {
		if obj, ok := c.peek.Peek(key); ok { // nothing to watch over
			return obj, nil
		}
	}
	ctx, watch := c.within(ctx)
	obj, err := c.store.Open(ctx, key)
	if late := watch.stop(); late != nil && err == nil {
		obj.Close() // its context ends, and its body may hang on that
		err = late
	}
	if err != nil {
		return nil, storeError(ctx, err)
	}
	return obj, nil
}

func (c *Cache) create(ctx context.Context, key Key) (Draft, error) {
	ctx, watch := c.within(ctx)
	draft, err := c.store.Create(ctx, key)
	if late := watch.stop(); late != nil && err == nil {
		draft.Abort()
		err = late
	}
	if err != nil {
		return nil, storeError(ctx, err)
	}
	return draft, nil
}

func (c *Cache) commit(ctx context.Context, draft Draft, record Record) error {
	ctx, watch := c.within(ctx)
	err := draft.Commit(ctx, record)
	_ = watch.stop() // a commit that came late is a commit all the same
	return storeError(ctx, err)
}

// within gives a context that is cancelled unless the watch is stopped in time. Otherwise the context lives as long as its parent, the request, since a body
// may be read under it.
func (c *Cache) within(parent context.Context) (context.Context, *watch) {
	if c.opts.StoreTimeout <= 0 {
		return parent, nil
	}
	ctx, cancel := context.WithCancelCause(parent)
	w := &watch{Context: ctx, cancel: cancel, timeout: c.opts.StoreTimeout}
	w.timer = time.AfterFunc(w.timeout, w.end)
	return w, w
}

// watch is a context of which [Progress] puts the end off.
type watch struct {
	context.Context //nolint:containedctx // it is one
	cancel          context.CancelCauseFunc
	timeout         time.Duration

	mu    sync.Mutex // between Stop and Reset, stop would take a timer that is about to run on for one that has run out
	timer *time.Timer
}

// Value implements [context.Context].
func (w *watch) Value(key any) any {
	if key == (progressKey{}) {
		return w.progress
	}
	return w.Context.Value(key)
}

func (w *watch) late() error {
	return fmt.Errorf("%w: no answer and no progress within %s", ErrTimeout, w.timeout)
}

func (w *watch) end() { w.cancel(w.late()) }

func (w *watch) progress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer.Stop() { // else it is over
		w.timer.Reset(w.timeout)
	}
}

// stop ends the watch. If it was not in time, it returns the reason, also in the instant before the context knows it. A nil watch is always in time.
func (w *watch) stop() error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer.Stop() {
		return nil
	}
	return w.late()
}

type progressKey struct{}

// Progress tells whoever waits for an answer of a store that it is being worked on: the time that is left begins anew. Stores call it in
// the course of long work, such as checking a large body before its first byte is given out, and before they answer.
func Progress(ctx context.Context) {
	if restart, ok := ctx.Value(progressKey{}).(func()); ok {
		restart()
	}
}

// WithProgress returns a context under which [Progress] calls f, from any goroutine: for stores that wait for another one themselves.
func WithProgress(ctx context.Context, f func()) context.Context {
	return context.WithValue(ctx, progressKey{}, f)
}

// storeError tells trouble from a store's plain answers.
func storeError(ctx context.Context, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrNotExist), errors.Is(err, ErrExist), errors.Is(err, ErrDamaged), errors.Is(err, ErrStore):
		return err
	}
	if cause := context.Cause(ctx); errors.Is(cause, ErrStore) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrStore, err)
}

// upload holds a body to its announced size.
type upload struct {
	r    io.Reader
	left int64
}

func (u *upload) Read(p []byte) (int, error) {
	if int64(len(p)) > u.left+1 {
		p = p[:u.left+1]
	}
	n, err := u.r.Read(p)
	u.left -= int64(n)
	switch {
	case u.left < 0:
		return 0, errors.New("more bytes than announced")
	case err == io.EOF && u.left > 0:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// recorder remembers a failing write, which a TeeReader would pass off as a failing read.
type recorder struct {
	w   io.Writer
	err error
}

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if err != nil {
		r.err = err
	}
	return n, err
}
