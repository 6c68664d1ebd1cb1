package storetest

import (
	"context"
	"io"
	"sync"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Directory is what a store in a directory can do.
type Directory interface {
	cache.Store
	cache.Marker
	cache.RecordReader
	Sync(ctx context.Context, key cache.Key) error
}

// Disk is a directory on a disk that can be made to hang: its calls then do not return, and mind no context. Use [NewDisk]. The operations are open, record, create,
// write, commit, abort, follow, delete and sync.
type Disk struct {
	Directory

	mu   sync.Mutex
	ops  map[string]chan struct{}
	hung int
}

// NewDisk returns a disk that works.
func NewDisk(inner Directory) *Disk { return &Disk{Directory: inner} }

// Hang lets calls of these operations hang from now on, and no others. Mend ends that for the calls that hang, and for all that come.
func (d *Disk) Hang(ops ...string) (mend func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	over := make(chan struct{})
	d.ops = make(map[string]chan struct{})
	for _, op := range ops {
		d.ops[op] = over
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.ops = nil
		close(over)
	}
}

// Hung is how many calls have hung so far.
func (d *Disk) Hung() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hung
}

func (d *Disk) do(op string) {
	d.mu.Lock()
	over := d.ops[op]
	if over != nil {
		d.hung++
	}
	d.mu.Unlock()
	if over != nil {
		<-over
	}
}

// Open implements [cache.Store].
func (d *Disk) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	d.do("open")
	return d.Directory.Open(ctx, key)
}

// ReadRecord implements [cache.RecordReader].
func (d *Disk) ReadRecord(ctx context.Context, key cache.Key) (cache.Record, error) {
	d.do("record")
	return d.Directory.ReadRecord(ctx, key)
}

// Create implements [cache.Store].
func (d *Disk) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	d.do("create")
	inner, err := d.Directory.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &diskDraft{inner, d}, nil
}

// Delete implements [cache.Store].
func (d *Disk) Delete(ctx context.Context, key cache.Key) error {
	d.do("delete")
	return d.Directory.Delete(ctx, key)
}

// Sync brings an entry to the disk.
func (d *Disk) Sync(ctx context.Context, key cache.Key) error {
	d.do("sync")
	return d.Directory.Sync(ctx, key)
}

type diskDraft struct {
	cache.Draft
	disk *Disk
}

func (d *diskDraft) Write(p []byte) (int, error) {
	d.disk.do("write")
	return d.Draft.Write(p)
}

func (d *diskDraft) Commit(ctx context.Context, record cache.Record) error {
	d.disk.do("commit")
	return d.Draft.Commit(ctx, record)
}

func (d *diskDraft) Abort() {
	d.disk.do("abort")
	d.Draft.Abort()
}

// Follow is inner's.
func (d *diskDraft) Follow() (interface {
	io.ReaderAt
	io.Closer
}, error,
) {
	d.disk.do("follow")
	return d.Draft.(interface {
		Follow() (interface {
			io.ReaderAt
			io.Closer
		}, error)
	}).Follow()
}
