package noninterference

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"iter"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
)

// fault is what the storage does wrong during one request. It hangs on the request, so that it hits the same one in both runs.
type fault string

const (
	noFault     fault = ""
	openFails   fault = "entries cannot be opened"
	trustFails  fault = "trusted entries cannot be opened"
	createFails fault = "entries cannot be begun"
	writeFails  fault = "the disk is full"
	commitFails fault = "the commit fails"
	bodyFails   fault = "the body breaks off"
)

var faults = []fault{openFails, trustFails, trustFails, createFails, writeFails, commitFails, bodyFails}

type faultKey struct{}

func withFault(ctx context.Context, f fault) context.Context {
	return context.WithValue(ctx, faultKey{}, f)
}

func faulty(ctx context.Context, f fault) bool { return ctx.Value(faultKey{}) == f }

var errFault = errors.New("injected fault")

// shelf is the storage below everything that the server puts on top of it: what somebody with the disk or the bucket gets to see.
type shelf struct {
	cache.Store
	// back is the same storage by another door, so that the server's own store does not know of what is done there.
	back cache.Store
}

func (s shelf) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if faulty(ctx, openFails) || key.Scope == cache.Trusted && faulty(ctx, trustFails) {
		return nil, errFault
	}
	obj, err := s.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	if _, inMemory := s.Store.(*mem.Store); inMemory {
		if err := compareDigest(obj); err != nil {
			return nil, err
		}
	}
	if faulty(ctx, bodyFails) {
		obj.Body = brokenBody{obj.Body}
	}
	return obj, nil
}

// compareDigest is what a store of files does before it serves an entry, and one in memory, where nobody gets, does not.
func compareDigest(obj *cache.Object) error {
	body, err := io.ReadAll(obj.Body)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(body); sum != obj.Record.SHA256 || int64(len(body)) != obj.Record.Size {
		return errors.Join(cache.ErrDamaged, obj.SetAside("its bytes were changed"))
	}
	obj.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

func (s shelf) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	if faulty(ctx, createFails) {
		return nil, errFault
	}
	draft, err := s.Store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return faultyDraft{draft, ctx}, nil
}

func (s shelf) List(ctx context.Context, w cache.Workspace) iter.Seq2[cache.Entry, error] {
	return s.Store.List(ctx, w)
}

type faultyDraft struct {
	cache.Draft
	ctx context.Context
}

func (d faultyDraft) Write(p []byte) (int, error) {
	if faulty(d.ctx, writeFails) {
		return 0, errFault
	}
	return d.Draft.Write(p)
}

func (d faultyDraft) Commit(ctx context.Context, r cache.Record) error {
	if faulty(ctx, commitFails) {
		return errFault
	}
	return d.Draft.Commit(ctx, r)
}

// brokenBody gives a few bytes and breaks off.
type brokenBody struct{ io.ReadCloser }

func (b brokenBody) Read(p []byte) (int, error) {
	n, _ := b.ReadCloser.Read(p[:min(len(p), 16)])
	return n, errFault
}

// object is an entry as it lies on the shelf.
type object struct {
	record cache.Record
	body   []byte
}

// take reads what lies under a key.
func (s shelf) take(key cache.Key) (object, error) {
	obj, err := s.back.Open(context.Background(), key)
	if err != nil {
		return object{}, err
	}
	defer obj.Close()
	body, err := io.ReadAll(obj.Body)
	return object{obj.Record, body}, err
}

// lay puts something under a key in place of what was there, as nobody can who goes through the server.
func (s shelf) lay(key cache.Key, o object) error {
	ctx := context.Background()
	if err := s.back.Delete(ctx, key); err != nil && !errors.Is(err, cache.ErrNotExist) {
		return err
	}
	draft, err := s.back.Create(ctx, key)
	if err != nil {
		return err
	}
	defer draft.Abort()
	if _, err := io.Copy(draft, bytes.NewReader(o.body)); err != nil {
		return err
	}
	return draft.Commit(ctx, o.record)
}

// drop removes what lies under a key, if there is anything.
func (s shelf) drop(key cache.Key) error {
	if err := s.back.Delete(context.Background(), key); err != nil && !errors.Is(err, cache.ErrNotExist) {
		return err
	}
	return nil
}

// all yields what lies on the shelf.
func (s shelf) all() (map[cache.Key]cache.Record, error) {
	all := map[cache.Key]cache.Record{}
	for e, err := range s.back.List(context.Background(), "") {
		if err != nil {
			return nil, err
		}
		all[e.Key] = e.Record
	}
	return all, nil
}
