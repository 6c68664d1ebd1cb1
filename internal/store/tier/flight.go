package tier

import (
	"context"
	"sync"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// flight is a download and those who read it.
type flight struct {
	store  *Store
	key    cache.Key
	id     id
	cancel context.CancelFunc

	// Guarded by the shard's lock.
	refs       int           // readers
	asks       int           // how often inner was asked
	latest     int           // asks when the latest reader came
	forgotten  bool          // the key was deleted: it is not to be kept
	apart      bool          // readers open entries of their own
	taken      bool          // somebody has own
	over       bool          // the download has ended
	committing chan struct{} // closed when the commit that is under way is over

	// mu is taken under the shard's lock, never the other way round.
	mu      sync.Mutex
	wake    chan struct{} // closed when something changes; nil while nobody waits
	misses  int           // how often inner said that there is none
	opened  bool          // what inner said in the end is known
	settled bool          // the body is whole and fits its record, or there will be no more of it
	err     error         // why
	ahead   bool          // nothing of the body is given out before it is settled
	kept    bool          // it goes to the local store
	entry   cache.Entry
	own     *cache.Object // for the first who comes, where readers open their own
	file    scratch
	got     int64 // bytes of the body that are in file
	visible int64 // those of them that readers may have
}

// begin starts a download for its first reader. The shard is locked.
func (s *Store) begin(sh *shard, id id, key cache.Key) *flight {
	ctx, cancel := context.WithCancel(s.lifetime())
	f := &flight{store: s, key: key, id: id, cancel: cancel, refs: 1}
	f.forgotten = sh.deletes[id] > 0
	sh.flights[id] = f
	s.metrics.misses.Inc()
	s.metrics.downloads.Inc()
	s.running.Go(func() {
		defer s.metrics.downloads.Dec()
		f.run(cache.WithProgress(ctx, f.moved))
	})
	return f
}

// detach lets nobody join any more.
func (f *flight) detach() {
	sh := f.store.shard(f.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.detach(f)
}

func (sh *shard) detach(f *flight) {
	if sh.flights[f.id] == f {
		delete(sh.flights, f.id)
	}
}

// leave is called once by each reader when it wants no more.
func (f *flight) leave() {
	sh := f.store.shard(f.id)
	sh.mu.Lock()
	f.refs--
	last := f.refs == 0
	ends := last && !f.over && !f.apart && !f.worthFinishing()
	clean := last && f.over
	if ends || clean {
		sh.detach(f)
	}
	sh.mu.Unlock()
	if ends {
		f.cancel()
	}
	if clean {
		f.clean()
	}
}

// worthFinishing reports whether a download is completed that nobody reads: if it is to be kept and no more of it is to come than has
// come. The shard is locked.
func (f *flight) worthFinishing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.settled || f.kept && !f.forgotten && f.got >= f.entry.Record.Size-f.got
}

// end is called when the download is over.
func (f *flight) end() {
	sh := f.store.shard(f.id)
	sh.mu.Lock()
	f.over = true
	clean := f.refs == 0
	if clean {
		sh.detach(f)
	}
	sh.mu.Unlock()
	if clean {
		f.clean()
	}
}

// clean gives back what is left when the download is over and nobody reads: nobody can come any more.
func (f *flight) clean() {
	f.mu.Lock()
	file, own := f.file, f.own
	f.own = nil
	f.mu.Unlock()
	if file != nil {
		file.close()
		if _, temporary := file.(*temp); temporary {
			f.store.temp.Add(-f.entry.Record.Size)
		}
	}
	if own != nil {
		own.Close()
	}
	if !f.taken {
		f.cancel()
	}
}

// take returns the object that inner.Open gave to the download, to the first who asks. Its body is read under the download's context, which
// then ends with ctx or when the object is closed.
func (f *flight) take(ctx context.Context) *cache.Object {
	sh := f.store.shard(f.id)
	sh.mu.Lock()
	f.mu.Lock()
	own := f.own
	f.own = nil
	f.taken = f.taken || own != nil
	f.mu.Unlock()
	sh.mu.Unlock()
	if own != nil {
		stop := context.AfterFunc(ctx, f.cancel)
		own.Body = closing(own.Body, func() { stop(); f.cancel() })
	}
	return own
}

// await returns nil when ready does, which is called under the lock; or the error of the reader's context. Each time that the download gets on,
// it says so to whoever waits for the reader.
func (f *flight) await(ctx context.Context, ready func() bool) error {
	for {
		f.mu.Lock()
		if ready() {
			f.mu.Unlock()
			return nil
		}
		if f.wake == nil {
			f.wake = make(chan struct{})
		}
		wake := f.wake
		f.mu.Unlock()
		select {
		case <-wake:
			cache.Progress(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// change changes what readers wait for.
func (f *flight) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

// moved tells those who wait that inner is at it.
func (f *flight) moved() { f.change(func() {}) }
