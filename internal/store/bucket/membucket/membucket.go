// Package membucket is a [bucket.Bucket] in memory, for tests, in which trouble can be made.
package membucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// Bucket is a [bucket.Bucket] in memory.
type Bucket struct {
	// Fault is asked at each call, with the method's name in lower case, before anything is done; its error is what the call returns.
	// "answered" is asked after a put was done: its error is what becomes of the answer. Nil: nothing fails.
	Fault func(op, name string) error
	// Body, if it is not nil, may put something in between whoever reads and a body from offset on.
	Body func(name string, offset int64, body io.Reader) io.Reader
	// Stripped drops metadata on the way out, as a proxy may.
	Stripped atomic.Bool
	// Listed makes listings carry metadata, as some storages do.
	Listed bool

	mu       sync.Mutex
	objects  map[string]*object
	versions int
	calls    map[string]int
}

type object struct {
	info bucket.Info
	body []byte
}

// New returns an empty bucket.
func New() *Bucket {
	return &Bucket{objects: make(map[string]*object), calls: make(map[string]int)}
}

// Calls counts the calls of a method so far, such as "get".
func (b *Bucket) Calls(op string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[op]
}

// Names lists what is there, in order.
func (b *Bucket) Names() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name := range b.objects {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Edit changes an object as somebody with access to the bucket does: a nil body removes it. It is called with what is there.
func (b *Bucket) Edit(name string, change func(body []byte, meta string) ([]byte, string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var body []byte
	var meta string
	if o := b.objects[name]; o != nil {
		body, meta = bytes.Clone(o.body), o.info.Meta
	}
	if body, meta = change(body, meta); body == nil {
		delete(b.objects, name)
		return
	}
	b.put(name, body, meta)
}

func (b *Bucket) begin(ctx context.Context, op, name string) error {
	b.mu.Lock()
	b.calls[op]++
	b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.Fault != nil {
		return b.Fault(op, name)
	}
	return nil
}

// Head implements [bucket.Bucket].
func (b *Bucket) Head(ctx context.Context, name string) (bucket.Info, error) {
	if err := b.begin(ctx, "head", name); err != nil {
		return bucket.Info{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.objects[name]
	if !ok {
		return bucket.Info{}, bucket.ErrNotExist
	}
	return b.shown(o.info), nil
}

func (b *Bucket) shown(info bucket.Info) bucket.Info {
	if b.Stripped.Load() {
		info.Meta, info.HasMeta = "", false
	}
	return info
}

// Get implements [bucket.Bucket].
func (b *Bucket) Get(ctx context.Context, name string, offset int64, version string) (bucket.Info, io.ReadCloser, error) {
	if err := b.begin(ctx, "get", name); err != nil {
		return bucket.Info{}, nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.objects[name]
	if !ok {
		return bucket.Info{}, nil, bucket.ErrNotExist
	}
	if version != "" && version != o.info.Version {
		return bucket.Info{}, nil, bucket.ErrChanged
	}
	if offset > o.info.Size {
		return bucket.Info{}, nil, errors.New("the range is not satisfiable")
	}
	var body io.Reader = bytes.NewReader(o.body[offset:])
	if b.Body != nil {
		body = b.Body(name, offset, body)
	}
	return b.shown(o.info), &reader{ctx, body}, nil
}

// reader ends with its context.
type reader struct {
	ctx  context.Context //nolint:containedctx // what it is for
	body io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.body.Read(p)
}

func (r *reader) Close() error { return nil }

// Put implements [bucket.Bucket].
func (b *Bucket) Put(ctx context.Context, name string, content bucket.Content, mode bucket.Mode) error {
	if err := b.begin(ctx, "put", name); err != nil {
		return err
	}
	body := make([]byte, content.Size)
	if n, err := content.Body.ReadAt(body, 0); n < len(body) {
		return fmt.Errorf("read what is to be stored: %w", err)
	}
	b.mu.Lock()
	_, exists := b.objects[name]
	if exists && mode == bucket.IfAbsent {
		b.mu.Unlock()
		return bucket.ErrExist
	}
	b.put(name, body, content.Meta)
	b.mu.Unlock()
	if b.Fault != nil {
		return b.Fault("answered", name)
	}
	return nil
}

func (b *Bucket) put(name string, body []byte, meta string) {
	b.versions++
	b.objects[name] = &object{bucket.Info{
		Name: name, Version: strconv.Itoa(b.versions), Size: int64(len(body)), Meta: meta, HasMeta: meta != "", Modified: time.Now(),
	}, body}
}

// Delete implements [bucket.Bucket].
func (b *Bucket) Delete(ctx context.Context, name, version string) error {
	if err := b.begin(ctx, "delete", name); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if o := b.objects[name]; o != nil && (version == "" || version == o.info.Version) {
		delete(b.objects, name)
	}
	return nil
}

// List implements [bucket.Bucket].
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		for _, name := range b.Names() {
			if err := b.begin(ctx, "list", name); err != nil {
				yield(bucket.Info{}, err)
				return
			}
			b.mu.Lock()
			o := b.objects[name]
			b.mu.Unlock()
			if o == nil || !strings.HasPrefix(name, prefix) {
				continue
			}
			info := b.shown(o.info)
			if !b.Listed {
				info.Meta, info.HasMeta = "", false
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Presign implements [bucket.Bucket].
func (b *Bucket) Presign(ctx context.Context, name string, ttl time.Duration) (string, error) {
	if err := b.begin(ctx, "presign", name); err != nil {
		return "", err
	}
	return fmt.Sprintf("https://bucket.example.com/%s?for=%s", name, ttl), nil
}

// URL implements [bucket.Bucket].
func (b *Bucket) URL() string { return "mem://bucket" }

// Close implements [bucket.Bucket].
func (b *Bucket) Close() error { return nil }
